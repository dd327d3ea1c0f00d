"""A validation by hand."""

import types
from pathlib import Path

import numpy as np
import pytest
import torch

from samspl.config import ModelConfig
from samspl.data.loaders import EvalSample
from samspl.errors import SamsplError
from samspl.metrics import score
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from samspl.training.module import TrainingModule
from tests.unit.training.tiny import NARROW_MODEL, tiny_config


def make_module(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...] = ("a",)) -> TrainingModule:
    """A module outside a trainer, whose network gives back the first channel of its input."""
    monkeypatch.setattr(SAMSPL, "forward", lambda self, images: (images[:, :1],) * 3)
    module = TrainingModule(
        SAMSPL(ModelConfig.from_dict(NARROW_MODEL)), tiny_config(Path("m"), Path("r")), names
    )
    strategy = types.SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)
    monkeypatch.setattr(
        TrainingModule, "trainer", types.SimpleNamespace(world_size=1, strategy=strategy), raising=False
    )
    return module


def sample(image: np.ndarray, mask: np.ndarray) -> EvalSample:
    prepared = Preprocess((128.0,), (1.0,))(image)
    return EvalSample("x", image, mask, torch.from_numpy(prepared.values), prepared.geometry)


def test_figures_are_those_of_the_strict_profile_at_the_images_own_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = make_module(monkeypatch)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 50)).astype(np.uint8) for _ in range(3)]
    masks = [rng.random((40, 50)) < 0.3 for _ in range(3)]
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        module.validation_step(sample(image, mask), index)
    module.on_validation_epoch_end()
    expected = score([image > 128 for image in images], masks)
    found = module.figures["a"]
    assert found == pytest.approx({name: getattr(expected, name) for name in found})
    assert not module.is_blank
    assert len(module.shown) == 3
    np.testing.assert_array_equal(module.shown[1].pred_mask, images[1] > 128)


def test_blank_predictions_of_all_data_sets_are_noted_and_undefined_figures_are_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = make_module(monkeypatch, ("a", "b"))
    dark, bright = np.zeros((32, 32), np.uint8), np.full((32, 32), 200, np.uint8)
    empty = np.zeros((32, 32), bool)
    for number in (0, 1):
        module.validation_step(sample(dark, empty), 0, number)
    module.on_validation_epoch_end()
    assert module.is_blank
    assert module.figures["a"]["pd"] == 0.0
    module.validation_step(sample(dark, empty), 0, 0)
    module.validation_step(sample(bright, ~empty), 0, 1)
    module.on_validation_epoch_end()
    assert not module.is_blank
    assert module.mean_figures["iou"] == 0.5  # of 0 and 1


def test_mean_loss_of_several_processes_goes_on_as_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module(monkeypatch)
    module._loss_sum, module._loss_count = 6.0, 3  # the other process has as much
    strategy = types.SimpleNamespace(reduce=lambda tensor, reduce_op: 2 * tensor)
    both = types.SimpleNamespace(world_size=2, strategy=strategy, is_global_zero=True)
    monkeypatch.setattr(TrainingModule, "trainer", both)
    checkpoint: dict = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["loss_so_far"] == [12.0, 6.0]
    first, second = (make_module(monkeypatch) for _ in range(2))
    monkeypatch.setattr(TrainingModule, "trainer", both)
    first.on_load_checkpoint(checkpoint)
    both.is_global_zero = False
    second.on_load_checkpoint(checkpoint)
    assert (first._loss_sum, first._loss_count) == (12.0, 6.0)
    assert (second._loss_sum, second._loss_count) == (0.0, 0)


def test_prediction_that_is_not_finite_names_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module(monkeypatch)
    monkeypatch.setattr(SAMSPL, "forward", lambda self, images: (images[:, :1] * float("nan"),) * 3)
    with pytest.raises(SamsplError, match="validation image x: 1024 of 1024 logits are NaN"):
        module.validation_step(sample(np.zeros((32, 32), np.uint8), np.zeros((32, 32), bool)), 0)
