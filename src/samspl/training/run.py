"""A training run, from its configuration to a folder with weights, lists and figures."""

import csv
import dataclasses
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from samspl import __version__
from samspl.backends import resolve_device
from samspl.checkpoint import BEST_FILE, Checkpoint, read_checkpoint, write_checkpoint
from samspl.config import TrainConfig
from samspl.data.dataset import InfraredDataset, open_dataset
from samspl.data.loaders import TrainSet, make_eval_loader, make_train_loader
from samspl.data.splits import VAL_FRACTION, VAL_SEED, hold_out
from samspl.errors import ConfigError, DatasetError
from samspl.models.factory import load_sam_weights
from samspl.models.network import SAMSPL
from samspl.models.variants import variant_config
from samspl.models.weights import load_exactly
from samspl.preprocess import Preprocess
from samspl.training.module import FIGURES, TrainingModule

logger = logging.getLogger(__name__)

LAST_FILE = "last.ckpt"


def train(config: TrainConfig, progress: bool = True) -> Path:
    """Train a network.

    The best epoch is chosen by IoU (profile `strict`) on a tenth of the train list; the test list is never read.

    Args:
        config: The run.
        progress: Show a bar on standard error.
    Returns:
        The best weights, `best.safetensors` in the run's folder, beside `last.ckpt`, `config.yaml`, `metrics.csv` and
        `splits/`.
    Raises:
        ConfigError: for settings that cannot work, or a folder that holds another run.
        DatasetError: if the data cannot be used.
        CheckpointError: if weights cannot be read or do not fit.
        SamsplError: if the loss stops being finite; names the images.
    """
    _quiet_lightning()
    pl.seed_everything(config.seed, verbose=False)
    folder = Path(config.save_dir)
    resume = _resume_file(config, folder)
    train_part, val_part = _open_parts(config)
    preprocess = train_part.spec.preprocess(config.image_size)
    train_set = TrainSet(train_part, preprocess, config.seed)
    if len(train_set) < config.batch_size:
        raise DatasetError(
            f"{len(train_set)} training images make no batch of {config.batch_size}; lower --batch-size"
        )
    module = TrainingModule(_build_network(config), config)
    record = {
        "samspl": __version__,
        "dataset": train_part.spec.name,
        "split_set": train_part.split.split_set,
        "train_sha256": train_part.split.sha256,
        "validation_ids": list(val_part.ids),
        "seed": config.seed,
    }
    _describe_run(folder, config, train_part, val_part)
    trainer = _trainer(config, folder, progress, _KeepBest(folder / BEST_FILE, preprocess, record))
    trainer.fit(
        module,
        make_train_loader([train_set], config.batch_size, config.seed, config.workers),
        make_eval_loader(val_part, preprocess),
        ckpt_path=resume,
        weights_only=True,
    )
    if trainer.interrupted:
        raise KeyboardInterrupt
    return folder / BEST_FILE


class _KeepBest(Callback):
    """Writes the best weights so far, and a row of figures an epoch."""

    def __init__(self, path: Path, preprocess: Preprocess, record: dict[str, Any]) -> None:
        self.path = path
        self.preprocess = preprocess
        self.record = record
        self.best_iou = -1.0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        figures = {name: float(trainer.callback_metrics[f"val_{name}"]) for name in FIGURES}
        if figures["iou"] <= self.best_iou:
            return
        self.best_iou = figures["iou"]
        model: SAMSPL = pl_module.model  # type: ignore[assignment]
        record = {**self.record, "epoch": trainer.current_epoch + 1, "validation": figures}
        write_checkpoint(
            self.path, Checkpoint(model.config, model.state_dict(), self.preprocess, record=record)
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": trainer.current_epoch + 1,
            "loss": float(trainer.callback_metrics["loss"]),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            **{f"val_{name}": float(trainer.callback_metrics[f"val_{name}"]) for name in FIGURES},
        }
        table = self.path.with_name("metrics.csv")
        is_new = not table.exists()
        with table.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)

    def state_dict(self) -> dict[str, Any]:
        return {"best_iou": self.best_iou}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_iou = state_dict["best_iou"]


def _resume_file(config: TrainConfig, folder: Path) -> Path | None:
    last = folder / LAST_FILE
    if config.resume is None:
        if last.exists() or (folder / BEST_FILE).exists():
            raise ConfigError(
                f"{folder} holds an earlier run; go on with --resume last, or choose another --save-dir"
            )
        return None
    path = last if config.resume == "last" else Path(config.resume)
    if not path.is_file():
        raise ConfigError(f"nothing to resume: {path} does not exist")
    return path


def _open_parts(config: TrainConfig) -> tuple[InfraredDataset, InfraredDataset]:
    """The train list without its validation part, and that part."""
    whole = open_dataset(config.dataset, config.data_path, "train", config.split_set)
    if len(whole) < 2:
        raise DatasetError(f"{whole.split.path} lists {len(whole)} images; training needs at least 2")
    kept, aside = hold_out(whole.ids, VAL_FRACTION, VAL_SEED)
    return tuple(  # type: ignore[return-value]
        InfraredDataset(whole.spec, whole.root, dataclasses.replace(whole.split, name=name, ids=ids))
        for name, ids in (("train", kept), ("val", aside))
    )


def _build_network(config: TrainConfig) -> SAMSPL:
    model = SAMSPL(variant_config(config.variant, **config.model))
    if config.sam_weights is not None:
        load_sam_weights(model.encoder.trunk, config.sam_weights)
    if config.init is not None:
        start = read_checkpoint(config.init)
        load_exactly(model, start.state, start.source)
    if config.freezes_trunk:
        model.freeze_trunk()
    return model.to(memory_format=torch.channels_last) if config.channels_last else model  # type: ignore[call-overload]


def _describe_run(folder: Path, config: TrainConfig, *parts: InfraredDataset) -> None:
    try:
        (folder / "splits").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))
        for part in parts:
            (folder / "splits" / f"{part.split.name}.txt").write_text("".join(f"{i}\n" for i in part.ids))
        (folder / "splits" / "sha256.json").write_text(
            json.dumps({part.split.name: part.split.sha256 for part in parts}, indent=1)
        )
    except OSError as err:
        raise ConfigError(f"{folder} cannot be written ({err.strerror or err}); choose another --save-dir") from err


def _trainer(config: TrainConfig, folder: Path, progress: bool, keep_best: Callback) -> pl.Trainer:
    device = resolve_device(config.device)
    last = ModelCheckpoint(folder, LAST_FILE.removesuffix(".ckpt"), enable_version_counter=False, save_on_train_epoch_end=True)
    callbacks: list[Callback] = [keep_best, last]
    if progress:
        callbacks.append(TQDMProgressBar(leave=True))
    return pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        max_epochs=config.epochs,
        callbacks=callbacks,
        logger=TensorBoardLogger(folder, name="", version=""),
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
        inference_mode=False,
    )


def _quiet_lightning() -> None:
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\b.*")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|litlogger|LeafSpec).*")
