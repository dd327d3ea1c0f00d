"""Pixel metrics: IoU, nIoU, precision, recall and F1, as functions and as torchmetrics.

All but nIoU are pooled: counts are summed over the images first. Profiles (``published``, ``strict``)
differ in nIoU alone; see the published protocol in the documentation of the data sets.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torchmetrics import Metric

Profile = Literal["published", "strict"]
"""`published`: the field's rules, bit for bit. `strict`: sound rules; the default."""
PROFILES: tuple[Profile, ...] = get_args(Profile)
Masks = np.ndarray | torch.Tensor | Sequence[np.ndarray | torch.Tensor]
"""One (H, W) mask, a stack (N, H, W), or a sequence of (H, W) masks of any sizes."""
IOU_UNIT = 2**40
"""Per-image IoUs are summed as whole multiples of 1 / IOU_UNIT: integers add up to the same total in any
order, so that any number of processes agrees to the last bit. The error is below 1e-12; the sum is safe up
to 8 million images."""


class PixelCounts(NamedTuple):
    """What the pixel metrics need to know of one image, or the sum over many."""

    hit_px: int
    """Foreground in both masks."""
    pred_px: int
    """Predicted foreground."""
    gt_px: int
    """True foreground."""
    iou_sum: int
    """IoU in units of 1 / IOU_UNIT; 0 where both masks are empty."""
    empty_images: int
    """Images where both masks are empty."""
    images: int
    """Images."""


def count_pixels(pred: np.ndarray, gt: np.ndarray) -> PixelCounts:
    """Count one image.

    Args:
        pred: (H, W) bool, predicted foreground.
        gt: (H, W) bool, true foreground.
    """
    return counts_of_image(*(int(np.count_nonzero(mask)) for mask in (pred & gt, pred, gt)))


def counts_of_image(hit_px: int, pred_px: int, gt_px: int) -> PixelCounts:
    """Counts of one image from its foreground pixels in both masks, in the predicted and in the true one."""
    union = pred_px + gt_px - hit_px
    iou = round(hit_px * IOU_UNIT / union) if union else 0
    return PixelCounts(hit_px, pred_px, gt_px, iou, int(union == 0), 1)


def iter_pairs(pred: Masks, gt: Masks, binary: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Walk through predicted and true masks together.

    Args:
        pred: Boolean masks, or numbers that are all 0 or 1.
        gt: As many, of the same sizes.
        binary: False lets predictions of any value pass as they are.
    Yields:
        Two (H, W) arrays for each image, bool unless `binary` is False.
    Raises:
        ValueError: for a different number of images, sizes that differ, no pixels, or values other than 0
            and 1.
    """
    preds, gts = _as_list(pred, "pred"), _as_list(gt, "gt")
    if len(preds) != len(gts):
        raise ValueError(f"{len(preds)} predicted masks and {len(gts)} true masks; expected as many of both")
    for i, (p, t) in enumerate(zip(preds, gts, strict=True)):
        pred_mask, gt_mask = _as_array(p, f"predicted mask {i}"), _as_array(t, f"true mask {i}")
        if pred_mask.shape != gt_mask.shape:
            raise ValueError(
                f"predicted mask {i} is {_size(pred_mask)}, its true mask {_size(gt_mask)}; "
                "expected the same size - bring the prediction back to the size of its mask first"
            )
        gt_mask = _as_bool(gt_mask, f"true mask {i}")
        yield _as_bool(pred_mask, f"predicted mask {i}") if binary else pred_mask, gt_mask


def add_up(counts: Iterable[tuple[int, ...]], width: int) -> np.ndarray:
    """Sum counts of images.

    Returns:
        (width,) int64; zeros for no image.
    """
    return np.array([*counts], np.int64).reshape(-1, width).sum(axis=0)


def pixel_figures(totals: np.ndarray, profile: Profile = "strict") -> dict[str, np.ndarray]:
    """Figures from summed `PixelCounts`.

    Args:
        totals: (..., 6) int64, the fields of `PixelCounts` in order, summed over images.
        profile: Decides over images where both masks are empty: 0 in the nIoU of `published`, left out in
            `strict`.
    Returns:
        iou, niou, precision, recall, f1: (...) float64 fractions, NaN where undefined (0 / 0): IoU and F1
        without foreground in either mask, precision without predicted and recall without true foreground,
        nIoU without an image that counts.
    """
    check_profile(profile)
    hit, pred, gt, iou_sum, empty, images = np.moveaxis(np.asarray(totals), -1, 0)
    counted = images if profile == "published" else images - empty
    return {
        "iou": ratio(hit, pred + gt - hit),
        "niou": ratio(iou_sum / IOU_UNIT, counted),
        "precision": ratio(hit, pred),
        "recall": ratio(hit, gt),
        "f1": ratio(2 * hit, pred + gt),
    }


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, NaN for division by zero."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole != 0)


def or_none(value: float | np.ndarray) -> float | None:
    """A plain number, or None for NaN."""
    return None if np.isnan(value) else float(value)


def check_profile(profile: str) -> None:
    """Refuse an unknown profile.

    Raises:
        ValueError: with the known ones.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}; expected one of {', '.join(PROFILES)}")


def iou(pred: Masks, gt: Masks) -> float | None:
    """Intersection over union of the foreground, pooled over all images.

    Args:
        pred: Predicted masks, see `iter_pairs`.
        gt: True masks.
    Returns:
        Fraction; None where neither mask has foreground.

    Example:
        >>> iou(np.array([[True, True, False]]), np.array([[False, True, True]]))
        0.3333333333333333
    """
    return _figure("iou", pred, gt)


def niou(pred: Masks, gt: Masks, profile: Profile = "strict") -> float | None:
    """Mean over images of their IoU.

    Args:
        pred: Predicted masks, see `iter_pairs`.
        gt: True masks.
        profile: An image with both masks empty counts 0 (`published`) or is left out (`strict`).
    Returns:
        Fraction; None where no image counts.
    """
    return _figure("niou", pred, gt, profile)


def precision(pred: Masks, gt: Masks) -> float | None:
    """Share of predicted foreground pixels that are true; None without any."""
    return _figure("precision", pred, gt)


def recall(pred: Masks, gt: Masks) -> float | None:
    """Share of true foreground pixels that were predicted; None without any."""
    return _figure("recall", pred, gt)


def f1(pred: Masks, gt: Masks) -> float | None:
    """Harmonic mean of precision and recall, 2 IoU / (1 + IoU); None where neither mask has foreground."""
    return _figure("f1", pred, gt)


def _figure(name: str, pred: Masks, gt: Masks, profile: Profile = "strict") -> float | None:
    return or_none(pixel_figures(_totals(pred, gt), profile)[name])


def _totals(pred: Masks, gt: Masks) -> np.ndarray:
    return add_up((count_pixels(p, t) for p, t in iter_pairs(pred, gt)), len(PixelCounts._fields))


class TallyMetric(Metric):
    """Base of the metrics here: whole numbers that sum over batches and processes."""

    full_state_update = False
    is_differentiable = False
    fields: tuple[str, ...]
    """What is counted, in the order of `totals`."""

    def __init__(self, profile: Profile = "strict", **kwargs: Any) -> None:
        """Start at zero; further arguments go to `torchmetrics.Metric`."""
        check_profile(profile)
        super().__init__(**kwargs)
        self.profile: Profile = profile
        # Named by profile: a MetricCollection updates metrics whose states are alike after the first batch
        # only once.
        self._state = f"{profile}_totals"
        self.add_state(self._state, torch.zeros(len(self.fields), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def totals(self) -> torch.Tensor:
        """(n,) int64, `fields` in order."""
        return getattr(self, self._state)

    def update(self, pred: Masks, gt: Masks) -> None:
        """Add images; see `iter_pairs`."""
        new = torch.from_numpy(self._count(pred, gt)).to(self.totals.device)
        setattr(self, self._state, self.totals + new)

    def _count(self, pred: Masks, gt: Masks) -> np.ndarray:
        """(n,) int64, `fields` of these images."""
        raise NotImplementedError


class PixelMetric(TallyMetric):
    """Base of the pixel metrics."""

    higher_is_better = True
    fields = PixelCounts._fields
    figure: str
    """Which of `pixel_figures`."""

    def compute(self) -> torch.Tensor:
        """The figure as a float64 scalar on the CPU; NaN where undefined."""
        value = pixel_figures(self.totals.cpu().numpy(), self.profile)[self.figure]
        return torch.tensor(float(value), dtype=torch.float64)

    def _count(self, pred: Masks, gt: Masks) -> np.ndarray:
        return _totals(pred, gt)


class IoU(PixelMetric):
    """`iou` as a torchmetric."""

    figure = "iou"


class NIoU(PixelMetric):
    """`niou` as a torchmetric."""

    figure = "niou"


class Precision(PixelMetric):
    """`precision` as a torchmetric."""

    figure = "precision"


class Recall(PixelMetric):
    """`recall` as a torchmetric."""

    figure = "recall"


class F1(PixelMetric):
    """`f1` as a torchmetric."""

    figure = "f1"


def _as_list(masks: Masks, name: str) -> list[Any]:
    if isinstance(masks, np.ndarray | torch.Tensor):
        if masks.ndim not in (2, 3):
            raise ValueError(
                f"{name} has shape {tuple(masks.shape)}; expected (height, width), "
                "(images, height, width) or a sequence of (height, width)"
            )
        return [masks] if masks.ndim == 2 else list(masks)
    return list(masks)


def _as_array(mask: np.ndarray | torch.Tensor, what: str) -> np.ndarray:
    array = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{what} has shape {array.shape}; expected (height, width) and at least one pixel")
    return array


def _as_bool(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype == bool:
        return array
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(
            f"{what} holds values other than 0 and 1; expected a mask - "
            "put probabilities through prob_to_mask first"
        )
    return array != 0


def _size(mask: np.ndarray) -> str:
    return f"{mask.shape[1]}x{mask.shape[0]}"
