"""Prediction files of any program beside the true masks, as input for scoring."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from samspl.errors import DatasetError
from samspl.imaging import IMAGE_SUFFIXES, read_image, read_mask

MASK_VALUE = 127
"""Mask files show a target where the grey value reaches this, as published."""


class PredictedSample(NamedTuple):
    """A true mask with the prediction of another program; serves as its own `Sample`."""

    id: str
    """File name without suffix, below its folder."""
    image: np.ndarray
    """(H, W); the probabilities where there is no image."""
    mask: np.ndarray
    """(H, W) bool."""
    prob: np.ndarray
    """(H, W) float32, 0..1; a mask is 0 and 1."""
    has_image: bool = True
    """Whether the image is one."""


def _files_by_id(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; expected a folder of image files")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            name = path.relative_to(folder).with_suffix("").as_posix().removesuffix("_pixels0")
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


def _require(files: Mapping[str, Path], ids: Sequence[str], what: str, folder: Path) -> None:
    missing = [name for name in ids if name not in files]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(ids)} {what} in {folder} "
            f"(first: {missing[0]}); expected a file of the same name for each"
        )


def _read_prob_of(path: Path, mask: np.ndarray, mask_path: Path) -> np.ndarray:
    prob = _read_prob(path)
    if prob.shape != mask.shape:
        raise DatasetError(
            f"{path} is {_size(prob)}, its mask {mask_path} {_size(mask)}; expected the same size"
        )
    return prob


class PredictionFiles:
    """Prediction files of any program beside folders of true masks, found at once and read one by one.

    A prediction has the name of its mask, with or without NUAA-SIRST's ``_pixels0``; the suffix may differ.
    Integer files are divided by the largest value of their type (files that hold only 0 and 1 are masks),
    float files hold probabilities.

    Args:
        predictions_dir: One file for each mask that is scored.
        masks_dir: True masks: target where the grey value is at least 127, or where 0/1 masks are 1.
        images_dir: Images, for signal-to-clutter ratios; None: none.
        ids: Which masks are scored, in this order; None: all, by name.
    Raises:
        DatasetError: for a folder without masks, or missing files (the first named).
    """

    def __init__(
        self,
        predictions_dir: Path,
        masks_dir: Path,
        images_dir: Path | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        self._masks = _files_by_id(masks_dir)
        if not self._masks:
            raise DatasetError(f"{masks_dir} holds no mask files; expected images such as ID.png")
        self.ids = tuple(sorted(self._masks)) if ids is None else tuple(ids)
        _require(self._masks, self.ids, "images of the list have no mask", masks_dir)
        self._predictions = _files_by_id(predictions_dir)
        _require(self._predictions, self.ids, "masks have no prediction", predictions_dir)
        self._images = None if images_dir is None else _files_by_id(images_dir)
        if self._images is not None and images_dir is not None:
            _require(self._images, self.ids, "masks have no image", images_dir)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> PredictedSample:
        """Read one image's files.

        Raises:
            DatasetError: for sizes that differ, or probabilities outside 0..1.
            ImageError: for a file that cannot be read.
        """
        name = self.ids[index]
        grey = read_mask(self._masks[name])
        mask = grey >= MASK_VALUE if grey.max() > 1 else grey > 0
        prob = _read_prob_of(self._predictions[name], mask, self._masks[name])
        if self._images is None:
            return PredictedSample(name, prob, mask, prob, has_image=False)
        return PredictedSample(name, read_image(self._images[name]), mask, prob)


class MaskedImage(Protocol):
    """An image with its mask; `data.dataset.Pair` is one."""

    @property
    def id(self) -> str:
        """Name in the split list."""

    @property
    def image(self) -> np.ndarray:
        """(H, W) of any type."""

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool."""

    @property
    def mask_path(self) -> Path:
        """Where the mask was read from."""


class MaskedImages(Protocol):
    """The images of a split; `data.dataset.InfraredDataset` is one."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Names in list order."""

    def read(self, index: int) -> MaskedImage:
        """Read one of them."""


class DatasetPredictions:
    """Prediction files of any program for a split of a data set, whose rules say what the masks mean.

    Args:
        predictions_dir: One file for each image of the split, as `PredictionFiles` takes them.
        dataset: The split.
    Raises:
        DatasetError: for missing files (the first named).
    """

    def __init__(self, predictions_dir: Path, dataset: MaskedImages) -> None:
        self.ids = dataset.ids
        self._dataset = dataset
        self._predictions = _files_by_id(predictions_dir)
        _require(self._predictions, self.ids, "images have no prediction", predictions_dir)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> PredictedSample:
        """Read one image with mask and prediction; raises as `PredictionFiles.read`."""
        pair = self._dataset.read(index)
        prob = _read_prob_of(self._predictions[pair.id], pair.mask, pair.mask_path)
        return PredictedSample(pair.id, pair.image, pair.mask, prob)


def read_predictions(
    predictions_dir: Path, masks_dir: Path, images_dir: Path | None = None
) -> Iterator[PredictedSample]:
    """Samples of `PredictionFiles` by name, read as they are asked for."""
    files = PredictionFiles(predictions_dir, masks_dir, images_dir)
    return (files.read(index) for index in range(len(files)))
