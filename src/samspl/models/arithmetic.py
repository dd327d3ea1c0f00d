"""The arithmetic of a network, by which speeds on different machines can be compared."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from samspl.config import ModelConfig
from samspl.models.hiera import Hiera, HieraBlock
from samspl.models.network import SAMSPL

COUNTED = ("aten.convolution", "aten.addmm", "aten.mm")


def count_gflop(config: ModelConfig, size_hw: tuple[int, int]) -> float:
    """Operations of one image as the published count has them, in 10^9; a multiply-add is two.

    Convolutions and linear layers, with the tokens that fill the windows of SAM 2; neither the products inside
    attention nor anything by element. `spl_t` at 256 x 256: 29.9, twice the published 14.97 G multiply-adds. What this
    package computes is less, since it works on no filling tokens (see `hiera`).

    Args:
        config: Of the network.
        size_hw: Height and width of the input, multiples of 32.
    """
    with torch.device("meta"):
        network = SAMSPL(config).eval().requires_grad_(False)
        images = torch.zeros(1, 3, *size_hw)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(images)
    flops = sum(n for kind, n in counter.get_flop_counts()["Global"].items() if str(kind) in COUNTED)
    return (flops + 2 * _filling(network.encoder.trunk, size_hw)) / 1e9


def _filling(trunk: Hiera, size_hw: tuple[int, int]) -> int:
    """Multiply-adds of the attention layers' linear parts on tokens that only fill windows."""
    h, w = (side // 4 for side in size_hw)
    total = 0
    for block in trunk.blocks:
        assert isinstance(block, HieraBlock)
        attention = block.attn
        window = attention.window
        c_in, c_out = attention.qkv.in_features, attention.proj.in_features
        filling = 0 if window is None else -(-h // window) * -(-w // window) * window**2 - h * w
        pooled = 4 if attention.pools else 1
        total += filling * c_in * 3 * c_out + filling // pooled * c_out * c_out
        if attention.pools:
            h, w = h // 2, w // 2
    return total
