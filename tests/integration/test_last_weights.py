"""`tools/last_weights.py`: the weights that a run ended with."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

import samspl
from samspl.checkpoint import Checkpoint, load_model, read_checkpoint, write_checkpoint
from samspl.training.checkpoints import read_last
from samspl.training.run import train
from tests.unit.training.tiny import tiny_config, write_images

last_weights = pytest.importorskip("tools.last_weights", reason="needs the project's folder")


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_last_weights_are_those_after_the_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], decay: float
) -> None:
    data, run, out = write_images(tmp_path / "mine", 12), tmp_path / "run", tmp_path / "last.safetensors"
    train(tiny_config(data, run, epochs=2, ema_decay=decay), progress=False)
    monkeypatch.setattr(sys, "argv", ["last_weights.py", str(run), "--out", str(out)])
    last_weights.main()
    assert ("running mean" if decay else "as trained") in capsys.readouterr().out
    best, last = read_checkpoint(run), read_checkpoint(out)
    assert (last.config, last.preprocess) == (best.config, best.preprocess)
    assert last.record["epoch"] == 2
    assert last.record["validation_ids"] == best.record["validation_ids"]
    assert "validation" not in last.record
    trained = read_last(run / "last.ckpt")["state_dict"]
    name = "heads.2.weight"
    own, mean = trained[f"model.{name}"], trained.get(f"average.module.{name}")
    assert torch.equal(last.state[name], own if mean is None else mean)
    assert mean is None or not torch.equal(own, mean)
    load_model(out)  # complete


def test_last_weights_are_averaged_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, run = write_images(tmp_path / "mine", 12), tmp_path / "run"
    train(tiny_config(data, run, epochs=1), progress=False)
    last, mean = tmp_path / "last.safetensors", tmp_path / "mean.safetensors"
    monkeypatch.setattr(sys, "argv", ["last_weights.py", str(run), "--out", str(last)])
    last_weights.main()
    own = read_checkpoint(last)
    zero = tmp_path / "zero.safetensors"
    zeros = {name: torch.zeros_like(tensor) for name, tensor in own.state.items()}
    write_checkpoint(zero, dataclasses.replace(own, state=zeros))
    argv = ["last_weights.py", str(run), "--average-with", str(zero), "--out", str(mean)]
    for more, share in (([], 0.5), (["--share", "0.75"], 0.75)):
        monkeypatch.setattr(sys, "argv", [*argv, *more])
        last_weights.main()
        for name, tensor in read_checkpoint(mean).state.items():
            torch.testing.assert_close(
                tensor, own.state[name] * share if tensor.is_floating_point() else own.state[name]
            )

    wider = samspl.create_model("nano")
    other = tmp_path / "other.safetensors"
    write_checkpoint(other, Checkpoint(wider.config, wider.state_dict(), own.preprocess))
    monkeypatch.setattr(sys, "argv", [*argv[:3], str(other), *argv[4:]])
    with pytest.raises(SystemExit) as exit_info:
        last_weights.main()
    assert exit_info.value.code == 2

    for wrong in ([*argv, "--share", "75"], [*argv[:2], "--share", "0.75", *argv[4:]]):
        monkeypatch.setattr(sys, "argv", wrong)
        with pytest.raises(SystemExit) as exit_info:
            last_weights.main()
        assert exit_info.value.code == 2
