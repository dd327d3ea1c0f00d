"""What a run leaves behind and shows: its description, figures of every epoch, pictures, the best weights, progress."""

import csv
import io
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image
from pytorch_lightning.callbacks import Callback
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from samspl import __version__
from samspl.checkpoint import BEST_FILE, Checkpoint, write_checkpoint
from samspl.draw import draw_comparison
from samspl.errors import CheckpointError, ConfigError, ImageError
from samspl.imaging import write_bytes
from samspl.preprocess import Preprocess
from samspl.train_config import TrainConfig
from samspl.training.data import Part
from samspl.training.module import FIGURES, Shown, TrainingModule

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
TABLE_FILE = "metrics.csv"
BLANK_EPOCHS = 5
"""Epochs in a row without any predicted foreground after which a run is called collapsed."""
_PACKAGES = ("torch", "pytorch-lightning", "pytorch-optimizer", "numpy", "scipy", "pillow", "torchmetrics")
_SHOWN_HEIGHT_PX = 400
_SHOWN_EVERY = 8
"""Validation images between two words of the bar."""


def is_first_process() -> bool:
    """Whether this process writes and prints; of several, under torchrun, one does."""
    return int(os.environ.get("RANK", "0")) == 0


def checksums(parts: Sequence[Part]) -> dict[str, str]:
    """Checksum of every list of a run."""
    return {
        f"{part.name}/{split.name}": split.sha256
        for part in parts
        for split in (part.train_split, part.val.split)
    }


def describe_run(config: TrainConfig, parts: Sequence[Part]) -> None:
    """Write what is needed to repeat a run: `config.yaml`, `environment.json` and `splits/`.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    folder = Path(config.save_dir)
    files = {
        CONFIG_FILE: yaml.safe_dump({**config.to_dict(), "resume": None}, sort_keys=False),
        "environment.json": json.dumps(_environment(), indent=1),
        "splits/sha256.json": json.dumps(checksums(parts), indent=1),
    }
    for part in parts:
        for split in (part.train_split, part.val.split):
            files[f"splits/{part.name}/{split.name}.txt"] = "".join(f"{i}\n" for i in split.ids)
    try:
        for name, text in files.items():
            write_bytes(folder / name, text.encode())
    except ImageError as err:
        raise ConfigError(f"save_dir {folder} cannot be used: {err}") from err


def _environment() -> dict[str, Any]:
    here = Path(__file__).parent
    return {
        "samspl": __version__,
        "git": {"commit": _git(here, "rev-parse", "HEAD"), "changed": _git(here, "status", "--porcelain")},
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "cuda": torch.version.cuda,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class Records(Callback):
    """Best weights, `metrics.csv` and TensorBoard, an entry an epoch.

    The rows are kept in the checkpoint and the table is written as a whole, so that a run that was killed has every
    epoch once.

    Args:
        config: The run.
        preprocess: Goes into the weights file.
        record: How the weights came about; epoch and figures are added.
        first_epoch: Where the run begins or goes on; later entries of TensorBoard are void.
    """

    def __init__(
        self, config: TrainConfig, preprocess: Preprocess, record: dict[str, Any], first_epoch: int
    ) -> None:
        self.folder = Path(config.save_dir)
        self.preprocess = preprocess
        self.record = record
        self.first_epoch = first_epoch
        self.best_iou = -1.0
        self.rows: list[dict[str, Any]] = []
        self.blank_epochs = 0
        self._lr = config.lr
        self._board: SummaryWriter | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open TensorBoard."""
        if trainer.is_global_zero:
            self._board = SummaryWriter(str(self.folder), purge_step=self.first_epoch + 1)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate before the schedule moves on."""
        self._lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add this epoch."""
        assert isinstance(pl_module, TrainingModule)
        loss = pl_module.mean_loss()
        if not trainer.is_global_zero:
            return
        epoch, figures = trainer.current_epoch + 1, pl_module.mean_figures
        row: dict[str, Any] = {"epoch": epoch, "loss": loss, "lr": self._lr}
        row |= {f"val_{name}": figures[name] for name in FIGURES}
        if len(pl_module.names) > 1:
            row |= {
                f"val_{f}_{name}": pl_module.figures[name][f] for name in pl_module.names for f in FIGURES
            }
        self.rows.append(row)
        self._write_table()
        self._write_board(row, pl_module.shown)
        if figures["iou"] > self.best_iou:
            self.best_iou = figures["iou"]
            self._write_best(pl_module, epoch)
        self.blank_epochs = self.blank_epochs + 1 if pl_module.is_blank else 0
        if self.blank_epochs and self.blank_epochs % BLANK_EPOCHS == 0:
            logger.warning(
                "no validation image had any predicted target in the last %d epochs: the run may have collapsed to "
                "background; lower --lr, or try --loss bce+dice or --patch-size",
                self.blank_epochs,
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close TensorBoard."""
        if self._board is not None:
            self._board.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close TensorBoard."""
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Best score and rows so far."""
        return {"best_iou": self.best_iou, "rows": self.rows, "blank_epochs": self.blank_epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self.best_iou = state_dict["best_iou"]
        if not (self.folder / BEST_FILE).exists():  # gone on with in another folder
            self.best_iou = -1.0
            logger.warning("%s holds no %s; the best of the epochs to come is kept", self.folder, BEST_FILE)
        self.rows = list(state_dict["rows"])
        self.blank_epochs = state_dict["blank_epochs"]

    def _write_best(self, module: TrainingModule, epoch: int) -> None:
        model = module.evaluated
        record = {**self.record, "epoch": epoch, "validation": module.mean_figures}
        if len(module.names) > 1:
            record["validation_by_dataset"] = module.figures
        write_checkpoint(
            self.folder / BEST_FILE,
            Checkpoint(model.config, model.state_dict(), self.preprocess, record=record),
        )

    def _write_table(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.rows[0])
        writer.writeheader()
        writer.writerows(self.rows)
        try:
            write_bytes(self.folder / TABLE_FILE, text.getvalue().encode())
        except ImageError as err:
            raise CheckpointError(str(err)) from err

    def _write_board(self, row: dict[str, Any], shown: Sequence[Shown]) -> None:
        if self._board is None:
            return
        for name, value in row.items():
            if name != "epoch":
                self._board.add_scalar(name.replace("val_", "val/", 1), value, row["epoch"])
        if shown:
            self._board.add_image("val/images", side_by_side(shown), row["epoch"], dataformats="HWC")
        self._board.flush()


def side_by_side(shown: Sequence[Shown]) -> np.ndarray:
    """Hits, misses and false alarms of some images next to each other, (H, W, 3) uint8."""
    pictures = [draw_comparison(one.image, one.pred_mask, one.gt_mask) for one in shown]
    resized = [
        picture.resize(
            (max(1, picture.width * _SHOWN_HEIGHT_PX // picture.height), _SHOWN_HEIGHT_PX),
            Image.Resampling.BOX,
        )
        for picture in pictures
    ]
    return np.concatenate([np.asarray(picture) for picture in resized], axis=1)


class Progress(Callback):
    """A bar over the whole run on standard error: images a second, time left, loss and IoU.

    Args:
        done: Images of the first epoch that each process has had before.
    """

    def __init__(self, done: int = 0) -> None:
        self.done = done
        self._bar: tqdm | None = None
        self._validated = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar where the run stands."""
        loader: Any = trainer.train_dataloader
        self._an_epoch = len(loader.sampler) * trainer.world_size
        assert trainer.max_epochs is not None
        if trainer.is_global_zero:
            self._bar = tqdm(
                total=trainer.max_epochs * self._an_epoch,
                initial=trainer.current_epoch * self._an_epoch + self.done * trainer.world_size,
                unit="image",
                file=sys.stderr,
                smoothing=0.05,
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self._bar is None:
            return
        assert isinstance(pl_module, TrainingModule)
        shown = {"epoch": trainer.current_epoch + 1, "loss": f"{pl_module.last_loss:.4g}"}
        if pl_module.figures:
            shown["IoU"] = f"{100 * pl_module.mean_figures['iou']:.2f} %"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(len(batch.ids) * trainer.world_size)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from 0."""
        self._validated = 0

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Say how far validation is, while the bar stands."""
        self._validated += 1
        if self._bar is not None and self._validated % _SHOWN_EVERY == 0:
            self._bar.set_postfix_str(f"validating {self._validated} of {sum(trainer.num_val_batches)}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar."""
        self.on_train_end(trainer, pl_module)
