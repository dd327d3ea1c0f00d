"""A training run, from its configuration to a folder with weights, lists and figures."""

import dataclasses
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy
from tqdm import tqdm

from samspl import __version__
from samspl.backends import TorchBackend, resolve_device
from samspl.checkpoint import BEST_FILE, Checkpoint, build_model, read_checkpoint
from samspl.data.dataset import open_dataset
from samspl.data.loaders import EpochSampler, PairSource, make_eval_loader, make_train_loader
from samspl.data.synthetic_set import SYNTHETIC
from samspl.errors import ConfigError
from samspl.evaluation import evaluate
from samspl.imaging import write_bytes
from samspl.models.factory import load_sam_weights
from samspl.models.network import SAMSPL
from samspl.models.variants import variant_config
from samspl.models.weights import load_exactly
from samspl.preprocess import Preprocess
from samspl.train_config import TrainConfig
from samspl.training.checkpoints import (
    AtomicCheckpointIO,
    Checkpoints,
    Interrupted,
    Resume,
    check_same_run,
    find_resume,
)
from samspl.training.data import Part, check_stride, open_parts
from samspl.training.module import TrainingModule
from samspl.training.records import CONFIG_FILE, Progress, Records, checksums, describe_run, is_first_process

logger = logging.getLogger(__name__)

EVALUATION_FILE = "evaluation.json"


@dataclass(frozen=True)
class TrainResult:
    """What a run came to."""

    best: Path
    """The best weights."""
    selected_on: str
    """`val` or `test`: what the best epoch was chosen by."""
    evaluations: tuple[dict[str, Any], ...]
    """The objects of `samspl test --json`, one for each data set; none if no table was asked for."""


def train(config: TrainConfig, progress: bool = True) -> TrainResult:
    """Train a network.

    Args:
        config: The run.
        progress: Show a bar on standard error.
    Returns:
        The best weights, `best.safetensors` in the run's folder, and their scores. Of several processes only the first
        has scores.
    Raises:
        ConfigError: for settings that cannot work, or a folder that holds another run.
        DatasetError: if the data cannot be used.
        CheckpointError: if weights cannot be read, written or do not fit.
        SamsplError: if the loss stops being finite; names the images.
        KeyboardInterrupt: at Ctrl-C, after a checkpoint was written.
    """
    _quiet_lightning()
    processes = _processes(config)
    pl.seed_everything(config.seed, verbose=False)
    resume = find_resume(config)
    init = _read_init(config, resume)
    model = _build_network(config, init)
    parts, preprocess = open_parts(config, _begun_with(init, resume))
    assert preprocess.image_size is not None
    if init is not None and init.preprocess is not None and resume is None:
        _tell_change(init.preprocess, preprocess)
    # of validation and of the weights' users; patches were cut at the native scale where that is kept
    kept = dataclasses.replace(preprocess, image_size=None) if config.native_size else preprocess
    sha256 = checksums(parts)
    if resume is not None:
        check_same_run(resume, config, sha256, processes.count)
    scored = _open_scored(config, parts) if is_first_process() else []
    is_described = resume is not None and (Path(config.save_dir) / CONFIG_FILE).exists()
    if is_first_process() and not is_described:  # what began the run is not overwritten
        describe_run(config, parts)
    loader = make_train_loader(
        [part.train for part in parts],
        config.batch_size,
        config.seed,
        config.workers,
        num_replicas=processes.count,
        rank=processes.rank,
        weights=config.sampling_weights,
    )
    loader.worker_init_fn = partial(_begin_worker, loader.worker_init_fn)
    sampler = loader.sampler
    assert isinstance(sampler, EpochSampler)
    check_stride(config, model, sum(sampler.counts), preprocess.image_size)
    if resume is not None:
        sampler.resume_at(resume.epoch, resume.batches * config.batch_size)
        logger.info(
            "going on from %s at epoch %d, batch %d", resume.path, resume.epoch + 1, resume.batches + 1
        )
    if min(len(part.val) for part in parts) < processes.count:
        raise ConfigError(f"{processes.count} processes have fewer validation images between them; use fewer")
    callbacks: list[Callback] = [
        Records(config, kept, _record(config, parts), resume.epoch if resume else 0),
        Checkpoints(config, sha256, processes.count, preprocess.normalise),
    ]
    if progress:
        callbacks.append(Progress(resume.batches * config.batch_size if resume else 0))
    trainer = _trainer(config, processes, callbacks)
    val_loaders = [
        make_eval_loader(part.val, kept, num_replicas=processes.count, rank=processes.rank) for part in parts
    ]
    try:
        trainer.fit(
            TrainingModule(model, config, [part.name for part in parts]),
            loader,
            val_loaders,
            ckpt_path=resume.path if resume else None,
            weights_only=True,
        )
    except Interrupted as err:
        raise KeyboardInterrupt from err
    best = Path(config.save_dir) / BEST_FILE
    evaluations = _evaluate_best(best, config, parts, scored, kept, progress) if scored else ()
    return TrainResult(best, config.select_on, evaluations)


@dataclass(frozen=True)
class _Processes:
    """Where this process stands among those that torchrun started; alone without it."""

    rank: int
    count: int
    on_this_machine: int


def _processes(config: TrainConfig) -> _Processes:
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and config.device.startswith("cuda:"):
        raise ConfigError(
            f"device is {config.device}, but torchrun started {count} processes, each of which takes its own; "
            "leave it out"
        )
    return _Processes(int(os.environ.get("RANK", "0")), count, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _read_init(config: TrainConfig, resume: Resume | None) -> Checkpoint | None:
    """The weights to start from; of a run that goes on only asked where its checkpoint does not say what they say."""
    is_known = resume is not None and resume.normalise is not None
    return None if config.init is None or is_known else read_checkpoint(config.init)


def _begun_with(init: Checkpoint | None, resume: Resume | None) -> str | None:
    """How the weights that a run begins or goes on with normalise, if they say."""
    if resume is not None and resume.normalise is not None:
        return resume.normalise
    return init.preprocess.normalise if init is not None and init.preprocess is not None else None


def _tell_change(before: Preprocess, now: Preprocess) -> None:
    """Say where the weights to start from have seen other values than this run will show."""

    def words(one: Preprocess) -> str:
        by_set = f"mean {one.mean} and std {one.std}"
        return by_set if one.normalise == "fixed" else "each frame's own statistics"

    if words(before) != words(now):
        logger.info("weights to start from normalise by %s, this run by %s", words(before), words(now))


def _begin_worker(begin: Callable[[int], None] | None, worker: int) -> None:
    """Start a process that loads images: Ctrl-C, which all get, is for the one that trains, to stop between steps."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if begin is not None:
        begin(worker)


def _build_network(config: TrainConfig, init: Checkpoint | None) -> SAMSPL:
    model = SAMSPL(variant_config(config.variant, **config.model))
    if config.resume is None:  # else the checkpoint holds everything
        if config.sam_weights is not None:
            load_sam_weights(model.encoder.trunk, config.sam_weights)
        if init is not None:
            _check_same_network(model, init, config)
            load_exactly(model, init.state, init.source)
    if config.freezes_trunk:
        model.freeze_trunk()
    return model


def _check_same_network(model: SAMSPL, init: Checkpoint, config: TrainConfig) -> None:
    own, other = model.config.to_dict(), init.config.to_dict()
    if differing := [f"{name} {other[name]} (here {own[name]})" for name in own if own[name] != other[name]]:
        raise ConfigError(
            f"{init.source} hold another network than {config.variant}: {', '.join(differing)}; "
            "choose its --variant, or other weights"
        )


def _record(config: TrainConfig, parts: Sequence[Part]) -> dict[str, Any]:
    """How the weights came about, as it stands in their file."""
    single = parts[0] if len(parts) == 1 else None
    return {
        "samspl": __version__,
        "dataset": ",".join(part.name for part in parts),
        "split_set": single.train_split.split_set
        if single
        else {p.name: p.train_split.split_set for p in parts},
        "train_sha256": single.train_split.sha256
        if single
        else {p.name: p.train_split.sha256 for p in parts},
        "selected_on": config.select_on,
        "validation_ids": list(single.val.split.ids)
        if single
        else {p.name: list(p.val.split.ids) for p in parts},
        "seed": config.seed,
    }


def _trainer(config: TrainConfig, processes: _Processes, callbacks: list[Callback]) -> pl.Trainer:
    device = resolve_device(config.device)
    is_alone = processes.count == 1
    return pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=([device.index or 0] if device.type == "cuda" else 1)
        if is_alone
        else processes.on_this_machine,
        num_nodes=1 if is_alone else processes.count // processes.on_this_machine,
        strategy="auto" if is_alone else DDPStrategy(),
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        max_epochs=config.epochs,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip_norm or None,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        inference_mode=False,
    )


def _open_scored(config: TrainConfig, parts: Sequence[Part]) -> list[PairSource]:
    """The chosen split of every data set, for the table at the end; none if none was asked for.

    Raises:
        ConfigError: if there is no such split; raised before the run, not after it.
        DatasetError: if it cannot be used.
    """
    split = config.test_split or config.select_on
    if split == "none":
        return []
    return [
        part.val
        if split == part.val.split.name or part.asked.lower() == SYNTHETIC
        else open_dataset(part.asked, config.data_path, split, config.split_set)
        for part in parts
    ]


def _evaluate_best(
    best: Path,
    config: TrainConfig,
    parts: Sequence[Part],
    scored: Sequence[PairSource],
    preprocess: Preprocess,
    progress: bool,
) -> tuple[dict[str, Any], ...]:
    """Score the best weights on every data set, and keep the result beside them."""
    backend = TorchBackend(
        build_model(read_checkpoint(best)), "auto" if config.device == "auto" else config.device
    )
    results = []
    for part, source in zip(parts, scored, strict=True):
        own = source.split
        indices = tqdm(
            range(len(source)), f"scoring {part.name}", unit="image", file=sys.stderr, disable=not progress
        )
        result = evaluate(
            backend, (source.pair(i) for i in indices), preprocess, mask_resize=part.mask_resize
        )
        values = result.to_dict(part.name, own.name, own.split_set, own.sha256, str(best))
        results.append({**values, "selected_on": config.select_on})
    write_bytes(best.with_name(EVALUATION_FILE), json.dumps(results, indent=1).encode())
    return tuple(results)


def _quiet_lightning() -> None:
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\b.*")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|litlogger|LeafSpec).*")
