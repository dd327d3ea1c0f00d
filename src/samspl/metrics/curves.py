"""Figures over thresholds, by target size and contrast, and their confidence intervals; `strict` rules.

A curve costs little more than one threshold: the foreground of all thresholds is labelled and matched in
one go, as a stack of masks of which only the levels that differ are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torchmetrics import Metric

from samspl.metrics.pixel import Masks, Profile, iter_pairs, or_none, ratio
from samspl.metrics.suite import COUNT_FIELDS, FIGURES, figures
from samspl.targets import choose_best, find_components, label_pixels, near_pairs

DEFAULT_THRESHOLDS = tuple(k / 100 for k in range(1, 100))
"""0.01 to 0.99."""
AUC_MAX_FA = 1e-4
"""False-alarm rate up to which the area under the Pd-Fa curve is taken: 100 pixels in a million."""
STACK_LIMIT = 2**21
"""Masks are labelled together as long as they take no more pixels than this, which bounds the memory."""


class CurveCounts(NamedTuple):
    """What is counted at each threshold; plain sums over images."""

    hit_px: int
    """Foreground in both masks."""
    pred_px: int
    """Predicted foreground."""
    gt_px: int
    """True foreground."""
    targets: int
    """True targets."""
    hits: int
    """Targets hit."""
    false_alarms: int
    """Predicted components without a partner."""
    false_px: int
    """Their pixels."""
    pixels: int
    """All pixels."""


class Curve(NamedTuple):
    """Pooled figures at many thresholds; a named tuple, since torchmetrics cannot return frozen
    dataclasses."""

    thresholds: np.ndarray
    """(K,) float64, ascending."""
    counts: np.ndarray
    """(K, 8) int64, the fields of `CurveCounts` in order."""
    images: int
    """Images."""

    @property
    def figures(self) -> dict[str, np.ndarray]:
        """iou, precision, recall, f1, pd, fa and false_alarms_per_image: (K,) float64, NaN where
        undefined."""
        hit, pred, gt, targets, hits, false, false_px, pixels = self.counts.T
        return {
            "iou": ratio(hit, pred + gt - hit),
            "precision": ratio(hit, pred),
            "recall": ratio(hit, gt),
            "f1": ratio(2 * hit, pred + gt),
            "pd": ratio(hits, targets),
            "fa": ratio(false_px, pixels),
            "false_alarms_per_image": ratio(false, np.full(len(false), self.images)),
        }

    def auc(self, max_fa: float = AUC_MAX_FA) -> float | None:
        """Area under the Pd-Fa curve from Fa 0 to `max_fa`, divided by `max_fa`: 1 is perfect.

        At each Fa the curve stands at the best Pd of all thresholds that stay at or below it (0 where there
        is none), as a staircase: nothing between two thresholds is invented, and it never falls.

        Returns:
            0..1; None without targets.
        Raises:
            ValueError: if `max_fa` is not positive.
        """
        if not max_fa > 0:
            raise ValueError(
                f"max_fa is {max_fa}; expected a positive fraction of false pixels, such as 1e-4"
            )
        pd, fa = self.figures["pd"], self.figures["fa"]
        if np.isnan(pd).any() or np.isnan(fa).any():
            return None
        order = np.argsort(fa, kind="stable")
        order = order[fa[order] < max_fa]
        steps = np.append(fa[order], max_fa)
        best = np.maximum.accumulate(pd[order]) if len(order) else np.zeros(0)
        return float((best * np.diff(steps)).sum() / max_fa)

    def average_precision(self) -> float | None:
        """Area under the pixel precision-recall curve, as the sum of recall gained times precision.

        Taken from the highest threshold to the lowest, recall starting at 0; what lies beyond the lowest
        threshold counts nothing.

        Returns:
            0..1; None without true foreground.
        """
        recall, precision = self.figures["recall"][::-1], self.figures["precision"][::-1]
        if np.isnan(recall).any():
            return None
        gained = np.diff(recall, prepend=0.0)
        return float((gained * np.nan_to_num(precision)).sum())

    def best_threshold(self, max_fa: float | None = None) -> float | None:
        """The threshold to use elsewhere; choose it on a validation split, never on the test split.

        Args:
            max_fa: None: the highest IoU. A rate: the highest Pd among thresholds whose Fa does not exceed
                it.
        Returns:
            A threshold; the middle one of equals; None where the figures are undefined or no threshold
            stays below `max_fa`.
        """
        value = self.figures["iou" if max_fa is None else "pd"]
        if max_fa is not None:
            value = np.where(self.figures["fa"] <= max_fa, value, np.nan)
        if np.isnan(value).all():
            return None
        equal = np.flatnonzero(value == np.nanmax(value))
        return float(self.thresholds[equal[len(equal) // 2]])

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        columns = {name: [or_none(v) for v in values] for name, values in self.figures.items()}
        summary = {"auc": self.auc(), "auc_max_fa": AUC_MAX_FA, "average_precision": self.average_precision()}
        return {"thresholds": self.thresholds.tolist(), **columns, **summary}


@dataclass(frozen=True)
class PdBin:
    """Pd of the targets within one range of a property."""

    low: float
    """Lower end, included."""
    high: float
    """Upper end, excluded; infinite for the last."""
    hits: int
    """Targets hit."""
    targets: int
    """True targets."""

    @property
    def pd(self) -> float | None:
        """hits / targets; None without targets."""
        return self.hits / self.targets if self.targets else None


class Interval(NamedTuple):
    """Confidence interval of a figure; None where it is undefined."""

    low: float | None
    """Lower end."""
    high: float | None
    """Upper end."""


def count_curve(prob: np.ndarray, gt: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Count one image at every threshold; the same counts as `prob_to_mask` and the `strict` profile at each.

    Args:
        prob: (H, W) probabilities; a mask of booleans or of 0 and 1 will do.
        gt: (H, W) bool.
        thresholds: (K,) ascending, within 0..1.
    Returns:
        (K, 8) int64, the fields of `CurveCounts`.
    Raises:
        ValueError: for sizes that differ or probabilities outside 0..1.
    """
    _require_prob(prob, gt)
    if prob.dtype.kind != "f":  # thresholds of that type would all be 0 or True
        prob = prob.astype(np.float32)
    count = len(thresholds)
    levels = np.asarray(thresholds).astype(prob.dtype)  # as prob_to_mask compares
    pixels = np.flatnonzero(prob > levels[0])
    # number of thresholds that a pixel exceeds: it is foreground at thresholds 0 to depth - 1
    depth = np.searchsorted(levels, prob.ravel()[pixels], side="left")
    is_true = gt.ravel()[pixels]
    true = find_components(gt)
    result = np.zeros((count, len(CurveCounts._fields)), np.int64)
    result[:, 0] = _at_least(depth[is_true], count)
    result[:, 1] = _at_least(depth, count)
    result[:, 2], result[:, 3], result[:, 7] = len(true.pixels), len(true.area_px), gt.size

    # masks differ only between depths that occur; each stands for all thresholds down to the one before
    kinds, rank = np.unique(depth, return_inverse=True)
    level, area, centroid = _stacked_components(pixels, rank, len(kinds), prob.shape)
    p, t, distance = near_pairs(centroid, true.centroid_xy)
    chosen = choose_best(p, level[p] * len(true.area_px) + t, distance, area[p])
    is_false = np.ones(len(area), bool)
    is_false[p[chosen]] = False
    matched = np.zeros((len(kinds) + 1, 3), np.int64)  # the last: above the highest, empty
    matched[:-1, 0] = np.bincount(level[p[chosen]], minlength=len(kinds))
    matched[:-1, 1] = np.bincount(level[is_false], minlength=len(kinds))
    np.add.at(matched[:, 2], level[is_false], area[is_false])
    result[:, 4:7] = matched[np.searchsorted(kinds, np.arange(1, count + 1))]
    return result


def _at_least(depth: np.ndarray, count: int) -> np.ndarray:
    """For each threshold k: pixels with depth > k."""
    histogram = np.bincount(depth, minlength=count + 1)[1:]
    return histogram[::-1].cumsum()[::-1]


def _stacked_components(
    pixels: np.ndarray, rank: np.ndarray, levels: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Components of a stack of nested masks: mask j holds the pixels whose rank is at least j.

    Returns:
        Mask number, area and centroid (column, row) of every component, by mask, then in scan order.
    """
    rows, columns = np.divmod(pixels, shape[1])
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2)))]
    first = 0
    while first < levels:
        kept = rank >= first
        rows, columns, rank = rows[kept], columns[kept], rank[kept]
        # later masks lie within this one, so that none of them needs more room
        room = 4 * len(np.unique(rows)) * len(np.unique(columns))
        last = min(levels, first + max(1, STACK_LIMIT // room))
        level, place = np.nonzero(rank >= np.arange(first, last)[:, None])
        # one mask below the other, a free row between them
        labels, count = label_pixels(level * (shape[0] + 1) + rows[place], columns[place])
        area = np.bincount(labels, minlength=count)
        sums = (np.bincount(labels, columns[place], count), np.bincount(labels, rows[place], count))
        of_label = np.empty(count, np.int64)
        of_label[labels] = level + first
        parts.append((of_label, area, np.stack(sums, axis=1) / area[:, None]))
        first = last
    level_of, area_of, centroid_of = (np.concatenate(part) for part in zip(*parts, strict=True))
    return level_of, area_of, centroid_of


class PdFaCurve(Metric):
    """Curve over thresholds as a torchmetric: integer counts that sum over batches and processes."""

    full_state_update = False
    is_differentiable = False
    totals: torch.Tensor
    """(K, 8) int64, the fields of `CurveCounts` for each threshold."""
    images: torch.Tensor
    """() int64."""

    def __init__(self, thresholds: Sequence[float] = DEFAULT_THRESHOLDS, **kwargs: Any) -> None:
        """Start at zero; further arguments go to `torchmetrics.Metric`.

        Raises:
            ValueError: unless the thresholds ascend strictly between 0 and 1.
        """
        super().__init__(**kwargs)
        self.thresholds = np.asarray(thresholds, np.float64)
        inside = len(self.thresholds) and self.thresholds[0] > 0 and self.thresholds[-1] < 1
        if not inside or not (np.diff(self.thresholds) > 0).all():
            raise ValueError(f"thresholds are {list(thresholds)}; expected ascending numbers between 0 and 1")
        shape = (len(self.thresholds), len(CurveCounts._fields))
        self.add_state("totals", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prob: Masks, gt: Masks) -> None:
        """Add images.

        Args:
            prob: Probabilities: (H, W), (N, H, W), or a sequence of (H, W) of any sizes.
            gt: True masks, the same.
        """
        for prob_map, gt_mask in iter_pairs(prob, gt, binary=False):
            self.totals += torch.from_numpy(count_curve(prob_map, gt_mask, self.thresholds)).to(
                self.totals.device
            )
            self.images += 1

    def compute(self) -> Curve:
        """The curve of all images so far, of all processes."""
        return Curve(self.thresholds, self.totals.cpu().numpy().copy(), int(self.images))


def pd_by(values: np.ndarray, is_hit: np.ndarray, edges: Sequence[float]) -> tuple[PdBin, ...]:
    """Pd by a property of the true targets, such as their size or signal-to-clutter ratio.

    Args:
        values: (T,) the property of each target; targets with NaN are left out.
        is_hit: (T,) bool.
        edges: Ascending; each bin reaches from one edge (included) to the next (excluded), the last to
            infinity.
    Returns:
        A bin for each edge.
    Raises:
        ValueError: for edges that do not ascend.
    """
    limits = np.append(np.asarray(edges, np.float64), np.inf)
    if len(limits) < 2 or not (np.diff(limits) > 0).all():
        raise ValueError(f"edges are {list(edges)}; expected ascending numbers")
    values = np.asarray(values, np.float64)
    bins = []
    for low, high in pairwise(limits.tolist()):
        inside = (values >= low) & ((values < high) | (high == np.inf))
        bins.append(PdBin(low, high, int(is_hit[inside].sum()), int(inside.sum())))
    return tuple(bins)


def bootstrap_intervals(
    counts: np.ndarray,
    profile: Profile = "strict",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 2727,
) -> dict[str, Interval]:
    """Confidence intervals of all headline figures: percentiles over resampled images.

    Args:
        counts: (N, 11) int64, `COUNT_FIELDS` of each image: 88 bytes an image are all that it needs.
        profile: Rules that the counts were made by.
        level: Share of resamples inside the interval.
        resamples: How often N images are drawn with replacement; those that leave a figure undefined are
            ignored for it.
        seed: The same seed gives the same intervals.
    Returns:
        An interval for each of `FIGURES`.
    Raises:
        ValueError: without images, or for a level or number out of range.
    """
    if counts.ndim != 2 or counts.shape[1] != len(COUNT_FIELDS) or not len(counts):
        raise ValueError(
            f"counts have shape {counts.shape}; expected (images, {len(COUNT_FIELDS)}), at least one"
        )
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            f"level {level} or resamples {resamples} is out of range; expected 0..1 and at least 1"
        )
    rng = np.random.default_rng(seed)
    images = len(counts)
    drawn = np.empty((resamples, len(COUNT_FIELDS)), np.int64)
    for i in range(resamples):
        drawn[i] = np.bincount(rng.integers(0, images, images), minlength=images) @ counts
    tails = (50 * (1 - level), 50 * (1 + level))
    result = {}
    for name, values in figures(drawn, profile).items():
        known = values[~np.isnan(values)]
        low, high = np.percentile(known, tails) if len(known) else (np.nan, np.nan)
        result[name] = Interval(or_none(low), or_none(high))
    return {name: result[name] for name in FIGURES}


def _require_prob(prob: np.ndarray, gt: np.ndarray) -> None:
    if prob.shape != gt.shape or prob.ndim != 2:
        raise ValueError(
            f"probabilities have shape {prob.shape}, the true mask {gt.shape}; expected the same"
        )
    low, high = prob.min(), prob.max()
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise ValueError(f"probabilities reach from {low} to {high}; expected values within 0..1")
