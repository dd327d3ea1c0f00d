"""A trained network made ready to run: batch normalisation folded into the convolutions, the finest map alone.

The numbers are those of the network in eval mode up to rounding. `layers.ConvNorm` folds at every call, since a network
may train on between two of them; here it is done once. Exports begin with this form, too.
"""

import copy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samspl.models.decoder import SkipConnection
from samspl.models.hiera import Hiera, check_input
from samspl.models.layers import ConvNorm, norm_affine
from samspl.models.network import SAMSPL


class FoldedSkipConnection(nn.Module):
    """A `decoder.SkipConnection` that knows scale and shift of its normalisation."""

    scale: Tensor
    shift: Tensor

    def __init__(self, skip: SkipConnection) -> None:
        """Takes over the parts of ``skip``."""
        super().__init__()
        self.squeeze_excite = skip.squeeze_excite
        self.conv = skip.conv
        scale, shift = norm_affine(skip.norm)
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", shift[:, None, None])

    def forward(self, feature: Tensor) -> Tensor:
        """(B, c, H, W) to the same shape."""
        weight = self.squeeze_excite(feature) * self.scale  # (B, c, 1, 1)
        return F.gelu(self.conv(F.gelu(torch.addcmul(self.shift, feature, weight))))


class TrunkOfKnownPositions(nn.Module):
    """A `hiera.Hiera` that computes the position embedding once for frames of one size that follow each other."""

    def __init__(self, trunk: Hiera) -> None:
        """Takes over the parts of ``trunk``."""
        super().__init__()
        self.trunk = trunk
        self._last: tuple[tuple[int, int], Tensor] | None = None

    @property
    def blocks(self) -> nn.ModuleList:
        """The trunk's."""
        return self.trunk.blocks

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The trunk's."""
        return self.trunk.stage_ends

    def embed(self, images: Tensor) -> Tensor:
        """As `Hiera.embed`."""
        check_input(images)
        x = self.trunk.patch_embed(images)
        size_hw = (x.shape[1], x.shape[2])
        last = self._last  # read once, since other threads may write
        if last is None or last[0] != size_hw or last[1].device != x.device:
            last = self._last = (size_hw, self.trunk.positions(*size_hw).contiguous())
        return x + last[1]


class InferenceNetwork(nn.Module):
    """A network's finest map; made by `prepare_for_inference`."""

    def __init__(self, model: SAMSPL) -> None:
        """Takes over the parts of ``model``."""
        super().__init__()
        self.encoder = model.encoder
        self.decoder = model.decoder
        self.fusions = model.fusions
        self.head = model.heads[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of full resolution: (B, 3, H, W) to (B, 1, H, W).

        Raises:
            ValueError: for a shape that the network cannot take; names the size to pad to.
        """
        features = self.encoder(images)
        decoder = self.decoder(features)
        for fusion, feature in zip(self.fusions, features[len(self.fusions) - 1 :: -1], strict=True):
            decoder = fusion(feature, decoder)
        return self.head(decoder)


def prepare_for_inference(model: SAMSPL) -> InferenceNetwork:
    """A copy of a network that computes its finest map with fewer passes.

    Args:
        model: Left as it is; on any device, in any mode.
    Returns:
        In eval mode, without gradients, on the same device.
    """
    network = InferenceNetwork(copy.deepcopy(model).eval().requires_grad_(False))
    _fold(network)
    return network.eval().requires_grad_(False)


def _fold(parent: nn.Module) -> None:
    """Replace what `prepare_for_inference` knows a shorter form of, in all parts of a module."""
    for name, child in parent.named_children():
        if isinstance(child, ConvNorm):
            setattr(parent, name, fuse_conv_bn_eval(child.conv, child.norm))
        elif isinstance(child, SkipConnection):
            setattr(parent, name, FoldedSkipConnection(child))
        elif isinstance(child, Hiera):
            setattr(parent, name, TrunkOfKnownPositions(child))
        else:
            _fold(child)
    if isinstance(parent, nn.Sequential):
        for index, (first, second) in enumerate(pairwise(parent)):
            if isinstance(first, nn.ConvTranspose2d) and isinstance(second, nn.BatchNorm2d):
                parent[index] = fuse_conv_bn_eval(first, second, transpose=True)
                parent[index + 1] = nn.Identity()
