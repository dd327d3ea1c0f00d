"""Training and evaluation samples as torch loaders."""

from pathlib import Path

import numpy as np
import pytest
import torch

from samspl.data.copy_paste import build_augmentation
from samspl.data.dataset import InfraredDataset, open_dataset
from samspl.data.loaders import EvalSet, TrainSet, make_eval_loader, make_train_loader
from samspl.data.specs import DatasetSpec, list_specs
from samspl.data.splits import Split
from samspl.data.transforms import Compose
from samspl.errors import DatasetError, ImageError
from samspl.imaging import write_image
from samspl.preprocess import Preprocess

SPEC = DatasetSpec(name="mine", image_size=32, mean=(100.0,), std=(20.0,))
KEEP = Compose(())  # no augmentation: images must have the size already


def make(root: Path, count: int = 7, spec: DatasetSpec = SPEC, dtype: str = "uint8") -> InfraredDataset:
    """Images of noise, 32 x 40, image k with k + 1 target pixels."""
    rng = np.random.default_rng(0)
    for k in range(count):
        mask = np.zeros((32, 40), bool)
        mask[5, 3 : 4 + k] = True
        write_image(root / "images" / f"{k}.tif", rng.integers(0, 256, (32, 40)).astype(dtype) * (k + 1))
        write_image(root / "masks" / f"{k}.png", mask)
    ids = tuple(map(str, range(count)))
    return InfraredDataset(spec, root, Split("train", "root", root / "train.txt", ids))


def all_samples(loader, epoch: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    loader.sampler.set_epoch(epoch)
    return {
        name: (image, gt_mask)
        for batch in loader
        for image, gt_mask, name in zip(batch.image, batch.gt_mask, batch.ids, strict=True)
    }


@pytest.mark.parametrize("published", list_specs(), ids=lambda spec: spec.name)
def test_every_data_set_gives_samples_of_the_networks_shape(tmp_path: Path, published: DatasetSpec) -> None:
    dataset = make(tmp_path, 3, DatasetSpec("mine", augmentation=published.augmentation, std=published.std))
    sample = TrainSet(dataset, published.preprocess(64))[1]
    assert (sample.image.shape, sample.image.dtype) == ((3, 64, 64), torch.float32)
    assert (sample.gt_mask.shape, sample.gt_mask.dtype) == ((1, 64, 64), torch.float32)
    assert set(sample.gt_mask.unique().tolist()) <= {0.0, 1.0}
    assert sample.id == "1"


@pytest.mark.parametrize(
    "preprocess",
    [
        SPEC.preprocess(),
        Preprocess((90.0, 100.0, 110.0), (20.0,), 32),
        Preprocess(image_size=32, normalise="frame"),
    ],
    ids=["grey", "colour", "frame"],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_sample_is_prepared_augmented_and_normalised_in_this_order(
    tmp_path: Path, preprocess: Preprocess, dtype: str
) -> None:
    dataset = make(tmp_path, dtype=dtype)
    train_set = TrainSet(dataset, preprocess, seed=5)
    train_set.set_epoch(3)
    image, mask = build_augmentation(SPEC, 32)(
        preprocess.to_byte_range(dataset.pair(2).image),
        dataset.pair(2).mask,
        np.random.default_rng([5, 3, 2]),
    )
    np.testing.assert_array_equal(train_set[2].image, preprocess.to_channels(image))
    np.testing.assert_array_equal(train_set[2].gt_mask[0], mask)


def test_samples_depend_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    first = make_train_loader([TrainSet(dataset, SPEC.preprocess())], batch_size=3, workers=0)
    epoch_4 = all_samples(first, 4)
    epoch_5 = all_samples(first, 5)
    again = make_train_loader([TrainSet(dataset, SPEC.preprocess())], batch_size=2, workers=2)
    for epoch, expected in ((5, epoch_5), (4, epoch_4)):  # workers that live on must see the change
        found = all_samples(again, epoch)
        assert found.keys() == expected.keys() == set(dataset.ids)
        for name, (image, gt_mask) in expected.items():
            assert torch.equal(found[name][0], image)
            assert torch.equal(found[name][1], gt_mask)
    assert not torch.equal(epoch_4["0"][0], epoch_5["0"][0])
    other_seed = TrainSet(dataset, SPEC.preprocess(), seed=1)
    other_seed.set_epoch(4)
    assert not torch.equal(other_seed[0].image, epoch_4["0"][0])


def test_order_changes_with_the_epoch_and_repeats_with_the_seed(tmp_path: Path) -> None:
    dataset = make(tmp_path)

    def orders(seed: int) -> list[list[str]]:
        loader = make_train_loader([TrainSet(dataset, SPEC.preprocess())], batch_size=3, seed=seed)
        return [list(all_samples(loader, epoch)) for epoch in (0, 1)]

    assert orders(1)[0] != orders(1)[1]
    assert orders(1) == orders(1) != orders(2)


def test_batches_have_the_same_values_whether_channels_are_one_plane_or_three(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    grey = TrainSet(dataset, Preprocess((100.0,), (20.0,), 32))
    colour = TrainSet(dataset, Preprocess((100.0,) * 3, (20.0,) * 3, 32))
    batches = [next(iter(make_train_loader([train_set], batch_size=4))) for train_set in (grey, colour)]
    assert batches[0].image.shape == (4, 3, 32, 32)
    assert torch.equal(batches[0].image, batches[1].image)
    assert batches[0].ids == batches[1].ids


def test_last_batch_is_kept_or_dropped_as_asked(tmp_path: Path) -> None:
    train_set = TrainSet(make(tmp_path), SPEC.preprocess())
    sizes = [len(batch.ids) for batch in make_train_loader([train_set], batch_size=3)]
    assert sizes == [3, 3, 1]
    assert [len(b.ids) for b in make_train_loader([train_set], batch_size=3, drop_last=True)] == [3, 3]
    with pytest.raises(ValueError, match="7 samples make no batch of 8"):
        make_train_loader([train_set], batch_size=8, drop_last=True)


def test_processes_share_an_epoch_between_them(tmp_path: Path) -> None:
    train_set = TrainSet(make(tmp_path, 8), SPEC.preprocess())
    parts = [set(all_samples(make_train_loader([train_set], 2, num_replicas=2, rank=r), 0)) for r in (0, 1)]
    assert [len(part) for part in parts] == [4, 4]
    assert parts[0] | parts[1] == set(map(str, range(8)))


def test_several_data_sets_are_mixed_in_one_loader(tmp_path: Path) -> None:
    sets = [TrainSet(make(tmp_path / name, count), SPEC.preprocess()) for name, count in (("a", 5), ("b", 3))]
    loader = make_train_loader(sets, batch_size=8)
    loader.sampler.set_epoch(9)
    assert [train_set.epoch for train_set in sets] == [9, 9]
    assert sorted(next(iter(loader)).ids) == sorted([*"01234", *"012"])
    with pytest.raises(ValueError, match="expected exactly one"):
        make_train_loader([sets[0], TrainSet(make(tmp_path / "c"), SPEC.preprocess(64))], batch_size=2)


def test_prepared_images_are_cached_within_the_bound_of_the_data_set(tmp_path: Path) -> None:
    dataset = make(tmp_path, dtype="uint16")
    dataset.cache.max_bytes = 15000  # 32 x 40 x (4 + 1) = 6400 bytes each
    train_set = TrainSet(dataset, SPEC.preprocess())
    for index in range(7):
        train_set[index]
    assert train_set.cache.used_bytes == 12800
    assert dataset.cache.used_bytes == 0  # not held twice


def test_file_that_breaks_during_training_is_named(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    path = tmp_path / "images" / "3.tif"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageError, match=r"images/3\.tif"):
        list(make_train_loader([TrainSet(dataset, SPEC.preprocess())], batch_size=2))
    write_image(path, np.full((32, 40), np.nan, np.float32))
    with pytest.raises(ImageError, match=r"images/3\.tif: .*NaN"):
        TrainSet(dataset, SPEC.preprocess())[3]
    with pytest.raises(ImageError, match=r"images/3\.tif: .*NaN"):
        EvalSet(dataset, SPEC.preprocess())[3]


def test_training_at_native_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="native size"):
        TrainSet(make(tmp_path), Preprocess())


def test_augmentation_of_the_caller_goes_before_the_published_one(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    preprocess = Preprocess((0.0,), (1.0,), 32)
    sample = TrainSet(dataset, preprocess, augmentation=KEEP)[2]
    np.testing.assert_array_equal(sample.image[0], dataset.pair(2).image)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("image_size", [64, None])
def test_evaluation_gives_image_mask_and_prepared_values_in_list_order(
    tmp_path: Path, workers: int, image_size: int | None
) -> None:
    dataset = make(tmp_path, dtype="uint16")
    preprocess = Preprocess((100.0,), (20.0,), image_size)
    samples = list(make_eval_loader(dataset, preprocess, workers))
    assert [sample.id for sample in samples] == list(dataset.ids)
    for index, sample in enumerate(samples):
        pair, prepared = dataset.pair(index), preprocess(dataset.pair(index).image)
        assert isinstance(sample.image, np.ndarray)
        np.testing.assert_array_equal(sample.image, pair.image)
        np.testing.assert_array_equal(sample.mask, pair.mask)
        np.testing.assert_array_equal(sample.values, prepared.values)
        assert sample.geometry == prepared.geometry


def test_an_empty_split_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"train\.txt lists no images"):
        make_eval_loader(make(tmp_path, 0), SPEC.preprocess())


def test_real_nuaa_trains_with_the_published_pipeline(shared_dir: Path) -> None:
    dataset = open_dataset("NUAA-SIRST", shared_dir / "data", "train")
    loader = make_train_loader([TrainSet(dataset, dataset.spec.preprocess())], batch_size=12)
    batch = next(iter(loader))
    assert batch.image.shape == (12, 3, 256, 256)
    assert batch.gt_mask.sum() > 0
    assert abs(float(batch.image.mean())) < 3


def test_weights_share_an_epoch_out_and_repeats_are_augmented_anew(tmp_path: Path) -> None:
    sets = [TrainSet(make(tmp_path / name, count), SPEC.preprocess()) for name, count in (("a", 6), ("b", 2))]
    loader = make_train_loader(sets, batch_size=8, weights=(1, 3))
    assert loader.sampler.counts == [2, 6]
    loader.sampler.set_epoch(1)
    keys = list(loader.sampler)
    assert sorted(index for source, index in keys if source == 1) == [0, 1, 2, 3, 4, 5]
    assert sets[1][4].id == sets[1][0].id == "0"
    assert not torch.equal(sets[1][4].image, sets[1][0].image)
    epochs = set()
    for epoch in range(20):
        loader.sampler.set_epoch(epoch)
        epochs |= {index for source, index in loader.sampler if source == 0}
    assert epochs == set(range(6))  # what is left out changes


@pytest.mark.parametrize("workers", [0, 2])
def test_sampler_goes_on_in_mid_epoch_and_later_epochs_come_whole(tmp_path: Path, workers: int) -> None:
    dataset = make(tmp_path)
    whole = make_train_loader([TrainSet(dataset, SPEC.preprocess())], batch_size=2)
    again = make_train_loader([TrainSet(dataset, SPEC.preprocess())], batch_size=2, workers=workers)
    again.sampler.resume_at(3, 4)
    whole.sampler.set_epoch(3)
    expected = list(whole)[2:]
    found = list(again)
    assert [batch.ids for batch in found] == [batch.ids for batch in expected]
    assert all(torch.equal(a.image, b.image) for a, b in zip(found, expected, strict=True))
    for loader in (whole, again):
        loader.sampler.set_epoch(4)
    assert [batch.ids for batch in again] == [batch.ids for batch in whole]


def test_processes_that_do_not_divide_evenly_have_equally_many_samples(tmp_path: Path) -> None:
    train_set = TrainSet(make(tmp_path, 7), SPEC.preprocess())
    loaders = [make_train_loader([train_set], 2, num_replicas=3, rank=rank) for rank in range(3)]
    parts = [[name for batch in loader for name in batch.ids] for loader in loaders]
    assert [len(part) for part in parts] == [3, 3, 3]
    assert set().union(*parts) == set(map(str, range(7)))


def test_evaluating_processes_share_the_images_and_none_comes_twice(tmp_path: Path) -> None:
    dataset = make(tmp_path, 5)
    parts = [
        [s.id for s in make_eval_loader(dataset, SPEC.preprocess(), num_replicas=2, rank=r)] for r in (0, 1)
    ]
    assert parts == [["0", "2", "4"], ["1", "3"]]
