"""Configuration of the network: frozen dataclasses, to and from plain dictionaries, without torch.

Follows the variants of the SAM-SPL paper (IEEE TGRS 2025) and of SAM 2's Hiera trunk (Apache-2.0).
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from samspl.errors import ConfigError

LOSS_NAMES = ("bce", "soft_iou", "dice", "sls")
"""Losses of `TrainConfig`; `samspl.losses` has a function for each."""
PUBLISHED_LOSS_WEIGHTS = (1.0, 1.0, 1.0)
"""Of the network's three maps, finest first."""


def nearest_name(name: str, known: list[str]) -> str:
    """Words for an error message: the known names, the most similar one first mentioned.

    Args:
        name: What came.
        known: What would have been accepted.
    Returns:
        ``did you mean 'x'? known: a, b, x`` or, without a similar one, ``known: a, b, x``.
    """
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known))}"


@dataclass(frozen=True)
class TrunkConfig:
    """A SAM 2 Hiera trunk."""

    embed_dim: int
    """Channels of the first stage; doubled at every later stage."""
    num_heads: int
    """Attention heads of the first stage; doubled at every later stage."""
    stages: tuple[int, ...]
    """Blocks of each stage."""
    global_blocks: tuple[int, ...]
    """Indices of the blocks that attend over the whole map instead of windows."""
    window_sizes: tuple[int, ...]
    """Side of the attention windows of each stage, in tokens."""
    pos_embed_size: tuple[int, int] = (7, 7)
    """Height and width of the background position embedding, before it is resized to the map."""

    def __post_init__(self) -> None:
        _as_tuples(self, "stages", "global_blocks", "window_sizes", "pos_embed_size")
        _check_counts(self, "embed_dim", "num_heads")
        if self.embed_dim % self.num_heads:
            raise ConfigError(f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}")
        if not 1 <= len(self.stages) <= 4 or min(self.stages) < 1:
            raise ConfigError(f"stages is {self.stages}; expected one to four stages of at least one block")
        if len(self.window_sizes) != len(self.stages):
            raise ConfigError(
                f"window_sizes {self.window_sizes} and stages {self.stages} must have the same length"
            )
        if min(self.window_sizes) < 1:
            raise ConfigError(f"window_sizes is {self.window_sizes}; every window needs at least one token")
        if 8 % self.window_sizes[0]:  # the window embedding tiles a map whose sides are multiples of 8
            raise ConfigError(f"window_sizes[0] is {self.window_sizes[0]}; expected 1, 2, 4 or 8")
        for i, window in enumerate(self.window_sizes[:-1]):
            if window % 2:  # the first block of the next stage pools these windows 2 x 2
                raise ConfigError(f"window_sizes[{i}] is {window}; all but the last must be even")
        if outside := [i for i in self.global_blocks if not 0 <= i < sum(self.stages)]:
            raise ConfigError(
                f"global_blocks {outside} lie outside the {sum(self.stages)} blocks of stages "
                "(change both together)"
            )
        if len(self.pos_embed_size) != 2 or min(self.pos_embed_size) < 1:
            raise ConfigError(
                f"pos_embed_size is {self.pos_embed_size}; expected height and width, at least 1"
            )


@dataclass(frozen=True)
class ModelConfig:
    """A SAM-SPL network; the first six fields describe its trunk as in `TrunkConfig`."""

    embed_dim: int = 96
    """Channels C of the trunk's first stage; the CNN stem has C/4, C/2 and C."""
    num_heads: int = 1
    """Attention heads of the trunk's first stage."""
    stages: tuple[int, ...] = (1, 2, 7)
    """Blocks of each trunk stage in use; two to four stages, all but the first with at least two blocks."""
    global_blocks: tuple[int, ...] = (5, 7, 9)
    """Indices of the trunk blocks that attend over the whole map."""
    window_sizes: tuple[int, ...] = (8, 4, 14)
    """Side of the attention windows of each stage, in tokens."""
    pos_embed_size: tuple[int, int] = (7, 7)
    """Height and width of the trunk's background position embedding."""
    width: int = 256
    """Channels of prompt embedding, output token and two-way transformer."""
    mlp_width: int = 2048
    """Hidden width of the two-way transformer's MLP."""
    use_sam_decoder: bool = True
    """False builds the ablation without self-prompt decoder."""
    attention_floor: int = 1
    """Least hidden width of the residual blocks' channel attention (otherwise channels / 4)."""
    squeeze_floor: int = 1
    """Least hidden width of the skip connections' squeeze-excite (otherwise channels / 16)."""
    stem_channels: tuple[int, int] | None = None
    """Channels of the CNN stem at strides 1 and 2; None: C/4 and C/2. At stride 4 it has C, as the trunk it meets."""
    stem_blocks: tuple[int, int, int] = (2, 2, 2)
    """Residual blocks of the CNN stem at strides 1, 2 and 4."""
    light_levels: int = 0
    """Levels of the stem, from full resolution, that have the light form: residual blocks without attention maps, skip
    connections of one convolution without squeeze-excite."""
    consultation_kernel: int = 7
    """Side of the consultation generators' strided convolution."""
    fusion_floor: int = 1
    """Least channels of the fused maps (otherwise half of the skip's)."""

    def __post_init__(self) -> None:
        _as_tuples(self, "stages", "global_blocks", "window_sizes", "pos_embed_size")
        _check_counts(self, "width", "mlp_width", "attention_floor", "squeeze_floor", "fusion_floor")
        self._check_stem()
        if not isinstance(self.use_sam_decoder, bool):
            raise ConfigError(f"use_sam_decoder is {self.use_sam_decoder!r}; expected true or false")
        _ = self.trunk  # checks its fields
        if self.embed_dim % 4:
            raise ConfigError(f"embed_dim is {self.embed_dim}; the CNN stem needs a multiple of 4")
        if len(self.stages) < 2:
            raise ConfigError(f"stages is {self.stages}; the network needs at least two")
        for i, blocks in enumerate(self.stages[1:], start=1):
            if blocks < 2:
                raise ConfigError(
                    f"stages[{i}] is {blocks}; a stage after the first needs at least two blocks "
                    "(its first pools, its last is guided)"
                )
        if self.width < 16 or self.width % 16:
            raise ConfigError(f"width is {self.width}; 8 heads at half width need a multiple of 16")

    def _check_stem(self) -> None:
        if self.stem_channels is not None:
            _as_tuples(self, "stem_channels")
            if (
                len(self.stem_channels) != 2
                or min(self.stem_channels) < 2
                or any(c % 2 for c in self.stem_channels)
            ):
                raise ConfigError(
                    f"stem_channels is {self.stem_channels}; expected two even numbers, or none"
                )
        _as_tuples(self, "stem_blocks")
        if len(self.stem_blocks) != 3 or min(self.stem_blocks) < 1:
            raise ConfigError(f"stem_blocks is {self.stem_blocks}; expected three numbers, at least 1")
        if self.light_levels not in (0, 1, 2, 3):
            raise ConfigError(
                f"light_levels is {self.light_levels!r}; expected 0 to 3, the levels of the stem"
            )
        if self.consultation_kernel not in (3, 5, 7):
            raise ConfigError(f"consultation_kernel is {self.consultation_kernel!r}; expected 3, 5 or 7")

    @property
    def stem(self) -> tuple[int, int, int]:
        """Channels of the CNN stem at strides 1, 2 and 4."""
        first, second = self.stem_channels or (self.embed_dim // 4, self.embed_dim // 2)
        return first, second, self.embed_dim

    @property
    def trunk(self) -> TrunkConfig:
        """The trunk's part of this configuration."""
        return TrunkConfig(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(TrunkConfig)}
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or YAML."""
        return to_plain(self)

    def with_fields(self, values: Mapping[str, Any]) -> "ModelConfig":
        """The same but for some fields.

        Raises:
            ConfigError: for an unknown field (the nearest known one is named) or contradictory values.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in values:
            if name not in known:
                raise ConfigError(f"unknown model field {name!r}; {nearest_name(name, known)}")
        return dataclasses.replace(self, **values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Build from plain values; fields that are left out are those of `spl_t`.

        Raises:
            ConfigError: for an unknown field (the nearest known one is named) or contradictory values.
        """
        return cls().with_fields(values)


def to_plain(config: Any) -> dict[str, Any]:
    """A dataclass as a dictionary of JSON values; tuples become lists."""
    return {
        field.name: list(value) if isinstance(value := getattr(config, field.name), tuple) else value
        for field in dataclasses.fields(config)
    }


def _check_counts(config: Any, *fields: str) -> None:
    for name in fields:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number, at least 1")


def _as_tuples(config: Any, *fields: str) -> None:
    for name in fields:
        value = getattr(config, name)
        if name == "pos_embed_size" and isinstance(value, int):
            value = (value, value)
        if not isinstance(value, list | tuple) or not all(isinstance(item, int) for item in value):
            raise ConfigError(f"{name} is {value!r}; expected a list of whole numbers")
        object.__setattr__(config, name, tuple(value))


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
    variation: float = 1.0
    """How often `broad` scales, pastes, blurs and disturbs, as a share of its usual probabilities, 0..1. Little lets a
    network learn outlines that every such change would move."""
    keep_orientation: bool = False
    """Leave the flips of `broad` out: for masks that do not lie on their targets evenly (see docs/nano.md). Drawn
    scenes, whose masks do, are flipped all the same."""
    crops: str | None = None
    """Folder with Target_image/ and Target_mask/, whose targets `broad` lays into training images."""
    native_size: bool = False
    """Validate and detect at the images' own size; `image_size` is then that of training samples alone."""
    batch_size: int = 12
    """Images of a step, in each process."""
    accumulate: int = 1
    """Batches whose gradients are averaged into one step."""
    loss: str = "bce"
    """`bce`, `soft_iou`, `dice` or `sls`, on each of the three maps; a sum with plus signs, as `bce+dice`."""
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
        object.__setattr__(self, "sampling_weights", tuple(float(w) for w in self.sampling_weights))
        object.__setattr__(self, "loss_weights", tuple(float(w) for w in self.loss_weights))
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
        for name in ("patch_positive", "synthetic_empty", "variation"):
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
        if self.variation != 1 and self.augmentation != "broad":
            raise ConfigError(
                "variation is a share of what augmentation broad does; set augmentation to broad, too"
            )
        if self.keep_orientation and self.augmentation != "broad":
            raise ConfigError(
                "keep_orientation leaves the flips of augmentation broad out; set augmentation to broad, too"
            )
        if self.crops is not None and self.augmentation != "broad":
            raise ConfigError(
                f"crops is {self.crops!r}, which only augmentation broad lays into images; set both"
            )
        if self.sampling_weights and len(self.sampling_weights) != len(self.datasets):
            raise ConfigError(
                f"sampling_weights has {len(self.sampling_weights)} values, dataset {len(self.datasets)} names; "
                "expected one for each"
            )
        if not all(math.isfinite(weight) and weight > 0 for weight in self.sampling_weights):
            raise ConfigError(
                f"sampling_weights is {list(self.sampling_weights)}; every share must be positive"
            )

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names in `dataset`."""
        return tuple(name.strip() for name in self.dataset.split(","))

    @property
    def freezes_trunk(self) -> bool:
        """Whether the trunk stays fixed."""
        return self.sam_weights is not None if self.freeze_trunk is None else self.freeze_trunk

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML and `samspl train --config`."""
        return {**to_plain(self), "sam_weights": self.sam_weights or "none", "model": dict(self.model)}
