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
        for name in ("embed_dim", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
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
            raise ConfigError(f"global_blocks {outside} lie outside the {sum(self.stages)} blocks of stages")
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

    def __post_init__(self) -> None:
        _as_tuples(self, "stages", "global_blocks", "window_sizes", "pos_embed_size")
        _ = self.trunk
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
        for name in ("mlp_width", "attention_floor", "squeeze_floor"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")

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
    """Known name, YAML specification or folder."""
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
    """Side of the training images in pixels, a multiple of 32; None takes the data set's."""
    batch_size: int = 12
    """Images of a step."""
    lr: float = 1e-2
    """Learning rate at the start; falls on a cosine to 1e-6."""
    weight_decay: float = 1e-4
    """In Adan's proximal form."""
    epochs: int = 300
    """Passes over the training images."""
    seed: int = 2727
    """Of weights, order and augmentation."""
    precision: str = "fp32"
    """`fp32`, or `bf16` for mixed precision."""
    channels_last: bool = False
    """Convert the weights' memory layout as well, for GPUs."""
    freeze_trunk: bool | None = None
    """Keep the SAM trunk fixed; None: if SAM weights are given."""
    split_set: str | None = None
    """Which split lists; None takes the data set's default."""
    resume: str | None = None
    """`last`, or the `.ckpt` file to go on from."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda:N` or `mps`."""
    workers: int = 0
    """Processes that load images; 0 loads in the training process."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `ModelConfig` that differ from the variant's."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"lr is {self.lr}; expected a positive number")
        for name in ("batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("workers", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.image_size is not None and (self.image_size < 32 or self.image_size % 32):
            raise ConfigError(f"image_size is {self.image_size}; training needs a positive multiple of 32")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision is {self.precision!r}; known: bf16, fp32")

    @property
    def freezes_trunk(self) -> bool:
        """Whether the trunk stays fixed."""
        return self.sam_weights is not None if self.freeze_trunk is None else self.freeze_trunk
