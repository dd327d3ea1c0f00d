"""Two processes under torchrun, on gloo, give the figures of one."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.training.tiny import tiny_config, write_images


def test_two_processes_validate_every_image_once_and_one_of_them_writes(tmp_path: Path) -> None:
    root, run = write_images(tmp_path / "mine", 50), tmp_path / "run"
    # a learning rate that leaves the network near its start, where it predicts enough to tell images apart
    config = tiny_config(root, run, batch_size=5, lr=1e-5, seed=3)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.to_dict()))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "samspl", "train", "--quiet", "--config", str(tmp_path / "run.yaml")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len((run / "splits" / "mine" / "val.txt").read_text().split()) == 5  # odd: 3 and 2
    assert done.stdout.count("| IoU ") == 1  # one table
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = max(rows, key=lambda row: float(row["val_iou"]))
    assert float(best["val_iou"]) > 0
    assert float(best["val_fa"]) > 0
    # the table at the end is one process's, of the weights that were kept
    alone = json.loads((run / "evaluation.json").read_text())[0]["profiles"]["strict"]
    for name in ("iou", "niou", "f1", "pd", "fa"):
        assert float(best[f"val_{name}"]) == pytest.approx(alone[name], abs=1e-12)
