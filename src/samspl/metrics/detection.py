"""Detection metrics, as functions and torchmetrics: Pd (targets hit / targets), Fa (false pixels / pixels).

`published` follows the evaluation code of the field (DNA-Net and its heirs) bit for bit: greedy matching,
and a predicted component is false if its *area* is not among the areas of matched components of that
image, so that a false alarm as large as a hit is not counted. `strict` matches optimally and calls a
component false if it was not matched.
"""

from typing import NamedTuple

import numpy as np
import torch

from samspl.metrics.pixel import (
    Masks,
    Profile,
    TallyMetric,
    add_up,
    check_profile,
    iter_pairs,
    or_none,
    ratio,
)
from samspl.targets import (
    MATCH_DISTANCE_PX,
    Components,
    choose_best,
    choose_greedy,
    find_components,
    near_pairs,
)


class TargetCounts(NamedTuple):
    """What the detection metrics need to know of one image, or the sum over many."""

    targets: int
    """True targets."""
    hits: int
    """True targets with a matched prediction."""
    false_alarms: int
    """Predicted components that count as false."""
    false_px: int
    """Their pixels."""
    pixels: int
    """Pixels of the image."""


def count_targets(pred: np.ndarray, gt: np.ndarray, profile: Profile = "strict") -> TargetCounts:
    """Count one image.

    Args:
        pred: (H, W) bool, predicted foreground.
        gt: (H, W) bool, true foreground.
        profile: Rules of matching and of false alarms.
    Raises:
        ValueError: for an unknown profile, or arrays that are no masks.
    """
    return count_components(find_components(pred), find_components(gt), pred.size, profile)[0]


def count_components(
    predicted: Components, true: Components, pixels: int, profile: Profile
) -> tuple[TargetCounts, np.ndarray]:
    """Count one image of which the components are known.

    Args:
        predicted: Components of the predicted mask.
        true: Components of the true mask.
        pixels: Pixels of the image.
        profile: Rules of matching and of false alarms.
    Returns:
        The counts, and (T,) bool: which true targets were hit, in scan order.
    """
    check_profile(profile)
    p, t, distance = near_pairs(predicted.centroid_xy, true.centroid_xy, MATCH_DISTANCE_PX)
    if profile == "published":
        chosen = choose_greedy(p, t)
        false = ~np.isin(predicted.area_px, predicted.area_px[p[chosen]])
    else:
        chosen = choose_best(p, t, distance, predicted.area_px[p])
        false = np.ones(len(predicted.area_px), bool)
        false[p[chosen]] = False
    is_hit = np.zeros(len(true.area_px), bool)
    is_hit[t[chosen]] = True
    false_px = int(predicted.area_px[false].sum())
    return TargetCounts(len(is_hit), int(is_hit.sum()), int(false.sum()), false_px, pixels), is_hit


def detection_figures(totals: np.ndarray) -> dict[str, np.ndarray]:
    """Figures from summed `TargetCounts`.

    Args:
        totals: (..., 5) int64, the fields of `TargetCounts` in order, summed over images.
    Returns:
        pd, fa: (...) float64 fractions; pd is NaN without targets, fa without images.
    """
    targets, hits, _, false_px, pixels = np.moveaxis(np.asarray(totals), -1, 0)
    return {"pd": ratio(hits, targets), "fa": ratio(false_px, pixels)}


def pd(pred: Masks, gt: Masks, profile: Profile = "strict") -> float | None:
    """Probability of detection: share of true targets with a matched prediction nearer than 3 px.

    Args:
        pred: Predicted masks: bool (H, W) or (N, H, W), or a sequence of (H, W) of any sizes.
        gt: True masks.
        profile: Greedy (`published`) or optimal (`strict`) matching.
    Returns:
        Fraction; None without targets.
    """
    return or_none(detection_figures(_totals(pred, gt, profile))["pd"])


def fa(pred: Masks, gt: Masks, profile: Profile = "strict") -> float | None:
    """False-alarm rate: pixels of false predicted components / all pixels; papers show it in 1e-6.

    Args:
        pred: Predicted masks: bool (H, W) or (N, H, W), or a sequence of (H, W) of any sizes.
        gt: True masks.
        profile: False by area value (`published`) or by not being matched (`strict`).
    Returns:
        Fraction; None without images.
    """
    return or_none(detection_figures(_totals(pred, gt, profile))["fa"])


def _totals(pred: Masks, gt: Masks, profile: Profile) -> np.ndarray:
    check_profile(profile)
    return add_up((count_targets(p, t, profile) for p, t in iter_pairs(pred, gt)), len(TargetCounts._fields))


class DetectionMetric(TallyMetric):
    """Base of the detection metrics."""

    fields = TargetCounts._fields
    figure: str
    """Which of `detection_figures`."""

    def compute(self) -> torch.Tensor:
        """The figure as a float64 scalar on the CPU; NaN where undefined."""
        value = detection_figures(self.totals.cpu().numpy())[self.figure]
        return torch.tensor(float(value), dtype=torch.float64)

    def _count(self, pred: Masks, gt: Masks) -> np.ndarray:
        return _totals(pred, gt, self.profile)


class Pd(DetectionMetric):
    """`pd` as a torchmetric."""

    figure = "pd"
    higher_is_better = True


class Fa(DetectionMetric):
    """`fa` as a torchmetric."""

    figure = "fa"
    higher_is_better = False
