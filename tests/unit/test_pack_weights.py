"""`tools/pack_weights.py`: the file that the package ships."""

import sys

import numpy as np
import pytest
import torch

from samspl.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from samspl.inference.detector import Detector
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW
from tests.unit.training.tiny import write_images

pack_weights = pytest.importorskip("tools.pack_weights", reason="needs the project's folder")


def test_best_threshold_on_validation_becomes_a_half_and_nothing_else_changes(tmp_path, monkeypatch, capsys):
    data = write_images(tmp_path / "data" / "mine", 20)
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(tmp_path / "best.safetensors", Checkpoint(NARROW, state, Preprocess((110.0,), (40.0,))))
    out = tmp_path / "packed.safetensors"
    words = [str(tmp_path), "--data-path", str(data.parent), "--datasets", str(data), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["pack_weights.py", *words])
    pack_weights.main()
    assert "with the bias" in capsys.readouterr().out
    packed = read_checkpoint(out)
    assert packed.config == NARROW
    moved = packed.record["bias_shift"]
    assert moved != 0  # weights that were made up have no reason to be right at 0.5
    for name, before in state.items():
        after = packed.state[name]
        assert after.dtype == (torch.float16 if before.ndim > 1 else before.dtype)
        if name == pack_weights.HEAD:
            before = before + moved
        torch.testing.assert_close(after.to(before.dtype), before, rtol=1e-3, atol=1e-6)
    curve = pack_weights.iou_by_shift(Detector(out), str(data), str(data.parent))
    at_half = curve[np.abs(pack_weights.SHIFTS).argmin()]
    assert at_half == pytest.approx(curve.max(), abs=0.01)


def test_bias_is_kept_on_request(tmp_path, monkeypatch):
    data = write_images(tmp_path / "data" / "mine", 20)
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(tmp_path / "best.safetensors", Checkpoint(NARROW, state, Preprocess((110.0,), (40.0,))))
    out = tmp_path / "packed.safetensors"
    words = [str(tmp_path), "--data-path", str(data.parent), "--datasets", str(data), "--keep-bias"]
    monkeypatch.setattr(sys, "argv", ["pack_weights.py", *words, "--out", str(out)])
    pack_weights.main()
    packed = read_checkpoint(out)
    assert packed.record["bias_shift"] == 0
    assert torch.equal(packed.state[pack_weights.HEAD], state[pack_weights.HEAD])
