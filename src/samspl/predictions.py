"""Prediction files of any program beside the true masks, as input for scoring."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from samspl.errors import ConfigError, DatasetError, ImageError
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
        raise ConfigError(f"{folder} is no folder; expected a folder of image files")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            name = path.relative_to(folder).with_suffix("").as_posix().removesuffix("_pixels0")
            if name in found:
                raise DatasetError(f"{found[name]} and {path} stand for the same image; keep one of them")
            found[name] = path
    return found


def _size(values: np.ndarray) -> str:
    return f"{values.shape[1]}x{values.shape[0]}"


def _require(files: Mapping[str, Path], ids: Sequence[str], what: str, folder: Path) -> None:
    missing = [name for name in ids if name not in files]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(ids)} {what} in {folder} "
            f"(first: {missing[0]}); expected a file of the same name for each"
        )


class _Predictions:
    """The prediction files of a folder; what integers mean is decided by all files of a type together.

    One file alone cannot tell: the 8-bit map of an empty sky may hold 0 and 1, as a mask does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = _files_by_id(folder)
        self._full_of: dict[np.dtype[Any], int] = {}

    def read(self, name: str, mask: np.ndarray, mask_path: Path) -> np.ndarray:
        """Probabilities of one image, (H, W) float32, which must have the size of its mask."""
        path = self.files[name]
        values = read_image(path)
        if values.shape != mask.shape:
            raise DatasetError(
                f"{path} is {_size(values)}, its mask {mask_path} {_size(mask)}; expected the same size"
            )
        low, high = values.min(), values.max()
        if values.dtype.kind == "f":
            if not (low >= 0 and high <= 1):  # also false for NaN
                raise DatasetError(
                    f"{path} holds values from {low} to {high}; expected probabilities within 0..1"
                )
            return values.astype(np.float32)
        if low < 0:
            raise DatasetError(f"{path} holds negative values; expected a mask or probabilities")
        if values.dtype not in self._full_of:
            self._full_of[values.dtype] = self._find_full(values.dtype)
        return (values / self._full_of[values.dtype]).astype(np.float32)

    def _find_full(self, dtype: np.dtype[Any]) -> int:
        """The value that means 1 in all files of an integer type; reads no more files than it takes."""
        by_value: dict[int, Path] = {}  # of masks, the value of targets
        largest, has_zero, many = 0, False, None
        for path in self.files.values():
            try:
                values = read_image(path)
            except ImageError:  # refused when it is its turn, if it is scored at all
                continue
            if values.dtype != dtype:
                continue
            low, high = int(values.min()), int(values.max())
            largest, has_zero = max(largest, high), has_zero or low == 0
            if ((values != 0) & (values != high)).any():
                many = many or path
            elif high:
                by_value.setdefault(high, path)
            if many is not None and (largest > 255 or dtype != np.uint16):
                break
        if many is None and len(by_value) < 2 and has_zero:
            return largest or 1
        if many is None and has_zero:
            (first, a), (second, b) = list(by_value.items())[:2]
            raise DatasetError(
                f"{a} holds 0 and {first} alone, {b} 0 and {second}, so that they may be masks or probabilities; "
                "write all masks with the same value, or probabilities as float files"
            )
        if dtype == np.uint8 or (dtype == np.uint16 and largest > 255):
            return int(np.iinfo(dtype).max)
        what = f"no value above {largest}" if dtype == np.uint16 else "more values than 0 and one other"
        raise DatasetError(
            f"{many or self.folder} is one of the {dtype} files of its folder, which hold {what}, so that it is "
            "unknown what value means 1; write probabilities as float files, or as 8-bit files from 0 to 255"
        )


class PredictionFiles:
    """Prediction files of any program beside folders of true masks, found at once and read one by one.

    A prediction has the name of its mask, with or without NUAA-SIRST's ``_pixels0``; the suffix may differ.
    Float files hold probabilities. Integer files of one type are judged together, all that are in the folder: if
    they hold 0 and one other value, the same in all, they are masks; else 8-bit values are divided by 255
    and 16-bit ones by 65535. Refused are masks with different values, 16-bit files without a value above
    255, and types that are wider or signed, unless they are masks.

    Args:
        predictions_dir: One file for each mask that is scored.
        masks_dir: True masks: target where the grey value is at least 127, or where 0/1 masks are 1.
        images_dir: Images, for signal-to-clutter ratios; None: none.
        ids: Which masks are scored, in this order; None: all, by name.
    Raises:
        ConfigError: for a folder that is none.
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
        self._predictions = _Predictions(predictions_dir)
        _require(self._predictions.files, self.ids, "masks have no prediction", predictions_dir)
        self._images = None if images_dir is None else _files_by_id(images_dir)
        if self._images is not None and images_dir is not None:
            _require(self._images, self.ids, "masks have no image", images_dir)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> PredictedSample:
        """Read one image's files.

        Raises:
            DatasetError: for sizes that differ, probabilities outside 0..1, or integers of unknown meaning.
            ImageError: for a file that cannot be read.
        """
        name = self.ids[index]
        grey = read_mask(self._masks[name])
        mask = grey >= MASK_VALUE if grey.max() > 1 else grey > 0
        prob = self._predictions.read(name, mask, self._masks[name])
        if self._images is None:
            return PredictedSample(name, prob, mask, prob, has_image=False)
        return PredictedSample(name, read_image(self._images[name]), mask, prob)


class Sample(Protocol):
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


class MaskedImage(Sample, Protocol):
    """A sample whose mask lies in a file."""

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
        ConfigError: for a folder that is none.
        DatasetError: for missing files (the first named).
    """

    def __init__(self, predictions_dir: Path, dataset: MaskedImages) -> None:
        self.ids = dataset.ids
        self._dataset = dataset
        self._predictions = _Predictions(predictions_dir)
        _require(self._predictions.files, self.ids, "images have no prediction", predictions_dir)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> PredictedSample:
        """Read one image with mask and prediction; raises as `PredictionFiles.read`."""
        pair = self._dataset.read(index)
        prob = self._predictions.read(pair.id, pair.mask, pair.mask_path)
        return PredictedSample(pair.id, pair.image, pair.mask, prob)


def read_predictions(
    predictions_dir: Path, masks_dir: Path, images_dir: Path | None = None
) -> Iterator[PredictedSample]:
    """Samples of `PredictionFiles` by name, read as they are asked for."""
    files = PredictionFiles(predictions_dir, masks_dir, images_dir)
    return (files.read(index) for index in range(len(files)))
