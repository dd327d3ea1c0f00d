"""Consult-Guide Knowledge Adaptation: a CNN branch that consults the SAM trunk and guides it.

Follows the encoder of the SAM-SPL paper (IEEE TGRS 2025). Maps are NCHW; the trunk's tokens are views of them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samspl.config import ModelConfig
from samspl.models.hiera import Hiera
from samspl.models.layers import ConvNorm, ResidualBlock


class ConsultationGenerator(nn.Module):
    """What both branches know at the end of a stage, as guidance for the end of the next: c -> 2c at half the size."""

    def __init__(self, channels: int, kernel: int) -> None:
        """``kernel`` is the side of the strided convolution."""
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, 3)
        self.conv2 = ConvNorm(channels, 2 * channels, kernel, stride=2)
        self.is_planar = kernel == 7  # as in the paper

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, H, W) to (B, 2c, H / 2, W / 2)."""
        x = F.gelu(self.conv1(x))
        return F.gelu(self.conv2(x.contiguous() if self.is_planar else x))

    def lay_out_weights(self) -> None:
        """On a CPU the strided 7x7 convolution takes a quarter less time with planar maps and weights.

        A 3x3 one takes longer so, 1.4 to 2.3 times; 5x5 was not measured.
        """
        if self.is_planar:
            weight = self.conv2.conv.weight
            weight.data = weight.data.contiguous()


class ConsultGuideKnowledgeAdaptation(nn.Module):
    """The encoder: CNN stem, SAM trunk, and consultation between them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        floor = config.attention_floor
        self.trunk = Hiera(config.trunk)
        self.stem = nn.ModuleList(
            nn.Sequential(
                *(
                    ResidualBlock(c_out if i else c_in, c_out, floor, level >= config.light_levels)
                    for i in range(blocks)
                )
            )
            for level, (c_in, c_out, blocks) in enumerate(
                zip((3, *config.stem), config.stem, config.stem_blocks, strict=False)
            )
        )
        self.pool: nn.Module = nn.MaxPool2d(2)
        steps = self.trunk.channels[:-1]
        self.residuals = nn.ModuleList(
            ResidualBlock(d, 2 * d, floor, level >= config.light_levels)
            for level, d in enumerate(steps, start=len(self.stem))
        )
        self.consultations = nn.ModuleList(
            ConsultationGenerator(d, config.consultation_kernel) for d in steps
        )
        self.channels = (*config.stem, *self.trunk.channels[1:])
        """Channels of f1, f2, ..."""
        self.is_trunk_frozen = False

    def freeze_trunk(self) -> None:
        """Keep the trunk's tensors out of training and the trunk in eval mode, whatever `train` is told later."""
        self.is_trunk_frozen = True
        self.trunk.requires_grad_(False)
        self.trunk.eval()

    def train(self, mode: bool = True) -> "ConsultGuideKnowledgeAdaptation":
        """As `torch.nn.Module.train`, but a frozen trunk stays in eval mode."""
        super().train(mode)
        if self.is_trunk_frozen:
            self.trunk.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to [f1, f2, f3 (shallow), f4, ... (deep)], NCHW, strides 1, 2, 4, 8, ...

        Raises:
            ValueError: for a shape that the network cannot take.
        """
        # The trunk's tokens are channels last: with maps of the same layout no sum of the branches copies.
        images = images.contiguous(memory_format=torch.channels_last)
        tokens = self.trunk.embed(images)  # (B, H / 4, W / 4, C)
        features = []
        cnn = images
        for level, blocks in enumerate(self.stem):
            cnn = blocks(cnn if level == 0 else self.pool(cnn))
            features.append(cnn)

        ends, guidance = self.trunk.stage_ends, None
        for i, block in enumerate(self.trunk.blocks):
            if i not in ends:
                tokens = block(tokens)
                continue
            k = ends.index(i)
            tokens = block(tokens if guidance is None else tokens + guidance.permute(0, 2, 3, 1))
            sam = tokens.permute(0, 3, 1, 2)  # (B, C_k, H_k, W_k)
            if k > 0:
                cnn = self.residuals[k - 1](self.pool(cnn)) + sam
                features.append(cnn)
            if k < len(ends) - 1:
                guidance = self.consultations[k](sam + cnn)
        return features
