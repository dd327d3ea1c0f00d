"""Mask -> targets, and the pairing of predicted with true targets; nothing else says what a target is.

A target is an 8-connected group of foreground pixels. Metrics, detector, overlays and reports all come
here, so that they cannot disagree. The greedy pairing follows the published evaluation (centroid rule of
DNA-Net, Li et al., TIP 2023); the optimal one is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

MATCH_DISTANCE_PX = 3.0
"""A predicted and a true target belong together only if their centroids are nearer than this."""
SCR_MARGIN_PX = 5
"""The surroundings of a target reach at least this far beyond its box."""
EIGHT_CONNECTED = np.ones((3, 3), np.int8)
"""Neighbourhood within which pixels belong together."""


@dataclass(frozen=True)
class Components:
    """The 8-connected groups of a mask, numbered from 0 by their first pixel in scan order."""

    pixels: np.ndarray
    """(P,) int64: flat indices of the foreground, ascending."""
    labels: np.ndarray
    """(P,) int32: the group of each of these pixels."""
    area_px: np.ndarray
    """(N,) int64: pixels of each group."""
    centroid_xy: np.ndarray
    """(N, 2) float64: mean column and row of each group."""


@dataclass(frozen=True)
class Target:
    """One target; the centre of the top-left pixel of the image is (0, 0)."""

    centroid_xy: tuple[float, float]
    """Mean column and row of the pixels."""
    bbox_xyxy: tuple[int, int, int, int]
    """Left, top, right and bottom; right and bottom exclusive."""
    area_px: int
    """Number of pixels."""
    score: float | None = None
    """Largest probability inside; None where no probabilities were given."""
    peak: float | None = None
    """Largest image value inside; None without an image."""
    scr: float | None = None
    """Signal-to-clutter ratio, see `measure_scr`; None without an image or where it is undefined."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "centroid_xy": list(self.centroid_xy),
            "bbox_xyxy": list(self.bbox_xyxy),
            "area_px": self.area_px,
            "score": self.score,
            "peak": self.peak,
            "scr": self.scr,
        }


@dataclass(frozen=True)
class Matching:
    """Which predicted target belongs to which true one, within one image."""

    hits: tuple[tuple[int, int], ...]
    """Pairs (predicted, true), by true target."""
    misses: tuple[int, ...]
    """True targets without a partner."""
    false_alarms: tuple[int, ...]
    """Predicted targets without a partner."""


def label_pixels(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, int]:
    """Group pixels that touch, diagonals included.

    Targets fill a thousandth of an image, so rows and columns without any pixel are squeezed out before
    labelling, but for one between neighbours that must not touch.

    Args:
        rows: (P,) int64, at least one; of any size, so that many masks can be labelled at once, one below the
            other with a free row between them.
        columns: (P,) int64.
    Returns:
        (P,) int32 group numbers from 0 in scan order of the groups' first pixels, and the number of groups.
    """
    small_rows, height = _squeeze(rows)
    small_columns, width = _squeeze(columns)
    small = np.zeros((height, width), bool)
    small[small_rows, small_columns] = True
    labels, count = ndimage.label(small, EIGHT_CONNECTED)
    return labels[small_rows, small_columns] - 1, count


def _squeeze(positions: np.ndarray) -> tuple[np.ndarray, int]:
    """Renumber positions without gaps wider than one; also the new length."""
    kept = np.zeros(positions.max() + 2, bool)
    kept[positions] = True
    kept[positions + 1] = True
    renumbered = np.cumsum(kept) - 1
    return renumbered[positions], int(renumbered[-1]) + 1


def find_components(mask: np.ndarray) -> Components:
    """Group the foreground of a mask.

    Args:
        mask: (H, W) bool; nothing in it gives no groups.
    Raises:
        ValueError: for another shape or type.
    """
    _require_mask(mask, "mask")
    width = mask.shape[1]
    pixels = np.flatnonzero(mask)
    if not len(pixels):
        empty = np.zeros(0, np.int64)
        return Components(empty, empty.astype(np.int32), empty, np.zeros((0, 2)))
    rows, columns = np.divmod(pixels, width)
    labels, count = label_pixels(rows, columns)
    area = np.bincount(labels, minlength=count)
    sums = (np.bincount(labels, columns, count), np.bincount(labels, rows, count))
    return Components(pixels, labels, area, np.stack(sums, axis=1) / area[:, None])


def find_targets(
    mask: np.ndarray, prob: np.ndarray | None = None, image: np.ndarray | None = None, min_area_px: int = 1
) -> list[Target]:
    """List the targets of a mask.

    Args:
        mask: (H, W) bool.
        prob: (H, W) probabilities, for the scores.
        image: (H, W) image of any type, for peak and signal-to-clutter ratio.
        min_area_px: Smaller groups are left out.
    Returns:
        Targets in scan order of their first pixels; an empty list for an empty mask.
    Raises:
        ValueError: if an argument has another shape than the mask, or the mask is not boolean.
    """
    for name, other in (("prob", prob), ("image", image)):
        if other is not None and other.shape != mask.shape:
            raise ValueError(f"{name} has shape {other.shape}, the mask {mask.shape}; expected the same")
    found = find_components(mask)
    order = np.argsort(found.labels, kind="stable")
    targets = []
    for pixels in np.split(found.pixels[order], np.cumsum(found.area_px)[:-1]):
        if len(pixels) < max(min_area_px, 1):
            continue
        rows, columns = np.divmod(pixels, mask.shape[1])
        left, top, right, bottom = columns.min(), rows[0], columns.max() + 1, rows[-1] + 1
        targets.append(
            Target(
                centroid_xy=(float(columns.mean()), float(rows.mean())),
                bbox_xyxy=(int(left), int(top), int(right), int(bottom)),
                area_px=len(pixels),
                score=None if prob is None else float(prob[rows, columns].max()),
                peak=None if image is None else float(image[rows, columns].max()),
                scr=None if image is None else _scr(image, mask, rows, columns),
            )
        )
    return targets


def measure_scr(image: np.ndarray, inside: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Signal-to-clutter ratio of one target: |mean inside - mean around| / standard deviation around.

    Around is the target's box grown on every side by its own size, by 5 px at least, cut at the image's
    border, without the pixels of any target.

    Args:
        image: (H, W) of any type.
        inside: (H, W) bool, the pixels of this target.
        mask: (H, W) bool, the pixels of all targets; None if this one is alone.
    Returns:
        The ratio (population standard deviation); None where no pixel is inside or around, or all around
        are equal.
    Raises:
        ValueError: for shapes that differ.
    """
    mask = inside if mask is None else mask | inside
    if not image.shape == inside.shape == mask.shape:
        raise ValueError(
            f"image, inside and mask have shapes {image.shape}, {inside.shape} and {mask.shape}; "
            "expected the same"
        )
    rows, columns = np.nonzero(inside)
    return _scr(image, mask, rows, columns) if len(rows) else None


def _scr(image: np.ndarray, mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float | None:
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    grow_y, grow_x = max(bottom - top, SCR_MARGIN_PX), max(right - left, SCR_MARGIN_PX)
    window = np.s_[max(top - grow_y, 0) : bottom + grow_y, max(left - grow_x, 0) : right + grow_x]
    around = image[window][~mask[window]].astype(np.float64)
    # equality first: the deviation of equal values need not round to zero
    if not around.size or around.min() == around.max():
        return None
    inside_mean = image[rows, columns].astype(np.float64).mean()
    return float(abs(inside_mean - around.mean()) / around.std())


def near_pairs(
    pred_xy: np.ndarray, gt_xy: np.ndarray, max_distance_px: float = MATCH_DISTANCE_PX
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of centroids nearer than a distance.

    Args:
        pred_xy: (P, 2).
        gt_xy: (T, 2).
        max_distance_px: Pairs at this distance or farther are left out.
    Returns:
        Indices of predicted and of true targets and their distances, ordered by true, then by predicted
        target.
    Raises:
        ValueError: if the distance is not positive.
    """
    if not max_distance_px > 0:
        raise ValueError(f"max_distance_px is {max_distance_px}; expected a positive number of pixels")
    if not len(pred_xy) or not len(gt_xy):
        none = np.zeros(0, np.int64)
        return none, none, np.zeros(0)
    # the tree's own rounding must not decide pairs at the very limit, so it looks a little further
    found = cKDTree(pred_xy).sparse_distance_matrix(
        cKDTree(gt_xy), max_distance_px * (1 + 1e-9), output_type="ndarray"
    )
    pred, gt = found["i"], found["j"]
    distance = np.sqrt(np.square(pred_xy[pred] - gt_xy[gt]).sum(axis=1))
    order = np.lexsort((pred, gt))
    order = order[distance[order] < max_distance_px]
    return pred[order], gt[order], distance[order]


def choose_greedy(pred: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Published choice among `near_pairs`: each true target takes the first predicted one still free.

    Returns:
        (K,) bool: which of the pairs are hits.
    """
    chosen = np.zeros(len(pred), bool)
    taken: set[int] = set()
    served: set[int] = set()
    for k, (p, t) in enumerate(zip(pred.tolist(), gt.tolist(), strict=True)):
        if p not in taken and t not in served:
            taken.add(p)
            served.add(t)
            chosen[k] = True
    return chosen


def choose_best(pred: np.ndarray, gt: np.ndarray, distance: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Best choice among `near_pairs`: as many pairs as possible, then the least total distance.

    Equal totals are decided for the larger predicted targets, so that a flipped image gets the same
    figures.

    Args:
        pred: (K,) predicted target of each pair.
        gt: (K,) true target of each pair.
        distance: (K,) of each pair, px.
        area: (K,) pixels of each pair's predicted target.
    Returns:
        (K,) bool: which of the pairs are hits.
    """
    if not len(pred):
        return np.zeros(0, bool)
    chosen = (np.bincount(pred)[pred] == 1) & (np.bincount(gt)[gt] == 1)
    rivals = np.flatnonzero(~chosen)
    if not len(rivals):
        return chosen
    columns_known, columns = np.unique(pred[rivals], return_inverse=True)
    rows_known, rows = np.unique(gt[rivals], return_inverse=True)
    n, p = len(rows_known), len(columns_known)
    # Every true target also has a stand-in of its own, dearer than all distances together: the cheapest
    # full matching then leaves as few true targets as possible without a partner. One is added because a
    # weight must not be zero.
    cost = 1.0 + distance[rivals] + 1e-9 * (1.0 - area[rivals] / area[rivals].max())
    stand_in = 2.0 + cost.sum()
    weights = np.concatenate([cost, np.full(n, stand_in)])
    places = (np.concatenate([rows, np.arange(n)]), np.concatenate([columns, p + np.arange(n)]))
    matched_rows, matched_columns = min_weight_full_bipartite_matching(
        csr_array((weights, places), shape=(n, p + n))
    )
    partner = np.empty(n, np.int64)
    partner[matched_rows] = matched_columns
    chosen[rivals] = partner[rows] == columns
    return chosen


def match_targets(
    pred: Sequence[Target] | np.ndarray,
    gt: Sequence[Target] | np.ndarray,
    max_distance_px: float = MATCH_DISTANCE_PX,
    rule: str = "best",
) -> Matching:
    """Pair predicted and true targets by centroid distance, each used at most once.

    Args:
        pred: Targets of one image, or their centroids as (P, 2).
        gt: True targets, or their centroids as (T, 2).
        max_distance_px: Pairs at this distance or farther are not hits.
        rule: "best": as many pairs as possible, then the least total distance. "greedy": each true target
            in order takes the first free predicted one, as published.
    Returns:
        Hits as index pairs, plus the indices of misses and of false alarms.
    Raises:
        ValueError: if ``max_distance_px`` is not positive, or the rule is unknown.

    Example:
        >>> match_targets(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[1.5, 0.0]]))
        Matching(hits=((1, 0),), misses=(), false_alarms=(0,))
    """
    if rule not in ("best", "greedy"):
        raise ValueError(f"matching rule is {rule!r}; expected 'best' or 'greedy'")
    pred_xy, pred_area = _centroids(pred)
    gt_xy, _ = _centroids(gt)
    p, t, distance = near_pairs(pred_xy, gt_xy, max_distance_px)
    chosen = choose_greedy(p, t) if rule == "greedy" else choose_best(p, t, distance, pred_area[p])
    hits = tuple(zip(p[chosen].tolist(), t[chosen].tolist(), strict=True))
    taken, served = {pair[0] for pair in hits}, {pair[1] for pair in hits}
    return Matching(
        hits,
        tuple(i for i in range(len(gt_xy)) if i not in served),
        tuple(i for i in range(len(pred_xy)) if i not in taken),
    )


def _centroids(targets: Sequence[Target] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(targets, np.ndarray):
        return targets.reshape(-1, 2).astype(np.float64), np.ones(len(targets))
    xy = np.array([t.centroid_xy for t in targets], np.float64).reshape(-1, 2)
    return xy, np.array([t.area_px for t in targets], np.float64)


def _require_mask(mask: np.ndarray, name: str) -> None:
    if mask.ndim != 2 or mask.dtype != bool:
        raise ValueError(
            f"{name} is {mask.dtype} of shape {mask.shape}; expected bool of shape (height, width)"
        )
