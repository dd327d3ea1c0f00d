"""`samspl test` under torchrun: two gloo processes give exactly the figures of one."""

import filecmp
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.config import ModelConfig
from samspl.data.synthetic import write_dataset
from samspl.imaging import write_image
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill

TINY = ModelConfig(embed_dim=16, stages=(1, 2, 2), global_blocks=(4,), width=32, mlp_width=48)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As torchrun gives each process: the number of threads decides the last bits of a logit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run_together(processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m", "samspl"]
    return subprocess.run(
        [sys.executable, "-m", *launcher, "test", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def assert_same_folder(a: Path, b: Path) -> None:
    names = sorted(path.name for path in a.iterdir())
    assert names == sorted(path.name for path in b.iterdir())
    assert filecmp.cmpfiles(a, b, names, shallow=False) == (names, [], [])


@pytest.mark.usefixtures("one_thread")
def test_two_processes_give_the_figures_and_the_report_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "data", 26, seed=2, size_hw=(64, 64))  # five test images: an odd number
    weights = tmp_path / "w.safetensors"
    state = fill(SAMSPL(TINY)).state_dict()
    write_checkpoint(weights, Checkpoint(TINY, state, Preprocess((100.0,), (40.0,), 64), threshold=0.3))
    words = ["--dataset", str(tmp_path / "data"), "--weights", str(weights), "--device", "cpu", "-q"]

    def files(name: str) -> list[str]:
        return ["--json", str(tmp_path / name / "result.json"), "--report", str(tmp_path / name)]

    assert main(["test", *words, *files("one")]) == 0
    alone = capsys.readouterr().out
    done = run_together(2, *words, *files("two"))
    assert done.returncode == 0, done.stderr
    assert "images 5," in alone
    assert done.stdout == alone.replace(str(tmp_path / "one"), str(tmp_path / "two")), "one process prints"
    assert_same_folder(tmp_path / "one", tmp_path / "two")


def test_failure_in_one_process_is_said_once_and_ends_all(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / "masks" / f"{name}.png", np.eye(32, dtype=bool))
        write_image(
            tmp_path / "predictions" / f"{name}.png", np.eye(32, 33 if name == "b" else 32, dtype=bool)
        )
    words = ["--predictions", str(tmp_path / "predictions"), "--masks", str(tmp_path / "masks"), "-q"]
    done = run_together(2, *words)  # b is read by process 1
    assert done.returncode == 1
    assert done.stderr.count("samspl: error:") == 1
    assert "b.png is 33x32" in done.stderr
    assert done.stdout == ""
