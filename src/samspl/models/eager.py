"""The network as torch runs it best on a CPU, call by call: the same numbers with fewer passes over the largest maps.

What an operation costs there is mostly memory traffic, and some of torch's operations step through it in small pieces.
Other runtimes plan such passes themselves and start from the plain form (`inference.prepare_for_inference`).
"""

import torch
from torch import Tensor, nn

from samspl.models.decoder import SpatialSemanticFusion, SubpixelJoin
from samspl.models.inference import InferenceNetwork


class SlicedMaxPool(nn.Module):
    """Maximum over 2x2 pixels: of two rows, then of two columns; `torch.nn.MaxPool2d` computes indices as well."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), H and W even, to (B, C, H / 2, W / 2)."""
        x = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
        return torch.maximum(x[..., ::2], x[..., 1::2])


class BlockwiseJoin(nn.Module):
    """A `decoder.SubpixelJoin` that adds the decoder's values in place, in blocks of whole pixels.

    Its convolution has the outputs of a pixel side by side, where those of `torch.nn.functional.pixel_shuffle` are four
    apart.
    """

    def __init__(self, join: SubpixelJoin) -> None:
        """Takes over the convolutions of ``join``, both folded already, and reorders the decoder's outputs."""
        super().__init__()
        self.skip = join.skip
        conv = join.decoder
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        order = torch.arange(conv.out_channels).view(-1, 4).t().flatten()  # of (out, 2, 2) as (2, 2, out)
        conv.weight.data = conv.weight[order].contiguous(memory_format=torch.channels_last)
        conv.bias.data = conv.bias[order]
        self.decoder = conv

    def forward(self, skip: Tensor, decoder: Tensor) -> Tensor:
        """Skip (B, c, H, W) and decoder (B, d, H / 2, W / 2) to (B, out, H, W)."""
        joined = self.skip(skip).contiguous(memory_format=torch.channels_last)
        added = self.decoder(decoder).permute(0, 2, 3, 1)  # (B, h, w, 4 * out)
        b, h, w, c = added.shape
        # two pixels of a row together: (B, h, 2, w, 2 * out)
        pairs = added.unflatten(3, (2, c // 2)).transpose(2, 3)
        joined.permute(0, 2, 3, 1).view(b, h, 2, w, c // 2).add_(pairs)
        return joined


def suit_eager(network: InferenceNetwork) -> InferenceNetwork:
    """Make a network ready for torch on a CPU.

    Args:
        network: Of `inference.prepare_for_inference`; changed, since another copy of a large one would cost.
    Returns:
        The same.
    """
    network.encoder.pool = SlicedMaxPool()
    for fusion in network.fusions:
        assert isinstance(fusion, SpatialSemanticFusion)
        if isinstance(fusion.conv1, SubpixelJoin):
            fusion.conv1 = BlockwiseJoin(fusion.conv1)
    return network
