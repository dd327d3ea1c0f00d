"""What a run writes down."""

import io
import json
import types
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from samspl.errors import ConfigError
from samspl.preprocess import Preprocess
from samspl.training import records
from samspl.training.data import open_parts
from samspl.training.module import Shown, TrainingModule
from samspl.training.records import Progress, Records, checksums, describe_run, side_by_side
from tests.unit.training.tiny import tiny_config, write_images


def test_description_holds_lists_and_their_checksums(tmp_path: Path) -> None:
    config = tiny_config(write_images(tmp_path / "mine", 10), tmp_path / "run")
    parts, _ = open_parts(config)
    describe_run(config, parts)
    assert json.loads((tmp_path / "run" / "splits" / "sha256.json").read_text()) == checksums(parts)
    assert (tmp_path / "run" / "splits" / "mine" / "val.txt").read_text().split() == list(
        parts[0].val.split.ids
    )
    assert checksums(parts).keys() == {"mine/train", "mine/val"}
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        describe_run(tiny_config(tmp_path / "mine", tmp_path / "file"), parts)


def test_rows_come_back_with_the_checkpoint_and_the_table_is_written_anew(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "mine", tmp_path)
    first = Records(config, Preprocess(), {}, 0)
    first.rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    first.best_iou, first.blank_epochs = 0.75, 3
    (tmp_path / "best.safetensors").write_bytes(b"")
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,0.5\n2,0.25\n3,0.125\n")  # killed after epoch 3
    again = Records(config, Preprocess(), {}, 2)
    again.load_state_dict(first.state_dict())
    again.rows.append({"epoch": 3, "loss": 0.0625})
    again._write_table()
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n3,0.0625\n"
    assert (again.best_iou, again.blank_epochs) == (0.75, 3)


def test_best_of_another_folder_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    again = Records(tiny_config(tmp_path / "mine", tmp_path / "new"), Preprocess(), {}, 2)
    again.load_state_dict({"best_iou": 0.75, "rows": [], "blank_epochs": 0})
    assert again.best_iou == -1.0


def test_pictures_stand_side_by_side_at_one_height() -> None:
    blank = np.zeros((32, 32), bool)
    shown = [
        Shown(np.zeros((32, 32), np.uint8), blank, blank),
        Shown(np.zeros((64, 20), np.uint16), np.zeros((64, 20), bool), np.zeros((64, 20), bool)),
    ]
    whole, one = side_by_side(shown), side_by_side(shown[:1])
    assert whole.shape[0] == one.shape[0] == 400
    assert whole.shape[1] > one.shape[1]
    assert whole.dtype == np.uint8


def test_bar_begins_where_the_run_stands_and_shows_loss_and_iou(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(
        records, "tqdm", lambda **options: tqdm(**{**options, "file": text, "mininterval": 0})
    )
    loader = types.SimpleNamespace(sampler=range(10))
    trainer = types.SimpleNamespace(
        train_dataloader=loader,
        world_size=2,
        max_epochs=5,
        is_global_zero=True,
        current_epoch=3,
        num_val_batches=[5, 4],
    )
    module = TrainingModule.__new__(TrainingModule)
    TrainingModule.__base__.__init__(module)
    module.figures, module.last_loss = {"a": dict.fromkeys(("iou", "niou", "f1", "pd", "fa"), 0.5)}, 0.25
    bar = Progress(done=4)
    bar.on_train_start(trainer, module)
    bar.on_train_batch_end(trainer, module, None, types.SimpleNamespace(ids=["x"] * 4), 0)
    assert "76/100" in text.getvalue()
    assert "epoch=4, loss=0.25, IoU=50.00 %" in text.getvalue()
    bar.on_validation_epoch_start(trainer, module)
    for index in range(9):
        bar.on_validation_batch_end(trainer, module, None, None, index)
    bar.on_train_end(trainer, module)
    assert "validating 8 of 9" in text.getvalue()
