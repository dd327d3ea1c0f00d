"""The networks that have a name, and the trunks of SAM 2.1.

Source: SAM-SPL paper (IEEE TGRS 2025) and its released weights; SAM 2.1 (Apache-2.0).
"""

from typing import Any

from samspl.config import ModelConfig, TrunkConfig, nearest_name
from samspl.errors import ConfigError

TRUNKS: dict[str, TrunkConfig] = {
    "tiny": TrunkConfig(96, 1, (1, 2, 7, 2), (5, 7, 9), (8, 4, 14, 7)),
    "small": TrunkConfig(96, 1, (1, 2, 11, 2), (7, 10, 13), (8, 4, 14, 7)),
    "base_plus": TrunkConfig(112, 2, (2, 3, 16, 3), (12, 16, 20), (8, 4, 14, 7), (14, 14)),
    "large": TrunkConfig(144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8)),
}
"""SAM 2.1's trunks, all four stages."""

VARIANTS: dict[str, ModelConfig] = {
    "spl_t": ModelConfig(),
    "spl_s": ModelConfig(stages=(1, 2, 11, 2), global_blocks=(7, 10, 13), window_sizes=(8, 4, 14, 7)),
    # not in the paper: SAM 2.1 base-plus under the same decoder
    "spl_b": ModelConfig(
        embed_dim=112,
        num_heads=2,
        stages=(2, 3, 16, 3),
        global_blocks=(12, 16, 20),
        window_sizes=(8, 4, 14, 7),
        pos_embed_size=(14, 14),
    ),
    # one head as released; SAM 2.1 large itself has two, which a new training run should use
    "spl_l": ModelConfig(
        embed_dim=144, stages=(2, 6, 36), global_blocks=(23, 33, 43), window_sizes=(8, 4, 16)
    ),
    # not in the paper: small enough for a CPU and for the package; trained from scratch, as SAM 2 has no such trunk
    "nano": ModelConfig(
        embed_dim=24,
        stages=(1, 2, 2),
        global_blocks=(4,),
        window_sizes=(8, 8, 8),
        width=64,
        mlp_width=256,
        attention_floor=4,  # heeded where levels are not light, as the next
        squeeze_floor=4,
        stem_channels=(8, 32),
        stem_blocks=(1, 1, 1),
        light_levels=5,
        consultation_kernel=3,
        fusion_floor=8,
        subpixel_fusion=True,
    ),
}
"""Networks by name."""


def variant_config(variant: str, **overrides: Any) -> ModelConfig:
    """Configuration of a named network, with fields changed.

    Args:
        variant: A name of `VARIANTS`.
        overrides: Any field of `ModelConfig`.
    Raises:
        ConfigError: for an unknown variant or field (the nearest known one is named), or values that contradict.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"unknown variant {variant!r}; {nearest_name(variant, list(VARIANTS))}")
    return VARIANTS[variant].with_fields(overrides)


def trunk_config(name: str) -> TrunkConfig:
    """Configuration of a SAM 2.1 trunk.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in TRUNKS:
        raise ConfigError(f"unknown trunk {name!r}; {nearest_name(name, list(TRUNKS))}")
    return TRUNKS[name]
