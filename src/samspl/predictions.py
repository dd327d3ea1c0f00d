"""Prediction files of any program beside the true masks, as input for scoring."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from samspl.errors import DatasetError
from samspl.imaging import IMAGE_SUFFIXES, read_image, read_mask

MASK_VALUE = 127
"""Mask files show a target where the grey value reaches this, as published."""


class PredictedSample(NamedTuple):
    """A true mask with the prediction of another program; serves as its own `Sample`."""

    id: str
    """File name without suffix."""
    image: np.ndarray
    """(H, W); the probabilities where there is no image."""
    mask: np.ndarray
    """(H, W) bool."""
    prob: np.ndarray
    """(H, W) float32, 0..1; a mask is 0 and 1."""


def read_predictions(
    predictions_dir: Path, masks_dir: Path, images_dir: Path | None = None
) -> Iterator[PredictedSample]:
    """Read mask or probability files of any program beside the true masks.

    A prediction has the name of its mask, with or without NUAA-SIRST's ``_pixels0``; the suffix may differ.
    Integer files are divided by the largest value of their type (files that hold only 0 and 1 are masks),
    float files hold probabilities.

    Args:
        predictions_dir: One file for each mask.
        masks_dir: True masks: target where the grey value is at least 127, or where 0/1 masks are 1.
        images_dir: Images, for signal-to-clutter ratios; None: none.
    Yields:
        Samples by name.
    Raises:
        DatasetError: for a folder without masks, missing predictions (the first named), sizes that differ, or
            probabilities outside 0..1.
        ImageError: for a file that cannot be read.
    """
    masks = _files_by_id(masks_dir)
    if not masks:
        raise DatasetError(f"{masks_dir} holds no mask files; expected images such as ID.png")
    predictions = _files_by_id(predictions_dir)
    missing = sorted(set(masks) - set(predictions))
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(masks)} masks have no prediction in {predictions_dir} "
            f"(first: {missing[0]}); expected a file of the same name for each"
        )
    images = _files_by_id(images_dir) if images_dir is not None else {}
    for name, mask_path in sorted(masks.items()):
        grey = read_mask(mask_path)
        mask = grey >= MASK_VALUE if grey.max() > 1 else grey > 0
        prob = _read_prob(predictions[name])
        if prob.shape != mask.shape:
            raise DatasetError(
                f"{predictions[name]} is {_size(prob)}, its mask {mask_path} {_size(mask)}; "
                "expected the same size"
            )
        yield PredictedSample(name, read_image(images[name]) if name in images else prob, mask, prob)


def _files_by_id(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; expected a folder of image files")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            name = path.stem.removesuffix("_pixels0")
            if name in found:
                raise DatasetError(f"{found[name]} and {path} stand for the same image; keep one of them")
            found[name] = path
    return found


def _read_prob(path: Path) -> np.ndarray:
    values = read_image(path)
    if values.dtype.kind == "f":
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):  # also false for NaN
            raise DatasetError(
                f"{path} holds values from {low} to {high}; expected probabilities within 0..1"
            )
        return values.astype(np.float32)
    if values.min() < 0:
        raise DatasetError(f"{path} holds negative values; expected a mask or probabilities")
    largest = 1 if values.max() <= 1 else np.iinfo(values.dtype).max
    return (values / largest).astype(np.float32)


def _size(values: np.ndarray) -> str:
    return f"{values.shape[1]}x{values.shape[0]}"
