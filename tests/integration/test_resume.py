"""A run that is killed or interrupted anywhere goes on to the result of an uninterrupted one."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from samspl.checkpoint import read_checkpoint
from samspl.errors import CheckpointError, ConfigError
from samspl.models.weights import read_tensors
from samspl.train_config import TrainConfig
from samspl.training.checkpoints import read_last
from samspl.training.module import TrainingModule
from samspl.training.run import train
from tests.unit.training.tiny import tiny_config, write_images

EVERYTHING = {
    "ema_decay": 0.9,
    "warmup_epochs": 1,
    "accumulate": 2,
    "clip_norm": 1.0,
    "loss": "bce+dice",
}


KILLED_IN_STEP_10 = """
import os, signal, sys
from samspl.cli.main import main
from samspl.training.module import TrainingModule

step, calls = TrainingModule.training_step, []

def dying(*args):
    calls.append(None)
    if len(calls) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*args)

TrainingModule.training_step = dying
sys.exit(main(sys.argv[1:]))
"""


def command(config: TrainConfig, *more: str) -> list[str]:
    """`samspl train` with a configuration, in a process of its own."""
    file = Path(config.save_dir).with_suffix(".yaml")
    file.write_text(yaml.safe_dump(config.to_dict()))
    return [sys.executable, "-m", "samspl", "train", "--quiet", "--config", str(file), *more]


def start(words: list[str]) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=env, start_new_session=True, **pipes)


def wait_until(process: subprocess.Popen, folder: Path, epoch: int, batches: int) -> None:
    """Until the run's last checkpoint lies at or behind a batch."""
    last, seen = folder / "last.ckpt", 0
    for _ in range(4000):
        if process.poll() is not None:
            pytest.fail(f"the run ended by itself: {process.communicate()[1]}")
        if last.exists() and last.stat().st_mtime_ns != seen:
            seen = last.stat().st_mtime_ns
            stands = read_last(last)["samspl"]
            if (stands["epoch"], stands["batches"]) >= (epoch, batches):
                return
        time.sleep(0.01)
    pytest.fail("the run did not get there")


def assert_same_run(folder: Path, reference: Path) -> None:
    found, expected = (read_last(run / "last.ckpt") for run in (folder, reference))
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for name, tensor in expected["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][name], tensor, rtol=0, atol=1e-6, msg=name)
    assert found["lr_schedulers"] == expected["lr_schedulers"]
    assert found["global_step"] == expected["global_step"]
    steps = [run["optimizer_states"][0]["state"] for run in (found, expected)]
    for index, state in steps[1].items():
        for name, value in state.items():
            torch.testing.assert_close(steps[0][index][name], value, rtol=0, atol=1e-6)
    assert (folder / "metrics.csv").read_text() == (reference / "metrics.csv").read_text()
    best, same = (read_tensors(run / "best.safetensors") for run in (folder, reference))
    assert {k: v for k, v in best[1].items() if k != "record"} == {
        k: v for k, v in same[1].items() if k != "record"
    }
    assert all(torch.equal(best[0][name], same[0][name]) for name in same[0])


def test_run_killed_in_mid_epoch_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine", 26)
    settings = {"epochs": 3, "save_every": 1, "test_split": "none", **EVERYTHING}
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    train(tiny_config(root, reference, **settings), progress=False)
    words = command(tiny_config(root, killed, **settings))
    process = start([words[0], "-c", KILLED_IN_STEP_10, *words[3:]])
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    stands = read_last(killed / "last.ckpt")["samspl"]
    assert (stands["epoch"], stands["batches"]) == (1, 2)  # of 6; the step in between is done again
    train(tiny_config(root, killed, **settings, resume="last"), progress=False)
    assert_same_run(killed, reference)
    events = EventAccumulator(str(killed))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]


def test_run_that_stops_at_any_step_or_validation_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_images(tmp_path / "mine", 12)
    settings = {"epochs": 4, "save_every": 1, "test_split": "none", "optimizer": "adamw", "lr": 1e-3}
    reference, stopped = tmp_path / "reference", tmp_path / "stopped"
    train(tiny_config(root, reference, **settings), progress=False)
    config = tiny_config(root, stopped, **settings)
    calls = {"training_step": [2, 1, 3], "validation_step": [0, 1]}  # each time anew, counted from a start
    for name, counts in calls.items():
        for count in counts:
            with monkeypatch.context() as patch:
                patch.setattr(TrainingModule, name, stop_at(getattr(TrainingModule, name), count))
                with pytest.raises(ZeroDivisionError):
                    train(config, progress=False)
            config = tiny_config(root, stopped, **settings, resume="last")
    train(config, progress=False)
    assert_same_run(stopped, reference)


def stop_at(step: Callable, count: int) -> Callable:
    """The step, but the call of this number fails."""
    left = [count]

    def failing(*args: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise ZeroDivisionError
        return step(*args)

    return failing


def test_run_that_goes_on_normalises_as_the_weights_it_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_images(tmp_path / "mine", 12)
    before = tiny_config(root, tmp_path / "before", epochs=1, normalise="frame", test_split="none")
    settings = {"init": str(train(before, progress=False).best), "save_every": 1, "test_split": "none"}
    reference, stopped = tmp_path / "reference", tmp_path / "stopped"
    train(tiny_config(root, reference, **settings), progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", stop_at(TrainingModule.training_step, 2))
        with pytest.raises(ZeroDivisionError):
            train(tiny_config(root, stopped, **settings), progress=False)
    Path(settings["init"]).unlink()  # the checkpoint holds all that is needed of it
    train(tiny_config(root, stopped, **settings, resume="last"), progress=False)
    assert_same_run(stopped, reference)
    preprocess = read_checkpoint(stopped).preprocess
    assert preprocess is not None
    assert preprocess.normalise == "frame"


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine", 26)
    config = tiny_config(root, tmp_path / "run", epochs=200, save_every=1, test_split="none", workers=1)
    process = start(command(config))
    wait_until(process, tmp_path / "run", 0, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the processes that load images, too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert f"samspl train --config {tmp_path / 'run' / 'config.yaml'} --resume last" in err
    stands = read_last(tmp_path / "run" / "last.ckpt")["samspl"]
    assert stands["epoch"] < 199


def test_broken_checkpoint_is_named_and_the_one_before_goes_on(tmp_path: Path) -> None:
    root, run = write_images(tmp_path / "mine", 12), tmp_path / "run"
    settings = {"save_every": 1, "test_split": "none"}
    train(tiny_config(root, run, **settings), progress=False)
    rows = (run / "metrics.csv").read_text()
    whole = (run / "last.ckpt").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no checkpoint"):
        (run / "last.ckpt").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged.*--resume .*previous\.ckpt"):
            train(tiny_config(root, run, **settings, resume="last"), progress=False)
    train(tiny_config(root, run, **settings, resume=str(run / "previous.ckpt")), progress=False)
    assert (run / "metrics.csv").read_text() == rows
    begun_as = (run / "environment.json").read_text()
    (run / "last.ckpt").unlink()  # killed between two renames
    train(tiny_config(root, run, **settings, resume="last"), progress=False)
    assert (run / "metrics.csv").read_text() == rows
    assert (run / "environment.json").read_text() == begun_as
    assert yaml.safe_load((run / "config.yaml").read_text())["resume"] is None


def test_full_disk_is_a_clear_error_and_the_previous_checkpoint_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, run = write_images(tmp_path / "mine", 12), tmp_path / "run"
    settings = {"save_every": 1, "test_split": "none"}
    write = Path.write_bytes
    written = []

    def fill_up(path: Path, data: bytes) -> int:
        if len(data) > 1e6:  # a checkpoint
            written.append(path)
            if len(written) == 3:
                write(path, data[:1000])
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_up)
        with pytest.raises(CheckpointError, match="No space left on device"):
            train(tiny_config(root, run, **settings), progress=False)
    assert read_last(run / "last.ckpt")["samspl"]["batches"] == 2
    assert {path.name for path in run.glob("*ckpt*")} == {"last.ckpt", "previous.ckpt"}
    assert not list(run.glob(".samspl-*"))
    train(tiny_config(root, run, **settings, resume="last"), progress=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.02}, r"lr 0\.01 \(now 0\.02\)"),
        ({"batch_size": 3}, r"batch_size 4 \(now 3\)"),
        ({"loss": "dice"}, r"loss 'bce' \(now 'dice'\)"),
    ],
)
def test_checkpoint_of_other_settings_is_refused(
    one_run: tuple[Path, Path], tmp_path: Path, changes: dict, words: str
) -> None:
    root, run = one_run
    with pytest.raises(ConfigError, match=f"of another run, with .*{words}"):
        train(tiny_config(root, run, **changes, resume="last"), progress=False)


def test_checkpoint_of_other_data_is_refused(one_run: tuple[Path, Path], tmp_path: Path) -> None:
    root, run = one_run
    shutil.copytree(root, tmp_path / "mine")
    (tmp_path / "mine" / "train.txt").write_text("".join(f"img_{k:02d}\n" for k in range(11)))
    file = str(run / "last.ckpt")
    with pytest.raises(ConfigError, match=r"checksum of mine/train .* \(now "):
        train(tiny_config(tmp_path / "mine", tmp_path / "other", resume=file), progress=False)


def test_folder_of_a_run_is_not_overwritten(one_run: tuple[Path, Path]) -> None:
    root, run = one_run
    with pytest.raises(ConfigError, match="holds an earlier run; go on with --resume last"):
        train(tiny_config(root, run), progress=False)


def test_missing_and_foreign_checkpoints_are_named(one_run: tuple[Path, Path], tmp_path: Path) -> None:
    root, _ = one_run
    with pytest.raises(ConfigError, match=r"nothing to resume: .*last\.ckpt does not exist"):
        train(tiny_config(root, tmp_path / "new", resume="last"), progress=False)
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match=r"foreign\.ckpt is no checkpoint of samspl train"):
        train(tiny_config(root, tmp_path / "new", resume=str(tmp_path / "foreign.ckpt")), progress=False)
    evil = tmp_path / "evil.ckpt"
    torch.save({"samspl": Path("x")}, evil)  # anything that only unpickling could build
    with pytest.raises(CheckpointError, match=r"evil\.ckpt is damaged or no checkpoint"):
        train(tiny_config(root, tmp_path / "new", resume=str(evil)), progress=False)


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set and a finished run of one epoch on it."""
    folder = tmp_path_factory.mktemp("one")
    root = write_images(folder / "mine", 12)
    train(tiny_config(root, folder / "run", test_split="none"), progress=False)
    return root, folder / "run"
