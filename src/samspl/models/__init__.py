"""The network: layers, trunk, encoder, decoder, variants, and weights of others."""

from samspl.models.factory import create_model, create_trunk, load_sam_weights
from samspl.models.hiera import Hiera
from samspl.models.network import SAMSPL
from samspl.models.variants import TRUNKS, VARIANTS, variant_config

__all__ = [
    "SAMSPL",
    "TRUNKS",
    "VARIANTS",
    "Hiera",
    "create_model",
    "create_trunk",
    "load_sam_weights",
    "variant_config",
]
