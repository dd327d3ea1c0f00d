"""Scenes drawn while training goes on."""

import numpy as np
import pytest
import torch

from samspl.data.loaders import make_eval_loader, make_train_loader
from samspl.data.synthetic_set import SyntheticScenes, SyntheticTrainSet, synthetic_spec
from samspl.preprocess import Preprocess

PREPROCESS = synthetic_spec().preprocess(64)


def test_scenes_depend_on_seed_epoch_and_index_alone() -> None:
    first, again = SyntheticTrainSet(PREPROCESS, 4, seed=1), SyntheticTrainSet(PREPROCESS, 9, seed=1)
    for samples in (first, again):
        samples.set_epoch(2)
    assert torch.equal(first[3].image, again[3].image)
    assert first[3].image.shape == (3, 64, 64)
    assert set(first[3].gt_mask.unique().tolist()) <= {0.0, 1.0}
    again.set_epoch(3)
    assert not torch.equal(first[3].image, again[3].image)
    assert not torch.equal(first[3].image, SyntheticTrainSet(PREPROCESS, 4, seed=2)[3].image)


def test_drawn_scenes_load_as_any_data_set_does() -> None:
    loader = make_train_loader([SyntheticTrainSet(PREPROCESS, 5)], batch_size=2, workers=1)
    loader.sampler.set_epoch(1)
    batches = list(loader)
    assert [len(batch.ids) for batch in batches] == [2, 2, 1]
    assert all(name.startswith("synthetic/1/") for batch in batches for name in batch.ids)


def test_scenes_to_validate_on_are_the_same_in_every_run_and_not_trained_on() -> None:
    scenes, again = SyntheticScenes(64, count=3), SyntheticScenes(64, count=3)
    for k in range(3):
        np.testing.assert_array_equal(scenes.pair(k).image, again.pair(k).image)
    assert len({scenes.pair(k).image.tobytes() for k in range(3)}) == 3
    assert [sample.id for sample in make_eval_loader(scenes, PREPROCESS)] == list(scenes.split.ids)
    trained = SyntheticTrainSet(PREPROCESS, 3)
    assert not any(
        torch.equal(trained[0].gt_mask[0], torch.from_numpy(scenes.pair(k).mask)) for k in range(3)
    )


def test_share_of_scenes_without_targets_is_the_one_asked_for() -> None:
    counts = {}
    for share in (0.0, 0.5, 1.0):
        scenes = SyntheticTrainSet(PREPROCESS, 40, empty_share=share)
        counts[share] = sum(not scenes[index].gt_mask.any() for index in range(40))
    assert counts[0.0] == 0
    assert counts[1.0] == 40
    assert 12 <= counts[0.5] <= 28


def test_native_size_is_refused() -> None:
    with pytest.raises(ValueError, match="native size"):
        SyntheticTrainSet(Preprocess(), 3)
