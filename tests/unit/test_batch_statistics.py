"""`tools/batch_statistics.py`: statistics of batch normalisation, measured anew."""

import sys
from pathlib import Path

import pytest
import torch
import yaml

from samspl.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from samspl.config import ModelConfig
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.training.tiny import NARROW_MODEL, write_images

batch_statistics = pytest.importorskip("tools.batch_statistics", reason="needs the project's folder")


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
    assert {int(x) for name, x in after.state.items() if name.endswith("num_batches_tracked")} == {3}
