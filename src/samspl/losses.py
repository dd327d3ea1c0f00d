"""Losses on the network's three logit maps.

Source: SAM-SPL (IEEE TGRS 2025), which sums binary cross-entropy over the maps.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def summed_bce(logits: Sequence[Tensor], gt_mask: Tensor) -> Tensor:
    """Sum over the maps of the mean binary cross-entropy, in its with-logits form.

    Args:
        logits: Maps of (B, 1, H, W).
        gt_mask: (B, 1, H, W) float, 0 or 1.
    Returns:
        Scalar.
    Raises:
        ValueError: without maps, or for a map of another shape than the mask.
    """
    if not logits:
        raise ValueError("logits is empty; expected at least one map")
    for index, one in enumerate(logits):
        if one.shape != gt_mask.shape:
            raise ValueError(f"map {index} has shape {tuple(one.shape)}, gt_mask {tuple(gt_mask.shape)}; expected the same")
    return torch.stack([F.binary_cross_entropy_with_logits(one, gt_mask) for one in logits]).sum()
