"""Networks and trunks by name, with SAM 2 weights in the trunk where they are given."""

import logging
from pathlib import Path
from typing import Any

import torch

from samspl.config import TrunkConfig
from samspl.models.download import cached_sam_weights
from samspl.models.hiera import Hiera
from samspl.models.network import SAMSPL
from samspl.models.variants import trunk_config, variant_config
from samspl.models.weights import LoadReport, load_exactly, read_tensors, sam_trunk_state

logger = logging.getLogger(__name__)


def create_model(variant: str = "spl_t", sam_weights: str | Path | None = None, **overrides: Any) -> SAMSPL:
    """A new network in train mode.

    Args:
        variant: `spl_t`, `spl_s`, `spl_l` of the paper, `spl_b`, or the small `nano`.
        sam_weights: SAM 2 or 2.1 checkpoint (Meta's `.pt`, or safetensors of the Hugging Face hub): a path, or a name
            that `samspl weights fetch` has put into the cache. Its trunk is loaded and frozen. None: all
            random, not frozen.
        overrides: Any field of `samspl.config.ModelConfig`, such as ``num_heads=2, use_sam_decoder=False``.
    Raises:
        ConfigError: for an unknown variant or field, or a name that is not in the cache.
        CheckpointError: if the file is unusable or does not fit.
    """
    model = SAMSPL(variant_config(variant, **overrides))
    if sam_weights is not None:
        load_sam_weights(model.encoder.trunk, sam_weights)
        model.freeze_trunk()
    return model


def create_trunk(name: str, weights: str | Path | None = None) -> Hiera:
    """One of SAM 2.1's trunks with all four stages.

    Args:
        name: `tiny`, `small`, `base_plus` or `large`.
        weights: As ``sam_weights`` of `create_model`; None: torch's random initialisation.
    Raises:
        ConfigError: for an unknown name.
        CheckpointError: if the file is unusable or does not fit.
    """
    trunk = Hiera(trunk_config(name))
    if weights is not None:
        load_sam_weights(trunk, weights)
    else:
        for embedding in (trunk.pos_embed, trunk.pos_embed_window):
            torch.nn.init.normal_(embedding, std=0.02)
    return trunk


def load_sam_weights(trunk: Hiera, weights: str | Path) -> LoadReport:
    """Fill a trunk from a SAM 2 checkpoint.

    Args:
        trunk: May have fewer stages than SAM 2's.
        weights: Path, or name of a fetched checkpoint.
    Raises:
        ConfigError: for a name that is not in the cache.
        CheckpointError: if the file is unusable, or a tensor of the trunk is missing, of another shape, or left over.
    """
    path = cached_sam_weights(weights)
    state, ignored = sam_trunk_state(read_tensors(path)[0], trunk.config)
    load_exactly(trunk, state, f"SAM 2 checkpoint {path}")
    report = LoadReport(f"SAM 2 checkpoint {path}", tuple(sorted(state)), ignored)
    logger.info("loaded %s", report)
    _warn_about_heads(trunk.config)
    return report


def _warn_about_heads(config: TrunkConfig) -> None:
    # shapes do not tell: SAM 2.1 large has two heads, the released spl_l was trained with one
    if (config.embed_dim, config.num_heads) == (144, 1):
        logger.warning(
            "this trunk has num_heads=1 as the released spl_l, but SAM 2.1 large was trained with 2; "
            "pass num_heads=2 for a new training run"
        )
