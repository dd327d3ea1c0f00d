"""The prompt generator: shallow features, which hold small targets, as a prompt embedding at the deepest resolution.

Follows Self-Prompt Learning of the SAM-SPL paper (IEEE TGRS 2025).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samspl.models.layers import ConvNorm


class PromptBranch(nn.Module):
    """One shallow feature, brought to the deepest resolution and to the prompt's width."""

    def __init__(self, channels: int, halvings: int, width: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(ConvNorm(channels, channels, 3, stride=2) for _ in range(halvings))
        self.project = ConvNorm(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, width, H / 2**halvings, W / 2**halvings)."""
        for conv in self.down:
            x = F.relu(conv(x), inplace=True)
        return F.relu(self.project(x), inplace=True)


class PromptGenerator(nn.Module):
    """Three branches and a grouped 1x1 convolution that mixes them channel by channel."""

    def __init__(self, channels: tuple[int, int, int], trunk_stages: int, width: int) -> None:
        """``channels`` are those of f1, f2, f3."""
        super().__init__()
        self.branches = nn.ModuleList(
            PromptBranch(c, trunk_stages + 1 - i, width) for i, c in enumerate(channels)
        )
        # group g sees channels 3g, 3g + 1, 3g + 2 of the concatenation, as in the released weights
        self.mix = nn.Conv2d(3 * width, width, 1, groups=width)

    def forward(self, shallow: list[Tensor]) -> Tensor:
        """[f1, f2, f3] to the prompt embedding (B, width, h, w)."""
        maps = [branch(x) for branch, x in zip(self.branches, shallow, strict=True)]
        return self.mix(torch.cat(maps, dim=1))
