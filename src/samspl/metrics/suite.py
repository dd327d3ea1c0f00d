"""All figures of one profile at once: `score` for arrays, `DetectionSuite` as a torchmetric."""

from typing import Any, NamedTuple

import numpy as np

from samspl.metrics.detection import TargetCounts, count_components, detection_figures
from samspl.metrics.pixel import (
    Masks,
    PixelCounts,
    Profile,
    TallyMetric,
    add_up,
    check_profile,
    counts_of_image,
    iter_pairs,
    or_none,
    pixel_figures,
)
from samspl.targets import find_components

COUNT_FIELDS = (*PixelCounts._fields, *TargetCounts._fields)
"""What is counted for each image, in order; plain sums of these give every figure."""
FIGURES = ("iou", "niou", "precision", "recall", "f1", "pd", "fa")
"""The headline figures."""


class Scores(NamedTuple):
    """Figures of one set of images under one profile; fractions, None where undefined.

    A named tuple, since torchmetrics cannot return frozen dataclasses.
    """

    profile: Profile
    """Rules that were used."""
    iou: float | None
    """Pooled foreground IoU; None where no mask has foreground."""
    niou: float | None
    """Mean IoU of the images that count; None without any."""
    precision: float | None
    """Pooled over pixels; None without predicted foreground."""
    recall: float | None
    """Pooled over pixels; None without true foreground."""
    f1: float | None
    """Pooled over pixels; None where no mask has foreground."""
    pd: float | None
    """hits / targets; None without targets."""
    fa: float | None
    """False pixels / pixels; None without images."""
    hits: int
    """Targets hit."""
    targets: int
    """True targets."""
    false_alarms: int
    """False predicted components."""
    images: int
    """Images."""
    empty_images: int
    """Images without foreground in either mask: 0 in the nIoU of `published`, left out in `strict`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return self._asdict()


def count_image(pred: np.ndarray, gt: np.ndarray, profile: Profile = "strict") -> tuple[int, ...]:
    """Count one image.

    Args:
        pred: (H, W) bool, predicted foreground.
        gt: (H, W) bool, true foreground.
        profile: Rules.
    Returns:
        The values of `COUNT_FIELDS`.
    """
    return count_and_match(pred, gt, profile)[0]


def count_and_match(pred: np.ndarray, gt: np.ndarray, profile: Profile) -> tuple[tuple[int, ...], np.ndarray]:
    """Count one image and tell which true targets were hit.

    Returns:
        The values of `COUNT_FIELDS`, and (T,) bool for the true targets in scan order.
    Raises:
        ValueError: for sizes that differ, or arrays that are no masks.
    """
    if pred.shape != gt.shape:
        raise ValueError(f"predicted mask has shape {pred.shape}, the true one {gt.shape}; expected the same")
    predicted, true = find_components(pred), find_components(gt)
    hit_px = int(np.count_nonzero(gt.ravel()[predicted.pixels]))
    of_pixels = counts_of_image(hit_px, len(predicted.pixels), len(true.pixels))
    of_targets, is_hit = count_components(predicted, true, pred.size, profile)
    return (*of_pixels, *of_targets), is_hit


def figures(totals: np.ndarray, profile: Profile = "strict") -> dict[str, np.ndarray]:
    """Headline figures from summed counts.

    Args:
        totals: (..., 11) int64, `COUNT_FIELDS` in order, summed over images.
        profile: Rules.
    Returns:
        (...) float64 for each of `FIGURES`; NaN where undefined.
    """
    split = len(PixelCounts._fields)
    return pixel_figures(totals[..., :split], profile) | detection_figures(totals[..., split:])


def scores_from_counts(totals: np.ndarray, profile: Profile) -> Scores:
    """Scores from summed counts.

    Args:
        totals: (11,) int64, `COUNT_FIELDS` in order, summed over images.
        profile: Rules that the counts were made by.
    """
    count = dict(zip(COUNT_FIELDS, totals.tolist(), strict=True))
    value = {name: or_none(figure) for name, figure in figures(totals, profile).items()}
    return Scores(
        profile=profile,
        iou=value["iou"],
        niou=value["niou"],
        precision=value["precision"],
        recall=value["recall"],
        f1=value["f1"],
        pd=value["pd"],
        fa=value["fa"],
        hits=count["hits"],
        targets=count["targets"],
        false_alarms=count["false_alarms"],
        images=count["images"],
        empty_images=count["empty_images"],
    )


def score(pred: Masks, gt: Masks, profile: Profile = "strict") -> Scores:
    """Score predicted against true masks.

    Args:
        pred: Predicted foreground: bool (H, W) or (N, H, W), or a sequence of (H, W) of different sizes.
        gt: True foreground, the same.
        profile: `published` or `strict`.
    Returns:
        All figures; no image at all gives None everywhere.
    Raises:
        ValueError: for masks that do not fit each other, values other than 0 and 1, or an unknown profile.

    Example:
        >>> gt = np.zeros((8, 8), bool)
        >>> gt[2, 2] = True
        >>> scores = score(gt, gt)
        >>> scores.iou, scores.pd, scores.fa
        (1.0, 1.0, 0.0)
    """
    return scores_from_counts(_totals(pred, gt, profile), profile)


def _totals(pred: Masks, gt: Masks, profile: Profile) -> np.ndarray:
    check_profile(profile)
    return add_up((count_image(p, t, profile) for p, t in iter_pairs(pred, gt)), len(COUNT_FIELDS))


class DetectionSuite(TallyMetric):
    """`score` as a torchmetric: integer counts that sum, so that any number of processes gives the figures
    of one."""

    fields = COUNT_FIELDS

    def compute(self) -> Scores:
        """Scores of all images so far, of all processes."""
        return scores_from_counts(self.totals.cpu().numpy(), self.profile)

    def _count(self, pred: Masks, gt: Masks) -> np.ndarray:
        return _totals(pred, gt, self.profile)
