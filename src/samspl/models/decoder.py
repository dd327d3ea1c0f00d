"""Decoders: self-prompt learning on the deepest feature, then spatial-semantic fusion with the shallower ones.

Follows the SAM-SPL paper (IEEE TGRS 2025). Maps are NCHW.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from samspl.config import ModelConfig
from samspl.models.layers import MLP, ConvNorm, LayerNorm2d, SqueezeExcite, norm_affine
from samspl.models.prompt import PromptGenerator
from samspl.models.two_way import TwoWayTransformer


class SelfPromptLearning(nn.Module):
    """The network prompts SAM's mask decoder itself: a prompt embedding from shallow features, one output token."""

    def __init__(self, config: ModelConfig, channels: tuple[int, ...]) -> None:
        """``channels`` are those of the encoder's features."""
        super().__init__()
        c, width, stages = config.embed_dim, config.width, len(config.stages)
        c1, c2, c3 = channels[:3]
        self.prompt_generator = PromptGenerator((c1, c2, c3), stages, width)
        self.output_token = Parameter(torch.randn(1, width))
        self.latent = nn.Sequential(
            nn.Conv2d(channels[-1], width, 1),
            LayerNorm2d(width, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(width, width, 1),
            nn.GELU(),
        )
        self.transformer = TwoWayTransformer(width, config.mlp_width)
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, 2),
            nn.BatchNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, c, 2, 2),
            nn.GELU(),
        )
        self.token_mlp = MLP((width, width, width, c), nn.ReLU())
        self.project = nn.Sequential(ConvNorm(c, c, 1), nn.GELU())
        for _ in range(4 - stages):  # to stride 8 in every variant
            self.project.extend([nn.Conv2d(c, c, 2, 2), nn.GELU()])

    def forward(self, features: list[Tensor]) -> Tensor:
        """The encoder's features to the mask feature (B, C, H / 8, W / 8)."""
        deepest = features[-1]
        b, _, h, w = deepest.shape
        prompt = self.prompt_generator(features[:3]).flatten(2).transpose(1, 2)  # (B, hw, width)
        latent = self.latent(deepest).flatten(2).transpose(1, 2)  # (B, hw, width)
        token, latent = self.transformer(self.output_token.expand(b, 1, -1), latent, prompt)
        mask_feature = self.upscale(latent.transpose(1, 2).unflatten(2, (h, w)))  # (B, C, 4h, 4w)
        weight = self.token_mlp(token[:, 0])  # (B, C)
        return self.project(mask_feature * weight[:, :, None, None])


class PlainBottleneck(nn.Module):
    """The ablation without self-prompt decoder: two 1x1 convolutions on the deepest feature."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            ConvNorm(channels, channels // 2, 1),
            nn.GELU(),
            nn.Conv2d(channels // 2, channels // 2, 1),
            nn.GELU(),
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """The encoder's features to (B, deepest channels / 2, h, w)."""
        return self.project(features[-1])


class SkipConnection(nn.Module):
    """A shallower feature, made ready to meet the decoder's."""

    def __init__(self, channels: int, squeeze_floor: int = 1) -> None:
        super().__init__()
        self.squeeze_excite = SqueezeExcite(channels, squeeze_floor)
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, c, H, W) to the same shape."""
        weight = self.squeeze_excite(feature)  # (B, c, 1, 1)
        if self.norm.training:
            x = self.norm(feature * weight)
        else:  # weighting and normalising in one pass
            scale, shift = (t[:, None, None] for t in norm_affine(self.norm))
            x = torch.addcmul(shift, feature, weight * scale)
        return F.gelu(self.conv(F.gelu(x)))


class LightSkipConnection(nn.Module):
    """A skip connection for maps so large that squeeze-excite and two activations cost too much."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, c, H, W) to the same shape."""
        return F.relu(self.conv(feature), inplace=True)


class MutualCalibration(nn.Module):
    """Skip and decoder feature, each shifted by what the other's means say."""

    def __init__(self, skip: int, decoder: int) -> None:
        """Channels of the two."""
        super().__init__()
        self.from_skip = nn.Linear(skip, decoder)
        self.from_decoder = nn.Linear(decoder, skip)

    def forward(self, skip: Tensor, decoder: Tensor) -> tuple[Tensor, Tensor]:
        """Skip (B, c, H, W) and decoder (B, d, H / 2, W / 2), to the same shapes."""
        to_decoder = self.from_skip(skip.mean((2, 3)))[:, :, None, None]
        to_skip = self.from_decoder(decoder.mean((2, 3)))[:, :, None, None]
        return skip + to_skip, decoder + to_decoder


class SubpixelJoin(nn.Module):
    """Decoder and skip feature, each through a convolution of its own, summed at the skip's size.

    Instead of the paper's resize, concatenation and convolution: the decoder's convolution gives four values for each
    pixel, which are laid out as 2x2 (sub-pixel convolution; Shi et al., CVPR 2016).
    """

    def __init__(self, skip: int, decoder: int, out: int) -> None:
        """Channels of the two and of their sum."""
        super().__init__()
        self.skip = ConvNorm(skip, out, 3)
        self.decoder = ConvNorm(decoder, 4 * out, 3)

    def forward(self, skip: Tensor, decoder: Tensor) -> Tensor:
        """Skip (B, c, H, W) and decoder (B, d, H / 2, W / 2) to (B, out, H, W)."""
        return self.skip(skip).add_(F.pixel_shuffle(self.decoder(decoder), 2))


class SpatialSemanticFusion(nn.Module):
    """One step towards full resolution: a skip connection joins the decoder feature."""

    def __init__(
        self,
        skip: int,
        decoder: int,
        out: int,
        squeeze_floor: int = 1,
        is_light: bool = False,
        is_subpixel: bool = False,
    ) -> None:
        """Channels of the skip, of the decoder feature that comes in (as many, in the paper) and goes out (half).

        Where it is both light and sub-pixel, the join's convolution is the skip's only one.
        """
        super().__init__()
        self.skip: nn.Module
        if not is_light:
            self.skip = SkipConnection(skip, squeeze_floor)
        else:
            self.skip = nn.Identity() if is_subpixel else LightSkipConnection(skip)
        self.calibration = MutualCalibration(skip, decoder)
        self.is_subpixel = is_subpixel
        self.conv1: nn.Module
        self.conv1 = SubpixelJoin(skip, decoder, out) if is_subpixel else ConvNorm(skip + decoder, out, 3)
        self.conv2 = ConvNorm(out, out, 3)

    def forward(self, feature: Tensor, decoder: Tensor) -> Tensor:
        """Feature (B, c, H, W) and decoder (B, d, H / 2, W / 2) to (B, out, H, W)."""
        x = F.relu(self._join(*self.calibration(self.skip(feature), decoder)), inplace=True)
        return F.relu(self.conv2(x), inplace=True)

    def _join(self, skip: Tensor, decoder: Tensor) -> Tensor:
        if self.is_subpixel:
            return self.conv1(skip, decoder)
        # The paper calibrates the upsampled map; a shift of whole channels passes through the resize unchanged.
        upsampled = F.interpolate(decoder, scale_factor=2, mode="bilinear", align_corners=True)
        return self.conv1(torch.cat([upsampled, skip], dim=1))
