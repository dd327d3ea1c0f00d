"""`tools/batch_statistics.py`: statistics of batch normalisation, measured anew."""

import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from samspl.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from samspl.config import ModelConfig
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.training.tiny import NARROW_MODEL, write_images

batch_statistics = pytest.importorskip("tools.batch_statistics", reason="needs the project's folder")


def test_every_batch_counts_alike() -> None:
    norm = nn.BatchNorm2d(1)
    batches = [torch.tensor([low, high]).reshape(2, 1, 1, 1) for low, high in ((0.0, 2.0), (10.0, 18.0))]
    batch_statistics.measure(norm, batches)
    assert norm.running_mean.item() == pytest.approx((1 + 14) / 2)
    assert norm.running_var.item() == pytest.approx((2 + 32) / 2)  # of samples, without the bias


def test_only_statistics_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_images(tmp_path / "mine", 12)
    other = write_images(tmp_path / "other", 12, seed=1)
    recipe = tmp_path / "recipe.yaml"
    values = {
        "dataset": f"{data},{other}",
        "sam_weights": "none",
        "sampling_weights": [3, 1],
        "variation": [0.5, 0.25],
        "augmentation": "broad",
        "normalise": "frame",
        "image_size": 32,
        "patch_size": 32,
        "batch_size": 4,
    }
    recipe.write_text(yaml.safe_dump(values))
    form = ModelConfig.from_dict(NARROW_MODEL)
    state = fill(SAMSPL(form)).state_dict()
    preprocess = Preprocess((110.0,), (40.0,), normalise="frame")
    write_checkpoint(tmp_path / "before.safetensors", Checkpoint(form, state, preprocess))
    out = tmp_path / "after.safetensors"
    words = [str(tmp_path / "before.safetensors"), "--config", str(recipe), "--dataset", str(other)]
    # an epoch of this set has two batches: a third is of the next
    words += ["--sampling-weights", "1", "--variation", "0.5", "--batches", "3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["batch_statistics.py", *words])
    batch_statistics.main()
    after = read_checkpoint(out)
    assert (after.config, after.preprocess) == (form, preprocess)
    changed = {name.rsplit(".", 1)[-1] for name in state if not torch.equal(state[name], after.state[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}
