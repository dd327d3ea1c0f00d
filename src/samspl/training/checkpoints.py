"""Checkpoints to go on from: written whole or not at all, two kept, refused where they are of another run.

`last.ckpt` holds everything that the next step depends on; samples and their order are functions of seed, epoch and
index, so that no random state is needed. `previous.ckpt` is the one before, should the last be damaged.
"""

import dataclasses
import io
import logging
import os
import pickle
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from pytorch_lightning.callbacks import Callback

from samspl.checkpoint import BEST_FILE
from samspl.errors import CheckpointError, ConfigError, ImageError
from samspl.imaging import write_bytes
from samspl.train_config import TrainConfig

logger = logging.getLogger(__name__)

LAST_FILE = "last.ckpt"
PREVIOUS_FILE = "previous.ckpt"
SAME_PRESS_S = 1.0
"""Signals within this time are one press of Ctrl-C: torchrun passes on what its processes have had already."""
_KEY = "samspl"
_FREE = (
    "data_path",
    "save_dir",
    "resume",
    "device",
    "workers",
    "save_every",
    "test_split",
    "init",
    "sam_weights",
    "compile",
    "channels_last",
)
"""Fields that may change between a run and its continuation; none changes the result."""
_DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(TrainConfig)
    if field.default is not dataclasses.MISSING
}
"""What stood for a setting in checkpoints that were written before there was one."""


class Interrupted(BaseException):
    """Ctrl-C, after the checkpoint was written; no Exception, so that nothing on the way takes it for a failure."""


@dataclass(frozen=True)
class Resume:
    """A checkpoint to go on from, and where its run stood."""

    path: Path
    """The file."""
    epoch: int
    """Epoch to go on in, counted from 0."""
    batches: int
    """Batches of that epoch which are done, in each process."""
    normalise: str | None = None
    """How its frames are normalised; None in checkpoints that do not say."""
    identity: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """Settings and data that the result depends on."""


class AtomicCheckpointIO(CheckpointIO):
    """Writes a file under a temporary name and keeps the one before; reads tensors and plain values only."""

    def __init__(self) -> None:
        self._whole: set[Path] = set()  # what this process read or wrote; a damaged file replaces no good one

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write; whatever fails, a whole file is left.

        Raises:
            CheckpointError: if it cannot be written.
        """
        path = Path(path)
        data = io.BytesIO()
        torch.save(checkpoint, data)
        fresh = path.with_name(f"{path.name}.new")
        try:
            write_bytes(fresh, data.getbuffer())
            if path in self._whole:
                path.replace(path.with_name(PREVIOUS_FILE))
            fresh.replace(path)
            self._whole.add(path)
        except (OSError, ImageError) as err:
            raise CheckpointError(f"no checkpoint could be written: {err}; the one before is kept") from err

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read, as `read_last`."""
        checkpoint = read_last(Path(path))
        self._whole.add(Path(path))
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file."""
        Path(path).unlink(missing_ok=True)


def read_last(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; nothing in it is executed.

    Raises:
        CheckpointError: if it is damaged or not one of ours; names the one before, if there is one.
    """
    previous = path.with_name(PREVIOUS_FILE)
    has_other = previous.exists() and previous != path
    advice = f"go on with --resume {previous}" if has_other else "start the run anew in another folder"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # torch raises half a dozen types for damaged files
        is_pickle = isinstance(err, pickle.UnpicklingError)  # torch's own words would advise to unpickle it
        reason = (
            "not tensors and plain values" if is_pickle else str(err).partition("\n")[0] or type(err).__name__
        )
        raise CheckpointError(f"{path} is damaged or no checkpoint ({reason}); {advice}") from err
    if not isinstance(checkpoint, dict) or _KEY not in checkpoint:
        raise CheckpointError(f"{path} is no checkpoint of samspl train; {advice}")
    return checkpoint


def can_resume(folder: Path) -> bool:
    """Whether a run's folder holds a checkpoint to go on from."""
    return any((folder / name).exists() for name in (LAST_FILE, PREVIOUS_FILE))


def find_resume(config: TrainConfig) -> Resume | None:
    """The checkpoint that a run goes on from; `check_same_run` tells whether it may.

    Raises:
        ConfigError: if the file is not there, or if the folder holds a run that was not to be resumed.
        CheckpointError: if the file is damaged.
    """
    folder = Path(config.save_dir)
    last, previous = folder / LAST_FILE, folder / PREVIOUS_FILE
    if config.resume is None:
        if can_resume(folder):
            raise ConfigError(
                f"{folder} holds an earlier run; go on with --resume last, or choose another --save-dir"
            )
        if (folder / BEST_FILE).exists():
            raise ConfigError(
                f"{folder} holds {BEST_FILE} of a run that cannot be gone on with; move it, or choose another "
                "--save-dir"
            )
        return None
    path = last if config.resume == "last" else Path(config.resume)
    if path == last and not last.exists() and previous.exists():
        path = previous  # killed between two renames
    if not path.is_file():
        raise ConfigError(f"nothing to resume: {path} does not exist; leave --resume out to start")
    if path.parent.resolve() != folder.resolve() and (can_resume(folder) or (folder / BEST_FILE).exists()):
        raise ConfigError(
            f"{folder} holds another run than {path}, which would overwrite it; choose another --save-dir"
        )
    stored = read_last(path)[_KEY]
    return Resume(path, stored["epoch"], stored["batches"], stored.get("normalise"), stored["identity"])


def check_same_run(resume: Resume, config: TrainConfig, sha256: Mapping[str, str], world_size: int) -> None:
    """Refuse to go on with other settings or data.

    Args:
        resume: Where the run stood.
        config: Of its continuation.
        sha256: Checksums of its lists, by a name for each.
        world_size: Its processes.
    Raises:
        ConfigError: names every difference.
    """
    now = _identity(config, sha256, world_size)
    then = {**_DEFAULTS, **resume.identity}
    differences = [
        f"{name} {then.get(name)!r} (now {now.get(name)!r})"
        for name in sorted((then.keys() | now.keys()) - set(_FREE))
        if then.get(name) != now.get(name)
    ]
    if differences:
        raise ConfigError(
            f"{resume.path} is of another run, with {', '.join(differences)}; go on with the same settings and data, "
            f"as in {resume.path.with_name('config.yaml')}"
        )


def _identity(config: TrainConfig, sha256: Mapping[str, str], world_size: int) -> dict[str, Any]:
    values = {name: value for name, value in config.to_dict().items() if name not in _FREE}
    values["freeze_trunk"] = config.freezes_trunk
    return {**values, **{f"checksum of {name}": sha for name, sha in sha256.items()}, "processes": world_size}


class Checkpoints(Callback):
    """Writes `last.ckpt` every so many steps, at every epoch's end, and at Ctrl-C.

    Args:
        config: The run.
        sha256: Checksums of its lists.
        world_size: Its processes.
        normalise: How its frames are normalised.
    """

    def __init__(
        self, config: TrainConfig, sha256: Mapping[str, str], world_size: int, normalise: str
    ) -> None:
        self.path = Path(config.save_dir) / LAST_FILE
        self.save_every = config.save_every
        self.identity = _identity(config, sha256, world_size)
        self.normalise = normalise
        self._position = (0, 0)
        self._is_asked_to_stop = False
        self._asked_at = 0.0
        self._handler_before: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take Ctrl-C over: Lightning would stop anywhere, half a step done."""
        try:
            self._handler_before = signal.signal(signal.SIGINT, self._on_ctrl_c)
        except ValueError:  # not in the main thread, where signals do not arrive either
            logger.debug("Ctrl-C is not handled outside the main thread")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save between two steps; the epoch's last one is left to its end."""
        done = batch_idx + 1
        if done == trainer.num_training_batches or done % trainer.accumulate_grad_batches:
            return  # gradients that wait for more are in no checkpoint
        stops = self._all_agree_to_stop(trainer)
        if stops or trainer.global_step % self.save_every == 0:
            self._save(trainer, trainer.current_epoch, done)
        if stops:
            raise Interrupted

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after validation."""
        self._save(trainer, trainer.current_epoch + 1, 0)
        if self._all_agree_to_stop(trainer):
            raise Interrupted

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give Ctrl-C back."""
        self._give_back()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give Ctrl-C back."""
        self._give_back()

    def _give_back(self) -> None:
        if self._handler_before is not None:
            signal.signal(signal.SIGINT, self._handler_before)
            self._handler_before = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say whose checkpoint it is and where the run stands."""
        epoch, batches = self._position
        checkpoint[_KEY] = {
            "identity": self.identity,
            "epoch": epoch,
            "batches": batches,
            "normalise": self.normalise,
        }

    def _save(self, trainer: pl.Trainer, epoch: int, batches: int) -> None:
        self._position = (epoch, batches)
        trainer.save_checkpoint(self.path)

    def _on_ctrl_c(self, number: int, frame: FrameType | None) -> None:
        if self._is_asked_to_stop:
            if time.monotonic() > self._asked_at + SAME_PRESS_S:
                raise Interrupted
            return
        self._is_asked_to_stop, self._asked_at = True, time.monotonic()
        if int(os.environ.get("RANK", "0")) == 0:
            logger.warning("stopping after this step (in validation: after it); Ctrl-C again stops at once")

    def _all_agree_to_stop(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return self._is_asked_to_stop
        return trainer.strategy.reduce_boolean_decision(self._is_asked_to_stop, all=False)
