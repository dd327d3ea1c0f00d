"""Configuration of the network: frozen dataclasses, to and from plain dictionaries, without torch.

Follows the variants of the SAM-SPL paper (IEEE TGRS 2025) and of SAM 2's Hiera trunk (Apache-2.0).
"""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
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
    """Levels of the encoder, from full resolution, that have the light form: residual blocks without attention maps,
    skip connections of one convolution without squeeze-excite."""
    consultation_kernel: int = 7
    """Side of the consultation generators' strided convolution."""
    fusion_floor: int = 1
    """Least channels of the fused maps (otherwise half of the skip's)."""
    subpixel_fusion: bool = False
    """The decoder's map is brought to the skip's size by a sub-pixel convolution instead of a bilinear resize: fewer
    passes over large maps, and the same at every place of the frame."""

    def __post_init__(self) -> None:
        _as_tuples(self, "stages", "global_blocks", "window_sizes", "pos_embed_size")
        _check_counts(self, "width", "mlp_width", "attention_floor", "squeeze_floor", "fusion_floor")
        self._check_stem()
        for name in ("use_sam_decoder", "subpixel_fusion"):
            if not isinstance(value := getattr(self, name), bool):
                raise ConfigError(f"{name} is {value!r}; expected true or false")
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
        levels = 2 + len(self.stages)
        if self.light_levels not in range(levels + 1):
            raise ConfigError(
                f"light_levels is {self.light_levels!r}; expected 0 to {levels}, the levels of the encoder"
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
