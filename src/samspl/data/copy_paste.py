"""Target copy-paste: crops of targets, kept in memory, are pasted at random places of other images.

The published code opens two PNG files a paste, up to 100 pastes an image; here all crops of a data set are
read once (about 0.1 MB for IRSTD-1k). Crops come from the folders ``Target_image`` and ``Target_mask``, or
are cut from the training masks in the same way: tight bounding boxes of 8-connected components.

Crops must have the range of the images they are pasted into, which is that of `Preprocess.to_byte_range`.
Crops cut from training images are cut after that step. Crops from folders have lost their frame: 8-bit ones
are taken as they are, deeper ones are refused; for frame statistics they are normalised by the data set's
mean and standard deviation, as if cut from its average frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from samspl.data.dataset import InfraredDataset, find_files
from samspl.data.specs import DatasetSpec
from samspl.data.transforms import Arrays, Blur, Compose, Flips, Mirror, Resize, ScaleCrop, Transform
from samspl.errors import DatasetError
from samspl.imaging import read_image, read_mask
from samspl.preprocess import Preprocess

MAX_PASTES = 100
"""Largest number of crops pasted into one image."""


class TargetCrop(NamedTuple):
    """The box around one target."""

    values: np.ndarray
    """(h, w) in the range of `Preprocess.to_byte_range`."""
    mask: np.ndarray
    """(h, w) bool; other targets that reach into the box included."""


@dataclass(frozen=True)
class CopyPaste:
    """With probability 0.5 paste 1 to 100 crops; each whole box replaces image and mask.

    The top-left corner is uniform over the image; parts outside are cut off, later pastes cover earlier ones.
    """

    crops: Sequence[TargetCrop]
    """At least one."""

    def __post_init__(self) -> None:
        if not self.crops:
            raise ValueError("crops is empty; expected at least one target to paste")

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Paste into copies of both, or leave them."""
        if rng.random() >= 0.5:
            return image, mask
        height, width = image.shape
        count = int(rng.integers(1, MAX_PASTES, endpoint=True))
        chosen = rng.integers(0, len(self.crops), count).tolist()
        tops = rng.integers(0, height, count).tolist()
        lefts = rng.integers(0, width, count).tolist()
        image, mask = image.copy(), mask.copy()
        for index, top, left in zip(chosen, tops, lefts, strict=True):
            values, shape = self.crops[index]
            h, w = values.shape
            if top + h > height or left + w > width:
                values, shape = values[: height - top, : width - left], shape[: height - top, : width - left]
            if image.dtype == np.uint8 and values.dtype != np.uint8:
                values = np.rint(values.clip(0, 255))  # a crop of a deep frame in a data set of mixed depths
            image[top : top + h, left : left + w] = values
            mask[top : top + h, left : left + w] = shape
        return image, mask


def load_crops(folder: Path, spec: DatasetSpec, preprocess: Preprocess) -> tuple[TargetCrop, ...]:
    """Read the crops of ``Target_image/`` and ``Target_mask/`` below a folder.

    Args:
        folder: The data set's folder, or another that holds the two.
        spec: Says which mask values are target, and mean and std for frame statistics.
        preprocess: Of the images that the crops will be pasted into.
    Returns:
        Crops sorted by name; none if the folders are not there.
    Raises:
        DatasetError: if crops and masks do not belong together, or a crop has more than 8 bits.
        ImageError: if a file is damaged.
    """
    images = find_files(folder, ("Target_image/{id}.*",))
    masks = find_files(folder, ("Target_mask/{id}.*",))
    if alone := sorted(images.keys() ^ masks.keys()):
        raise DatasetError(
            f"{len(alone)} crops of {folder} are in only one of Target_image and Target_mask "
            f"({', '.join(alone[:3])}); add or remove the others"
        )
    crops = []
    for name, path in images.items():
        values, grey_mask = read_image(path), read_mask(masks[name])
        if values.shape != grey_mask.shape:
            raise DatasetError(
                f"crop {path} and mask {masks[name]} differ in size; both must be the same box"
            )
        if values.dtype != np.uint8:
            raise DatasetError(
                f"crop {path} is {values.dtype}; without its frame only 8-bit values have a meaning, "
                "remove Target_image to have crops cut from the training images"
            )
        if preprocess.normalise == "frame":
            mean, std = float(np.mean(spec.mean)), float(np.mean(spec.std))
            values = ((values - mean) / std).astype(np.float32)
        crops.append(TargetCrop(values, spec.binarise(grey_mask)))
    return tuple(crops)


def cut_crops(dataset: InfraredDataset, preprocess: Preprocess) -> tuple[TargetCrop, ...]:
    """Cut a crop around every target of a data set's split, in order of ids and rows.

    Args:
        dataset: The training split; that of a test would let it be learnt.
        preprocess: Of the images that the crops will be pasted into.
    Raises:
        DatasetError: if no mask holds a target.
        ImageError: if a file is damaged.
    """
    crops = []
    for index in range(len(dataset)):
        pair = dataset.read(index)
        labels, count = ndimage.label(pair.mask, structure=np.ones((3, 3)))
        values = preprocess.to_byte_range(pair.image) if count else pair.image
        crops += [
            TargetCrop(values[box].copy(), pair.mask[box].copy()) for box in ndimage.find_objects(labels)
        ]
    if not crops:
        raise DatasetError(f"no mask of {dataset.split.path} holds a target; nothing can be pasted")
    return tuple(crops)


def find_crops(dataset: InfraredDataset, preprocess: Preprocess) -> tuple[TargetCrop, ...]:
    """Crops of the data set's own folders if it has them, else cut from the training masks.

    Raises:
        DatasetError: as `load_crops` and `cut_crops`.
        ImageError: if a file is damaged.
    """
    return load_crops(dataset.root, dataset.spec, preprocess) or cut_crops(dataset, preprocess)


def build_augmentation(
    spec: DatasetSpec, image_size: int, crops: Sequence[TargetCrop] | None = None
) -> Compose:
    """The published augmentation of a data set.

    Args:
        spec: Names it.
        image_size: Side of the result in pixels.
        crops: Targets to paste, see `find_crops`; needed by ``scale_crop_paste`` and by no other.
    Raises:
        ValueError: if crops are needed and missing, or given and not used.
    """
    if (spec.augmentation == "scale_crop_paste") != (crops is not None):
        needs = "needs crops" if crops is None else "pastes no crops"
        raise ValueError(f"augmentation {spec.augmentation!r} of {spec.name} {needs}")
    if spec.augmentation == "flip":
        return Compose((Resize(image_size, spec.mask_resize), Flips()))
    steps: tuple[Transform, ...] = (Mirror(), ScaleCrop(image_size), Blur())
    return Compose(steps if crops is None else (*steps, CopyPaste(crops)))
