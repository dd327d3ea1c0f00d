"""Losses on the network's three logit maps.

`bce` is the published one (SAM-SPL, IEEE TGRS 2025). The others judge the overlap, which few target pixels among
many of background cannot drown: `dice` (Milletari et al., 3DV 2016), `soft_iou` (Rahman and Wang, ISVC 2016), the
same over a whole batch (`pooled_iou`), and the scale- and location-sensitive `sls` (Liu et al., CVPR 2024). All are
computed in float32, whatever the network ran in.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from samspl.config import nearest_name
from samspl.train_config import LOSS_NAMES, PUBLISHED_LOSS_WEIGHTS

Loss = Callable[[Sequence[Tensor], Tensor], Tensor]
"""Maps of (B, 1, H, W) logits and (B, 1, H, W) float mask to a scalar."""

_SMOOTH = 1.0
"""Pixels added to both sides of a ratio: two empty masks agree."""


def bce(logits: Tensor, gt_mask: Tensor) -> Tensor:
    """Mean binary cross-entropy over pixels, (B, 1, H, W) twice to a scalar."""
    return F.binary_cross_entropy_with_logits(logits, gt_mask)


def soft_iou(logits: Tensor, gt_mask: Tensor) -> Tensor:
    """1 - IoU of probabilities, mean over images, (B, 1, H, W) twice to a scalar in 0..1."""
    both, pred, true = _areas(logits, gt_mask)
    return (1 - (both + _SMOOTH) / (pred + true - both + _SMOOTH)).mean()


def pooled_iou(logits: Tensor, gt_mask: Tensor) -> Tensor:
    """1 - IoU of probabilities summed over all images, as the metric sums them; (B, 1, H, W) twice to a scalar in 0..1.

    Large targets, and false alarms in images without any, weigh more in it than in `soft_iou`.
    """
    both, pred, true = (area.sum() for area in _areas(logits, gt_mask))
    return 1 - (both + _SMOOTH) / (pred + true - both + _SMOOTH)


def dice(logits: Tensor, gt_mask: Tensor) -> Tensor:
    """1 - Dice coefficient of probabilities, mean over images, (B, 1, H, W) twice to a scalar in 0..1."""
    both, pred, true = _areas(logits, gt_mask)
    return (1 - (2 * both + _SMOOTH) / (pred + true + _SMOOTH)).mean()


def sls(logits: Tensor, gt_mask: Tensor) -> Tensor:
    """Scale- and location-sensitive loss, mean over images, (B, 1, H, W) twice to a scalar.

    The IoU is weighted by how well the areas agree; to it comes the distance, in polar coordinates about the
    top-left corner, between the mean positions of prediction and mask. Images without target have no position:
    theirs is left out.
    """
    both, pred, true = _areas(logits, gt_mask)
    variance = ((pred - true) / 2).square()
    weight = (torch.minimum(pred, true) + variance + _SMOOTH) / (
        torch.maximum(pred, true) + variance + _SMOOTH
    )
    scale = 1 - weight * (both + _SMOOTH) / (pred + true - both + _SMOOTH)
    radius, angle = _mean_position(torch.sigmoid(logits.float()))
    gt_radius, gt_angle = _mean_position(gt_mask)
    near, far = torch.minimum(radius, gt_radius), torch.maximum(radius, gt_radius)
    location = 1 - near / far + (4 / math.pi**2) * (angle - gt_angle).square()
    return (scale + torch.where(true > 0, location, torch.zeros_like(location))).mean()


_BY_NAME: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": bce,
    "soft_iou": soft_iou,
    "pooled_iou": pooled_iou,
    "dice": dice,
    "sls": sls,
}


def make_loss(name: str = "bce", weights: Sequence[float] = PUBLISHED_LOSS_WEIGHTS) -> Loss:
    """The loss of a run: the named one on each map, weighted and summed.

    Args:
        name: One of `samspl.train_config.LOSS_NAMES`, or several with plus signs, as ``bce+dice``.
        weights: Of the maps, finest first; those of maps that are not there are left out.
    Returns:
        A function that raises ValueError without maps, or for a map of another shape than the mask.
    Raises:
        ValueError: for an unknown name.
    """
    for part in name.split("+"):
        if part not in _BY_NAME:
            raise ValueError(f"unknown loss {part!r}; {nearest_name(part, list(LOSS_NAMES))}")
    parts = [_BY_NAME[part] for part in name.split("+")]

    def loss(logits: Sequence[Tensor], gt_mask: Tensor) -> Tensor:
        if not logits:
            raise ValueError("logits is empty; expected at least one map")
        for index, one in enumerate(logits):
            if one.shape != gt_mask.shape:
                raise ValueError(
                    f"map {index} has shape {tuple(one.shape)}, gt_mask {tuple(gt_mask.shape)}; expected the same"
                )
        if len(logits) > len(weights):
            raise ValueError(f"there are {len(logits)} maps and {len(weights)} weights; give each map one")
        # a map of weight 0 is not computed: its gradient would cost as much as any
        weighted = [(weight, one.float()) for weight, one in zip(weights, logits, strict=False) if weight]
        return torch.stack([weight * part(one, gt_mask) for weight, one in weighted for part in parts]).sum()

    return loss


def _areas(logits: Tensor, gt_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Common, predicted and true area of each image in pixels, (B,) each."""
    prob = torch.sigmoid(logits.float())
    return (prob * gt_mask).sum((1, 2, 3)), prob.sum((1, 2, 3)), gt_mask.sum((1, 2, 3))


def _mean_position(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Radius in image sides and angle in radians of the weighted mean position, (B,) each."""
    h, w = weight.shape[2:]
    total = weight.sum((1, 2, 3)).clamp(min=1e-6)
    # pixel centres, so that no position lies in the corner itself, where the angle is undefined
    y = torch.arange(0.5, h, device=weight.device) / h
    x = torch.arange(0.5, w, device=weight.device) / w
    mean_y = (weight.sum((1, 3)) * y).sum(1) / total
    mean_x = (weight.sum((1, 2)) * x).sum(1) / total
    floor = 0.25 / max(h, w)  # a mask without target has its mean at the corner
    return torch.hypot(mean_x, mean_y).clamp(min=floor), torch.atan2(mean_y, mean_x.clamp(min=floor))
