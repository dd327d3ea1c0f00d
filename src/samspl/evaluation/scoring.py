"""Scores of anything that turns images into logits, and of finished predictions, under both profiles.

`published` scores at the network's evaluation size, logits against the resized mask; `strict` at each
image's own size. Every back end comes through here, so that all are judged by the same code.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch

from samspl.errors import DatasetError, SamsplError
from samspl.evaluation.result import EvaluationResult, ProfileResult, TargetTable
from samspl.imaging import resize
from samspl.metrics.curves import PdFaCurve
from samspl.metrics.pixel import PROFILES, Profile, check_profile
from samspl.metrics.suite import COUNT_FIELDS, count_and_match, scores_from_counts
from samspl.postprocess import (
    DEFAULT_THRESHOLD,
    check_threshold,
    crop_padding,
    logits_to_prob,
    prob_to_mask,
    to_source_size,
)
from samspl.predictions import PredictedSample, Sample
from samspl.preprocess import Prepared, Preprocess
from samspl.targets import find_targets

MaskResize = Literal["nearest", "bilinear_positive"]
"""How masks come to the evaluation size: nearest, or (NUDT-SIRST) bilinear and then everything above 0."""

Predict = Callable[[torch.Tensor], Any]
"""(B, 3, H, W) float32 -> logits (B, 1, H, W), tensor or array; of a tuple the first entry counts (finest
first)."""
OnImage = Callable[[Sample, np.ndarray, np.ndarray], None]
"""Called with the sample, its (H, W) float32 probabilities and its (H, W) bool mask at native size."""


def evaluate(
    predict: Predict,
    samples: Iterable[Sample],
    preprocess: Preprocess,
    threshold: float = DEFAULT_THRESHOLD,
    profiles: Sequence[Profile] = PROFILES,
    mask_resize: MaskResize = "nearest",
    batch_size: int = 1,
    progress: Callable[[int], None] | None = None,
    on_image: OnImage | None = None,
    curve_thresholds: Sequence[float] | None = None,
) -> EvaluationResult:
    """Score a predictor on images with masks.

    Args:
        predict: From network input to logits; runs without gradients.
        samples: Images with masks; read once, one batch at a time.
        preprocess: Makes network input and says at what size `published` scores.
        threshold: Between 0 and 1, both excluded.
        profiles: `published`, `strict` or both.
        mask_resize: How masks come to the evaluation size.
        batch_size: Images of equal input size that are predicted together; others are not mixed.
        progress: Called with the number of images done so far.
        on_image: Called for every image, for overlays and the like.
        curve_thresholds: Where to take the curve; None: no curve.
    Returns:
        Scores, rows and targets.
    Raises:
        ValueError: for an argument out of range.
        DatasetError: without images, or for a mask of another size than its image.
        SamsplError: for predictions of the wrong shape or that are not finite, naming the image.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    if mask_resize not in ("nearest", "bilinear_positive"):
        raise ValueError(f"mask_resize is {mask_resize!r}; expected 'nearest' or 'bilinear_positive'")
    tally = _Tally(threshold, profiles, curve_thresholds)
    for batch in _batches(samples, preprocess, batch_size):
        values = torch.from_numpy(np.stack([prepared.values for _, prepared in batch]))
        with torch.inference_mode():
            logits = _checked_logits(predict(values), tuple(values.shape))
        for (sample, prepared), own_logits in zip(batch, logits, strict=True):
            try:
                prob = logits_to_prob(own_logits[0])
            except ValueError as err:
                raise SamsplError(f"prediction for {sample.id}: {err}") from err
            content = crop_padding(prob, prepared.geometry.content_hw)
            content_gt = _resize_mask(sample.mask, prepared.geometry.content_hw, mask_resize)
            native = to_source_size(prob, prepared.geometry)
            mask = tally.add(sample, native, content, content_gt, sample.image)
            if on_image is not None:
                on_image(sample, native, mask)
            if progress is not None:
                progress(len(tally.ids))
    return tally.result(preprocess.image_size)


def evaluate_predictions(
    samples: Iterable[PredictedSample],
    threshold: float = DEFAULT_THRESHOLD,
    profiles: Sequence[Profile] = PROFILES,
    on_image: OnImage | None = None,
    curve_thresholds: Sequence[float] | None = None,
) -> EvaluationResult:
    """Score finished predictions; both profiles at the size of the masks, since no other is known.

    Args:
        samples: True masks with predictions, see `predictions.read_predictions`.
        threshold: Between 0 and 1, both excluded.
        profiles: `published`, `strict` or both.
        on_image: Called for every image.
        curve_thresholds: Where to take the curve; None: no curve.
    Raises:
        DatasetError: without images, or for sizes that differ.
        ValueError: for an argument out of range.
    """
    tally = _Tally(threshold, profiles, curve_thresholds)
    for sample in samples:
        image = sample.image if sample.has_image else None
        mask = tally.add(sample, sample.prob, sample.prob, sample.mask, image)
        if on_image is not None:
            on_image(sample, sample.prob, mask)
    return tally.result(None)


class _Tally:
    """Counts of the images so far, as compact integers."""

    def __init__(
        self, threshold: float, profiles: Sequence[Profile], curve_thresholds: Sequence[float] | None
    ) -> None:
        check_threshold(threshold)
        if not profiles:
            raise ValueError(f"no profile was asked for; expected some of {', '.join(PROFILES)}")
        for profile in profiles:
            check_profile(profile)
        self.threshold = threshold
        self.ids: list[str] = []
        self.counts: dict[Profile, array[int]] = {profile: array("q") for profile in profiles}
        self.target_image, self.target_area, self.target_hit = array("q"), array("q"), array("b")
        self.target_xy, self.target_scr = array("d"), array("d")
        self.curve = None if curve_thresholds is None else PdFaCurve(curve_thresholds)

    def add(
        self,
        sample: Sample,
        native: np.ndarray,
        content: np.ndarray,
        content_gt: np.ndarray,
        image: np.ndarray | None,
    ) -> np.ndarray:
        """Count one image and return its predicted mask at native size; without image there is no contrast."""
        for what, shape in (("image", sample.image.shape), ("prediction", native.shape)):
            if sample.mask.shape != shape:
                raise DatasetError(
                    f"{sample.id}: the {what} has shape {shape}, its mask {sample.mask.shape}; "
                    "expected the same"
                )
        mask = prob_to_mask(native, self.threshold)
        if "published" in self.counts:
            self._count("published", prob_to_mask(content, self.threshold), content_gt)
        if "strict" in self.counts:
            is_hit = self._count("strict", mask, sample.mask)
            for target, hit in zip(find_targets(sample.mask, image=image), is_hit.tolist(), strict=True):
                self.target_image.append(len(self.ids))
                self.target_xy.extend(target.centroid_xy)
                self.target_area.append(target.area_px)
                self.target_scr.append(np.nan if target.scr is None else target.scr)
                self.target_hit.append(hit)
        if self.curve is not None:
            self.curve.update(native, sample.mask)
        self.ids.append(sample.id)
        return mask

    def _count(self, profile: Profile, pred: np.ndarray, gt: np.ndarray) -> np.ndarray:
        counts, is_hit = count_and_match(pred, gt, profile)
        self.counts[profile].extend(counts)
        return is_hit

    def result(self, image_size: int | None) -> EvaluationResult:
        """Everything so far.

        Raises:
            DatasetError: without images.
        """
        if not self.ids:
            raise DatasetError("there is no image to evaluate; expected at least one pair of image and mask")
        ids = tuple(self.ids)
        profiles = {}
        for name, flat in self.counts.items():
            counts = np.array(flat, np.int64).reshape(-1, len(COUNT_FIELDS))
            scores = scores_from_counts(counts.sum(axis=0), name)
            profiles[name] = ProfileResult(scores, image_size if name == "published" else None, ids, counts)
        targets = TargetTable(
            np.array(self.target_image, np.int64),
            np.array(self.target_xy, np.float64).reshape(-1, 2),
            np.array(self.target_area, np.int64),
            np.array(self.target_scr, np.float64),
            np.array(self.target_hit, bool),
        )
        curve = None if self.curve is None else self.curve.compute()
        return EvaluationResult(self.threshold, profiles, targets, curve)


def _batches(
    samples: Iterable[Sample], preprocess: Preprocess, batch_size: int
) -> Iterator[list[tuple[Sample, Prepared]]]:
    batch: list[tuple[Sample, Prepared]] = []
    for sample in samples:
        prepared = preprocess(sample.image)
        if batch and (len(batch) == batch_size or batch[0][1].values.shape != prepared.values.shape):
            yield batch
            batch = []
        batch.append((sample, prepared))
    if batch:
        yield batch


def _checked_logits(output: Any, input_shape: tuple[int, ...]) -> torch.Tensor:
    logits = torch.as_tensor(output[0] if isinstance(output, tuple | list) else output)
    expected = (input_shape[0], 1, *input_shape[2:])
    if tuple(logits.shape) != expected:
        raise SamsplError(
            f"the predictor gave shape {tuple(logits.shape)} for input {input_shape}; "
            f"expected logits of {expected}"
        )
    return logits


def _resize_mask(mask: np.ndarray, size_hw: tuple[int, int], method: MaskResize) -> np.ndarray:
    if method == "nearest":
        return resize(mask, size_hw, "nearest")
    return resize(np.where(mask, np.uint8(255), np.uint8(0)), size_hw, "bilinear") > 0
