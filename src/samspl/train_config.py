"""Configuration of a training run: a frozen dataclass that refuses what contradicts, without torch.

The defaults are the recipe of the SAM-SPL paper (IEEE TGRS 2025); the network's own fields are in `samspl.config`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from samspl.config import nearest_name, to_plain
from samspl.errors import ConfigError

LOSS_NAMES = ("bce", "soft_iou", "pooled_iou", "dice", "sls")
"""Losses of `TrainConfig`; `samspl.losses` has a function for each."""
PUBLISHED_LOSS_WEIGHTS = (1.0, 1.0, 1.0)
"""Of the network's three maps, finest first."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run; the defaults are the published recipe."""

    dataset: str
    """Known name, YAML specification, folder, or `synthetic` for scenes drawn on the fly; several with commas."""
    data_path: str
    """Folder that holds one folder for each data set, or the data set's folder itself."""
    sam_weights: str | None
    """SAM 2 checkpoint for the trunk: path, fetched name, or None for a random trunk."""
    save_dir: str
    """Folder of the run."""
    variant: str = "spl_t"
    """Network."""
    init: str | None = None
    """SAM-SPL weights to start from."""
    image_size: int | None = None
    """Side of the square that images are brought to in pixels, a multiple of 32; None takes the data set's."""
    normalise: str | None = None
    """`fixed` (the data set's mean and std) or `frame` (each frame's own); None: `frame` for several data sets or
    if the weights to start from do so, else `fixed`."""
    sampling_weights: tuple[float, ...] = ()
    """Share of each data set in an epoch, relative to the others; empty: every image once."""
    synthetic_count: int = 2000
    """Scenes of an epoch of the data set `synthetic`."""
    synthetic_empty: float = 0.1
    """Share of these scenes that hold no target, 0..1."""
    patch_size: int | None = None
    """Side of patches cut from the augmented images in pixels, a multiple of 32; None trains on whole images."""
    patch_positive: float = 0.5
    """Share of patches that are laid around a target, 0..1; the others lie anywhere."""
    augmentation: str = "published"
    """`published` (the data set's own), or `broad`: patches of many scales, with other sensors' gain and noise."""
    variation: tuple[float, ...] = (1.0,)
    """How often `broad` scales, pastes, blurs and disturbs, as a share of its usual probabilities, 0..1: one number, or
    one for each data set. Little lets a network learn outlines that every such change would move."""
    keep_orientation: tuple[str, ...] = ()
    """Data sets, named as in `dataset`, that `broad` does not flip: those whose masks do not lie on their targets
    evenly (see docs/nano.md)."""
    crops: str | None = None
    """Folder with Target_image/ and Target_mask/, whose targets `broad` lays into training images."""
    native_size: bool = False
    """Validate and detect at the images' own size; `image_size` is then that of training samples alone."""
    batch_size: int = 12
    """Images of a step, in each process."""
    accumulate: int = 1
    """Batches whose gradients are averaged into one step."""
    loss: str = "bce"
    """`bce`, `soft_iou`, `pooled_iou`, `dice` or `sls`, on each of the three maps; or a sum, as `bce+dice`."""
    loss_weights: tuple[float, ...] = PUBLISHED_LOSS_WEIGHTS
    """Of the maps of full, half and quarter resolution; published: 1 each."""
    optimizer: str = "adan"
    """`adan`, `adamw` or `muon`."""
    lr: float = 1e-2
    """Learning rate at the start; falls on a cosine to 1e-6."""
    weight_decay: float = 1e-4
    """In Adan's proximal form; decoupled in AdamW and Muon."""
    warmup_epochs: int = 0
    """Epochs over which the learning rate rises linearly to `lr`, before the cosine."""
    epochs: int = 300
    """Passes over the training images."""
    clip_norm: float = 0.0
    """Largest norm of all gradients together; 0 does not clip."""
    ema_decay: float = 0.0
    """Of the running mean of weights that is validated and kept, such as 0.999; 0 keeps the weights themselves."""
    seed: int = 2727
    """Of weights, order and augmentation."""
    precision: str = "fp32"
    """`fp32`, or `bf16` for mixed precision."""
    channels_last: bool = False
    """Accepted for published command lines: weights and maps lie channels-last in any case."""
    compile: bool = False
    """Compile the network with torch.compile."""
    freeze_trunk: bool | None = None
    """Keep the SAM trunk fixed; None: if SAM weights are given."""
    split_set: str | None = None
    """Which split lists; None takes the data set's default."""
    select_on: str = "val"
    """`val`: the best epoch is chosen on a part set aside from train; `test`: as published, on the test list."""
    test_split: str | None = None
    """What the table at the end is made on: `val`, `test`, `train`, a list file, or `none`; None: `select_on`."""
    save_every: int = 200
    """Steps between the checkpoints within an epoch; one is written at every epoch's end, too."""
    resume: str | None = None
    """`last`, or the `.ckpt` file to go on from."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda:N` or `mps`."""
    workers: int = 0
    """Processes that load images; 0 loads in the training process."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `ModelConfig` that differ from the variant's."""

    def __post_init__(self) -> None:
        for name in ("sampling_weights", "loss_weights", "variation"):
            object.__setattr__(self, name, tuple(float(number) for number in getattr(self, name)))
        object.__setattr__(self, "keep_orientation", tuple(self.keep_orientation))
        is_finite = all(math.isfinite(weight) and weight >= 0 for weight in self.loss_weights)
        if len(self.loss_weights) != 3 or not is_finite or not self.loss_weights[0]:
            raise ConfigError(
                f"loss_weights is {list(self.loss_weights)}; expected three numbers, the first above 0, as 1,0.5,0.25"
            )
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"lr is {self.lr}; expected a positive number, such as 0.01")
        for name in ("batch_size", "epochs", "accumulate", "save_every", "synthetic_count"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("workers", "weight_decay", "seed", "warmup_epochs", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.seed >= 2**32:
            raise ConfigError(f"seed is {self.seed}; expected a whole number below {2**32}")
        for name in ("image_size", "patch_size"):
            side = getattr(self, name)
            if side is not None and (side < 32 or side % 32):
                raise ConfigError(f"{name} is {side}; training needs a positive multiple of 32")
        for name, known in (
            ("precision", ("fp32", "bf16")),
            ("optimizer", ("adan", "adamw", "muon")),
            ("select_on", ("val", "test")),
            ("normalise", (None, "fixed", "frame")),
            ("augmentation", ("published", "broad")),
        ):
            if getattr(self, name) not in known:
                words = [word for word in known if word is not None]
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}; {nearest_name(str(getattr(self, name)), words)}"
                )
        for name in self.loss.split("+"):
            if name not in LOSS_NAMES:
                raise ConfigError(
                    f"loss is {self.loss!r}; {nearest_name(name, list(LOSS_NAMES))}, or a sum such as bce+dice"
                )
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is {self.ema_decay}; expected 0 (none) to below 1, such as 0.999")
        for name in ("patch_positive", "synthetic_empty"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a share between 0 and 1")
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"warmup_epochs {self.warmup_epochs} leaves nothing of epochs {self.epochs}; lower it"
            )
        if self.patch_size and self.image_size and self.patch_size > self.image_size:
            raise ConfigError(
                f"patch_size {self.patch_size} is larger than image_size {self.image_size}; lower it"
            )
        if not all(self.datasets) or len({name.lower() for name in self.datasets}) < len(self.datasets):
            raise ConfigError(
                f"dataset is {self.dataset!r}; expected one name, or different names with commas"
            )
        if self.augmentation == "broad" and (self.patch_size is None or self.normalise == "fixed"):
            raise ConfigError(
                "augmentation broad cuts patches of frames normalised by their own statistics; it needs patch_size, "
                "and normalise frame"
            )
        if self.augmentation != "broad":
            for name, default in (("variation", (1.0,)), ("keep_orientation", ()), ("crops", None)):
                if (value := getattr(self, name)) != default:
                    came = value if isinstance(value, str) else ", ".join(map(str, value))
                    raise ConfigError(
                        f"{name} is {came}, which only augmentation broad heeds; set augmentation to broad, too"
                    )
        if self.sampling_weights and len(self.sampling_weights) != len(self.datasets):
            raise ConfigError(
                f"sampling_weights has {len(self.sampling_weights)} values, dataset {len(self.datasets)} names; "
                "expected one for each"
            )
        if len(self.variation) not in (1, len(self.datasets)) or not all(0 <= v <= 1 for v in self.variation):
            raise ConfigError(
                f"variation is {list(self.variation)}; expected a share between 0 and 1, or one for each of the "
                f"{len(self.datasets)} data sets"
            )
        for name in self.keep_orientation:
            if name not in self.datasets:
                raise ConfigError(
                    f"keep_orientation names {name!r}, which is not in dataset; "
                    f"{nearest_name(name, list(self.datasets))}"
                )
        if not all(math.isfinite(weight) and weight > 0 for weight in self.sampling_weights):
            raise ConfigError(
                f"sampling_weights is {list(self.sampling_weights)}; every share must be positive"
            )

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names in `dataset`."""
        return tuple(name.strip() for name in self.dataset.split(","))

    def variation_of(self, name: str) -> float:
        """`variation` of a data set, named as in `dataset`."""
        return self.variation[self.datasets.index(name) if len(self.variation) > 1 else 0]

    @property
    def freezes_trunk(self) -> bool:
        """Whether the trunk stays fixed."""
        return self.sam_weights is not None if self.freeze_trunk is None else self.freeze_trunk

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML and `samspl train --config`."""
        return {**to_plain(self), "sam_weights": self.sam_weights or "none", "model": dict(self.model)}
