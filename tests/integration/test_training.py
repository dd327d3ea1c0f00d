"""Whole runs: what they leave behind, what they refuse, and what their options do."""

import csv
import json
import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from samspl.checkpoint import load_model, read_checkpoint
from samspl.config import ModelConfig
from samspl.data.dataset import open_dataset
from samspl.data.synthetic_set import SyntheticScenes
from samspl.errors import CheckpointError, ConfigError, DatasetError, SamsplError
from samspl.imaging import write_image
from samspl.models.network import SAMSPL
from samspl.models.weights import load_exactly
from samspl.train_config import TrainConfig
from samspl.training import data as training_data
from samspl.training import run as training_run
from samspl.training.module import TrainingModule
from samspl.training.run import TrainResult, train
from tests.unit.training.tiny import NARROW_MODEL, tiny_config, write_images


def rows_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").open()))


def write_without_targets(root: Path) -> Path:
    """The images of `write_images`, of which no mask marks anything."""
    for path in (write_images(root, 12) / "masks").iterdir():
        write_image(path, np.zeros((32, 32), bool))
    return root


def run_tiny(root: Path, run: Path, **changes: Any) -> TrainResult:
    return train(tiny_config(root, run, **changes), progress=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "mine", 12)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    run = tmp_path_factory.mktemp("finished") / "run"
    return run, run_tiny(data, run)


def test_run_folder_holds_what_is_needed_to_repeat_it(finished: tuple[Path, TrainResult], data: Path) -> None:
    run, result = finished
    assert result.best == run / "best.safetensors"
    assert [row["epoch"] for row in rows_of(run)] == ["1", "2"]
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored == tiny_config(data, run).to_dict()
    environment = json.loads((run / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert {"git", "command", "python"} <= environment.keys()
    train_ids, val_ids = (
        (run / "splits" / "mine" / f"{part}.txt").read_text().split() for part in ("train", "val")
    )
    assert sorted(train_ids + val_ids) == [f"img_{k:02d}" for k in range(12)]
    assert tuple(val_ids) == open_dataset(str(data), data.parent, "val").ids  # what `test --split val` takes
    sums = json.loads((run / "splits" / "sha256.json").read_text())
    assert sums["mine/val"] == open_dataset(str(data), data.parent, "val").split.sha256
    record = read_checkpoint(run).record
    assert record["validation_ids"] == val_ids
    assert record["selected_on"] == "val"
    assert {path.name for path in run.glob("*.ckpt")} == {"last.ckpt", "previous.ckpt"}


def test_table_at_the_end_is_on_the_validation_part_unless_asked_otherwise(
    finished: tuple[Path, TrainResult], data: Path, tmp_path: Path
) -> None:
    run, result = finished
    (only,) = result.evaluations
    assert (only["split"], only["images"], only["selected_on"]) == ("val", 1, "val")
    best = max(rows_of(run), key=lambda row: float(row["val_iou"]))
    assert only["profiles"]["strict"]["iou"] == pytest.approx(float(best["val_iou"]))
    (on_test,) = run_tiny(data, tmp_path / "on_test", epochs=1, test_split="test").evaluations
    assert (on_test["split"], on_test["images"], on_test["selected_on"]) == ("test", 4, "val")


def test_published_selection_on_test_has_a_name_and_is_marked(data: Path, tmp_path: Path) -> None:
    result = run_tiny(data, tmp_path / "run", epochs=1, select_on="test")
    assert result.selected_on == "test"
    assert result.evaluations[0]["selected_on"] == "test"
    assert result.evaluations[0]["images"] == 4
    assert read_checkpoint(result.best).record["selected_on"] == "test"
    assert len((tmp_path / "run" / "splits" / "mine" / "train.txt").read_text().split()) == 12


def test_tensorboard_has_figures_and_pictures_of_every_epoch(finished: tuple[Path, TrainResult]) -> None:
    events = EventAccumulator(str(finished[0]))
    events.Reload()
    assert {"loss", "lr", "val/iou", "val/pd"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert [event.step for event in events.Images("val/images")] == [1, 2]


def test_same_seed_gives_the_same_weights_and_another_seed_others(
    finished: tuple[Path, TrainResult], data: Path, tmp_path: Path
) -> None:
    weights = {
        name: read_checkpoint(folder).state
        for name, folder in (
            ("first", finished[0]),
            ("again", run_tiny(data, tmp_path / "again", workers=2).best),
            ("other", run_tiny(data, tmp_path / "other", seed=1).best),
        )
    }
    assert all(torch.equal(weights["again"][name], tensor) for name, tensor in weights["first"].items())
    assert not all(torch.equal(weights["other"][name], tensor) for name, tensor in weights["first"].items())


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "adamw", "ema_decay": 0.9}], ids=["adan", "adamw, ema"]
)
def test_frozen_trunk_is_bit_identical_after_training(data: Path, tmp_path: Path, options: dict) -> None:
    start = run_tiny(data, tmp_path / "start", epochs=1, test_split="none").best
    options = {**options, "weight_decay": 0.1, "init": str(start), "freeze_trunk": True, "test_split": "none"}
    run_tiny(data, tmp_path / "frozen", **options)
    before = read_checkpoint(start).state
    last = torch.load(tmp_path / "frozen" / "last.ckpt", weights_only=True)["state_dict"]
    for prefix in ("model.", "average.module."):
        after = {name.removeprefix(prefix): t for name, t in last.items() if name.startswith(prefix)}
        if prefix == "model." or "ema_decay" in options:
            trunk = [name for name in before if ".trunk." in name]
            assert len(trunk) > 10
            assert all(torch.equal(after[name], before[name]) for name in trunk)
            assert not all(torch.equal(after[name], before[name]) for name in before)
    moments = torch.load(tmp_path / "frozen" / "last.ckpt", weights_only=True)["optimizer_states"][0]["state"]
    model = SAMSPL(ModelConfig.from_dict(NARROW_MODEL))
    assert len(moments) == sum(".trunk." not in name for name, _ in model.named_parameters())


def test_training_learns(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine", 24)
    result = run_tiny(
        root, tmp_path / "run", epochs=8, batch_size=3, lr=0.03, loss="bce+dice", normalise="frame"
    )
    losses = [float(row["loss"]) for row in rows_of(tmp_path / "run")]
    assert losses[-1] < 0.5 * losses[0]
    assert load_model(result.best).training is False


def test_weights_that_are_kept_are_the_running_mean(data: Path, tmp_path: Path) -> None:
    best = run_tiny(data, tmp_path / "run", epochs=1, ema_decay=0.9, test_split="none").best
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    kept = read_checkpoint(best).state
    assert all(torch.equal(kept[name], last[f"average.module.{name}"]) for name in kept)
    assert not all(torch.equal(kept[name], last[f"model.{name}"]) for name in kept)


def test_accumulated_batches_step_once(data: Path, tmp_path: Path) -> None:
    run_tiny(data, tmp_path / "run", epochs=1, accumulate=3, test_split="none")
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 1


def test_last_step_of_an_epoch_takes_the_mean_of_the_batches_that_are_left(
    data: Path, tmp_path: Path
) -> None:
    states = []
    for accumulate in (3, 5):  # of three batches
        run = tmp_path / str(accumulate)
        run_tiny(data, run, epochs=1, accumulate=accumulate, test_split="none")
        states.append(torch.load(run / "last.ckpt", weights_only=True)["optimizer_states"][0]["state"])
    assert sum(float(one["exp_avg"].abs().sum()) for one in states[0].values()) > 0
    for index, state in states[0].items():
        torch.testing.assert_close(states[1][index]["exp_avg"], state["exp_avg"])


@pytest.mark.parametrize(
    "options", [{"precision": "bf16", "channels_last": True}, {"loss": "sls", "clip_norm": 1.0}]
)
def test_every_part_of_a_recipe_runs(data: Path, tmp_path: Path, options: dict) -> None:
    run_tiny(data, tmp_path / "run", epochs=1, **options)
    assert math.isfinite(float(rows_of(tmp_path / "run")[0]["loss"]))


def test_compile_is_asked_of_torch_and_leaves_the_keys(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(SAMSPL, "compile", lambda self, **options: asked.append(self), raising=False)
    best = run_tiny(data, tmp_path / "run", epochs=1, compile=True, test_split="none").best
    assert len(asked) == 1
    load_model(best)


def test_several_data_sets_train_one_network_by_frame_statistics(data: Path, tmp_path: Path) -> None:
    other = write_images(tmp_path / "other", 6, seed=1)
    run = tmp_path / "run"
    result = run_tiny(data, run, dataset=f"{data}, {other}", sampling_weights=(1, 3), epochs=1)
    assert [evaluation["dataset"] for evaluation in result.evaluations] == ["mine", "other"]
    row = rows_of(run)[0]
    mean = (float(row["val_iou_mine"]) + float(row["val_iou_other"])) / 2
    assert float(row["val_iou"]) == pytest.approx(mean)
    checkpoint = read_checkpoint(result.best)
    assert checkpoint.preprocess is not None
    assert checkpoint.preprocess.normalise == "frame"
    assert checkpoint.record["validation_ids"].keys() == {"mine", "other"}
    with pytest.raises(ConfigError, match="share no mean and std"):
        run_tiny(data, tmp_path / "fixed", dataset=f"{data},{other}", normalise="fixed")


def test_pretraining_on_drawn_scenes_then_fine_tuning(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "SyntheticScenes", partial(SyntheticScenes, count=8))
    drawn = {"dataset": "synthetic", "synthetic_count": 8, "normalise": "frame", "epochs": 1}
    pretrained = run_tiny(data, tmp_path / "pre", **drawn)
    assert pretrained.evaluations[0]["images"] == 8
    tuned = run_tiny(
        data, tmp_path / "tuned", init=str(pretrained.best), epochs=1, lr=1e-12, weight_decay=0.0
    )
    before, after = (read_checkpoint(result.best) for result in (pretrained, tuned))
    assert after.preprocess is not None
    assert after.preprocess.normalise == "frame"  # as the weights it began with
    torch.testing.assert_close(
        after.state["encoder.trunk.pos_embed"], before.state["encoder.trunk.pos_embed"], rtol=0, atol=1e-6
    )


def test_patches_are_trained_on_and_whole_images_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_images(tmp_path / "mine", 12, side=64)
    seen = []
    step = TrainingModule.training_step

    def look(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
        seen.append(batch)
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", look)
    result = run_tiny(root, tmp_path / "run", image_size=64, patch_size=32, patch_positive=1.0, epochs=1)
    assert {tuple(batch.image.shape[1:]) for batch in seen} == {(3, 32, 32)}
    assert np.mean([mask.sum() > 0 for batch in seen for mask in batch.gt_mask]) > 0.8
    assert result.evaluations[0]["profiles"]["published"]["image_size"] == 64


def test_loss_that_is_not_finite_names_the_images(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SAMSPL, "forward", lambda self, images: 3 * (images[:, :1] * math.nan,))
    with pytest.raises(SamsplError, match=r"loss is nan at epoch 1, step 1, on images img_\d\d, img_\d\d"):
        run_tiny(data, tmp_path / "run")


def test_collapsed_run_is_called_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forward = SAMSPL.forward
    monkeypatch.setattr(
        SAMSPL, "forward", lambda self, images: tuple(one * 1e-3 - 9 for one in forward(self, images))
    )
    monkeypatch.setattr(logging.getLogger("samspl"), "propagate", True)
    with caplog.at_level(logging.WARNING, "samspl"):
        run_tiny(data, tmp_path / "run", epochs=6, lr=1e-6, test_split="none")
    assert "in the last 5 epochs: the run may have collapsed" in caplog.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.0}, "lr is 0.0; expected a positive number"),
        ({"lr": -1.0}, "lr is -1.0; expected a positive number"),
        ({"batch_size": 12}, "batch_size 12 needs 12 training images, of which there are 11"),
        ({"batch_size": 1, "model": {**NARROW_MODEL, "stages": [1, 2, 2, 2], "window_sizes": [8, 4, 14, 7]}},
         "maps of 1x1 at stride 32"),
        ({"patch_size": 64}, "patch_size 64 is larger than image_size 32"),
        ({"variant": "spl_x"}, "unknown variant 'spl_x'"),
        ({"split_set": "idx_427"}, "no split set 'idx_427'"),
        ({"test_split": "tset"}, "split is 'tset'; expected train, val, test, or the path of a list"),
        ({"seed": 2**32}, "seed is 4294967296; expected a whole number below 4294967296"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_before_the_first_step(
    data: Path, tmp_path: Path, changes: dict, words: str
) -> None:
    with pytest.raises((ConfigError, DatasetError), match=words):
        run_tiny(data, tmp_path / "run", **changes)
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_weights_of_another_network_are_refused(
    finished: tuple[Path, TrainResult], data: Path, tmp_path: Path
) -> None:
    model = {**NARROW_MODEL, "width": 32}
    with pytest.raises(ConfigError, match=r"another network than spl_t: width 16 \(here 32\)"):
        run_tiny(data, tmp_path / "run", init=str(finished[1].best), model=model)
    with pytest.raises(CheckpointError):
        load_exactly(SAMSPL(ModelConfig.from_dict(model)), read_checkpoint(finished[1].best).state, "x")


def test_folder_that_the_doctor_calls_fatal_is_refused(data: Path, tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine", 12)
    (root / "masks" / "img_03.png").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"cannot be trained on: unreadable mask.*samspl data check"):
        run_tiny(data, tmp_path / "run", dataset=f"{data},{root}", normalise="frame")


@pytest.mark.parametrize("count", [1, 2])
def test_data_without_any_target_is_refused(tmp_path: Path, count: int) -> None:
    roots = [write_without_targets(tmp_path / f"empty_{k}") for k in range(count)]
    names = ",".join(map(str, roots))
    with pytest.raises(DatasetError, match=r"empty_.* cannot be trained on: no targets.*samspl data check"):
        run_tiny(roots[0], tmp_path / "run", dataset=names, normalise="frame")


def test_frames_without_targets_train_beside_frames_that_have_some(data: Path, tmp_path: Path) -> None:
    empty = write_without_targets(tmp_path / "empty")
    result = run_tiny(data, tmp_path / "run", dataset=f"{data},{empty}", normalise="frame", epochs=1)
    assert [evaluation["dataset"] for evaluation in result.evaluations] == ["mine", "empty"]
    targets = [evaluation["profiles"]["strict"]["targets"] for evaluation in result.evaluations]
    assert targets[0] > targets[1] == 0
    trained = (tmp_path / "run" / "splits" / "empty" / "train.txt").read_text().split()
    assert len(trained) > 0


def test_folder_that_cannot_be_written_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match=r"save_dir .*file.run cannot be used"):
        run_tiny(data, tmp_path / "file" / "run")


def test_test_list_is_never_read_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_images(tmp_path / "mine", 12)
    asked: list[str] = []

    def noted(name: str, path: Any, split: str, *more: Any) -> Any:
        asked.append(split)
        return open_dataset(name, path, split, *more)

    monkeypatch.setattr(training_data, "open_dataset", noted)
    monkeypatch.setattr(training_run, "open_dataset", noted)
    run_tiny(root, tmp_path / "run", epochs=1)
    assert set(asked) == {"train", "val"}


def test_defaults_are_the_published_recipe() -> None:
    config = TrainConfig(dataset="x", data_path=".", sam_weights="w", save_dir="r")
    assert (config.optimizer, config.lr, config.weight_decay) == ("adan", 1e-2, 1e-4)
    assert (config.epochs, config.batch_size, config.loss, config.seed) == (300, 12, "bce", 2727)
    assert (config.warmup_epochs, config.ema_decay, config.clip_norm, config.accumulate) == (0, 0, 0, 1)
    assert (config.freezes_trunk, config.select_on) == (True, "val")
