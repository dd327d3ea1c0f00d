"""Building blocks that encoder, decoder and fusion share: attention maps, residual block, small perceptron.

Follows the SAM-SPL paper (IEEE TGRS 2025); all maps are NCHW. Sums, products and activations are ordered so that maps
at full resolution are read and written as few times as possible, since there memory traffic costs more than arithmetic.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of an NCHW map."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = x.permute(0, 2, 3, 1)  # (B, H, W, C)
        return super().forward(x).permute(0, 3, 1, 2)  # (B, C, H, W)


def norm_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift, (C,) each, that batch normalisation amounts to in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


class ConvNorm(nn.Module):
    """Convolution and batch normalisation; in eval mode one convolution where that saves work."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        """Padding keeps the size at stride 1 and halves it at stride 2."""
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H / stride, W / stride)."""
        conv, norm = self.conv, self.norm
        # Scaling the weights spares a pass over the map; it pays where a channel has fewer weights than pixels.
        if norm.training or conv.weight[0].numel() > x.shape[2] * x.shape[3]:
            return norm(conv(x))
        assert conv.bias is not None
        scale, shift = norm_affine(norm)
        weight = conv.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, torch.addcmul(shift, conv.bias, scale), conv.stride, conv.padding)


class MLP(nn.Module):
    """Linear layers with one activation between them, over the last dimension."""

    def __init__(self, widths: tuple[int, ...], activation: nn.Module) -> None:
        """Layers lead from each of ``widths`` to the next."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(c_in, c_out) for c_in, c_out in pairwise(widths))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., first width) to (..., last width)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


class ChannelAttention(nn.Module):
    """Weight of each channel, from its mean and its maximum over the map."""

    def __init__(self, channels: int, floor: int = 1) -> None:
        """Hidden width is a quarter of ``channels``, at least ``floor``."""
        super().__init__()
        hidden = max(floor, channels // 4)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to weights (B, C, 1, 1) in 0..1."""
        b = x.shape[0]
        pooled = torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)])  # (2B, C, 1, 1)
        mean, peak = self.fc2(F.relu(self.fc1(pooled))).split(b)
        return torch.sigmoid(mean + peak)


def channel_maximum(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1, H, W)."""
    if x.shape[1] % 2 == 0 and x.shape[1] <= 32:  # halved first, since few channels are slow to reduce
        x = torch.maximum(*x.chunk(2, dim=1))
    return x.amax(1, keepdim=True)


class SpatialAttention(nn.Module):
    """Weight of each pixel, from the mean and the maximum over its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to weights (B, 1, H, W) in 0..1."""
        pooled = torch.cat([x.mean(1, keepdim=True), channel_maximum(x)], dim=1)  # (B, 2, H, W)
        return torch.sigmoid(self.conv(pooled))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with channel and spatial attention, and a shortcut."""

    def __init__(self, c_in: int, c_out: int, attention_floor: int = 1, has_attention: bool = True) -> None:
        """The shortcut is the identity where ``c_in`` equals ``c_out``, else a 1x1 convolution.

        Without attention it is a plain residual block, for maps so large that attention's passes cost too much.
        """
        super().__init__()
        self.conv1 = ConvNorm(c_in, c_out, 3)
        self.conv2 = ConvNorm(c_out, c_out, 3)
        self.channel_attention = ChannelAttention(c_out, attention_floor) if has_attention else None
        self.spatial_attention = SpatialAttention() if has_attention else None
        self.shortcut = nn.Identity() if c_in == c_out else ConvNorm(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        y = F.relu(self.conv1(x), inplace=True)
        y = self.conv2(y)
        if self.channel_attention is None or self.spatial_attention is None:
            return F.relu(y.add_(self.shortcut(x)), inplace=True)
        y = y * self.channel_attention(y)
        return F.relu(torch.addcmul(self.shortcut(x), y, self.spatial_attention(y)), inplace=True)


class SqueezeExcite(nn.Module):
    """Weight of each channel, from what the channels' means say together."""

    def __init__(self, channels: int, floor: int = 1) -> None:
        """Hidden width is a sixteenth of ``channels``, at least ``floor``."""
        super().__init__()
        hidden = max(floor, channels // 16)
        self.fc1 = nn.Linear(channels, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to weights (B, C, 1, 1) in 0..1."""
        weight = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))  # (B, C)
        return weight[:, :, None, None]
