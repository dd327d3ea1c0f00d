"""How far an exported network is from the original: logits, and for int8 the loss of accuracy."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from samspl.errors import ExportError
from samspl.export.images import ExportImage, prepare
from samspl.metrics import score
from samspl.postprocess import logits_to_prob, prob_to_mask, to_source_size
from samspl.preprocess import Preprocess

LARGEST_DIFFERENCE = 1e-3
"""Of fp32 logits; beyond it the export has failed."""
LARGEST_LOSS_POINTS = 0.5
"""Of Pd and IoU, in percentage points; beyond it int8 has failed."""

Run = Callable[[np.ndarray], np.ndarray]
"""(1, 3, N, N) float32 to logits (1, 1, N, N) float32."""


def largest_difference(reference: Run, exported: Run, inputs: Iterable[np.ndarray]) -> float:
    """Largest absolute difference of logits over all inputs.

    Raises:
        ExportError: if either gives values that are not finite.
    """
    largest = 0.0
    for values in inputs:
        one, other = reference(values), exported(values)
        for what, logits in (("the network", one), ("the exported file", other)):
            if not np.isfinite(logits).all():
                raise ExportError(f"{what} gives NaN or infinite logits; check the weights")
        largest = max(largest, float(np.abs(one - other).max()))
    return largest


@dataclass(frozen=True)
class Accuracy:
    """Strict figures of one network on the held-back images."""

    iou: float | None
    """Fraction; None without foreground in truth and prediction."""
    pd: float | None
    """Fraction; None without targets."""
    fa: float | None
    """False pixels over all pixels."""


@dataclass(frozen=True)
class AccuracyLoss:
    """What a network loses by its export."""

    reference: Accuracy
    """Of the torch network; 1 and 1 where its own output is the truth."""
    exported: Accuracy
    """Of the exported file."""
    images: int
    """Measured on so many."""
    has_masks: bool
    """Whether the truth is that of mask files, or the torch network's own output."""

    @property
    def points(self) -> tuple[float | None, float | None]:
        """Loss of IoU and of Pd in percentage points, negative for a gain; None where nothing was to be measured."""
        return (
            _loss(self.reference.iou, self.exported.iou),
            _loss(self.reference.pd, self.exported.pd),
        )

    @property
    def is_small(self) -> bool:
        """Whether both were measured and lie within the limit."""
        # counts of pixels divided: what is 0.5 on paper may come as 0.5000000001
        return all(points is not None and points <= LARGEST_LOSS_POINTS + 1e-9 for points in self.points)


def measure_loss(
    reference: Run,
    exported: Run,
    images: Iterable[ExportImage],
    preprocess: Preprocess,
    size: int,
    threshold: float,
) -> AccuracyLoss:
    """Score both networks on the same images, at the images' own sizes.

    Args:
        reference: The torch network.
        exported: The exported file.
        images: All with masks, or all without; then the reference's output is the truth.
        preprocess: Of the network.
        size: Side of its input.
        threshold: Probability above which a pixel is target.
    Raises:
        ExportError: for logits that are not finite.
        ImageError: for an image that cannot be used.
    """
    truth: list[np.ndarray] = []
    masks: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    has_masks = True
    for image in images:
        part, prepared = prepare(image, preprocess, size)
        for run, found in zip((reference, exported), masks, strict=True):
            try:
                prob = logits_to_prob(run(prepared.values[None])[0, 0])
            except ValueError as err:
                raise ExportError(f"{part.id}: {err}") from err
            found.append(prob_to_mask(to_source_size(prob, prepared.geometry), threshold))
        has_masks = has_masks and part.mask is not None
        truth.append(masks[0][-1] if part.mask is None else part.mask)
    accuracies = []
    for found in masks:
        scores = score(found, truth, profile="strict")
        accuracies.append(Accuracy(scores.iou, scores.pd, scores.fa))
    return AccuracyLoss(accuracies[0], accuracies[1], len(truth), has_masks)


def _loss(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else 100 * (before - after)
