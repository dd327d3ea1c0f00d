"""Images that an export is calibrated and checked on: the user's, or synthetic scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samspl.data.dataset import find_files, read_pair
from samspl.data.specs import DatasetSpec, get_spec
from samspl.data.synthetic import draw_scene
from samspl.errors import ConfigError, ImageError
from samspl.imaging import IMAGE_SUFFIXES, read_image
from samspl.preprocess import Prepared, Preprocess

CALIBRATION_IMAGES = 100
"""So many images give the ranges of values; more change them little."""
HELD_BACK_IMAGES = 200
"""So many at most are kept from calibration and measured on."""
LEAST_IMAGES = 4
"""Fewer cannot be divided into two parts that mean anything."""
SYNTHETIC_SCENES = 8
_SEED = 2727


@dataclass(frozen=True, eq=False)
class ExportImage:
    """An image, with its mask where there is one."""

    id: str
    """Name below its folder."""
    image: np.ndarray
    """(H, W), type as stored."""
    mask: np.ndarray | None
    """(H, W) bool, true on targets."""


class ImageFolder:
    """The images of a folder; in the standard layout (`images/`, `masks/`) those with a mask, if there are any."""

    def __init__(self, folder: Path) -> None:
        """Looks for files, reads none.

        Raises:
            ConfigError: for a folder that is missing or holds too few images.
        """
        if not folder.is_dir():
            raise ConfigError(f"folder {folder} does not exist; give a folder of images to calibrate on")
        self._spec: DatasetSpec = get_spec(folder)
        images, masks = find_files(folder, self._spec.images), find_files(folder, self._spec.masks)
        self._paths: dict[str, tuple[Path, Path | None]] = {
            name: (path, masks[name]) for name, path in images.items() if name in masks
        }
        if not self._paths:
            files = list(images.values()) or sorted(
                p
                for p in folder.rglob("*")
                if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
            )
            self._paths = {path.relative_to(folder).as_posix(): (path, None) for path in files}
        if len(self._paths) < LEAST_IMAGES:
            raise ConfigError(
                f"folder {folder} holds {len(self._paths)} images ({', '.join(IMAGE_SUFFIXES)}); calibration needs at "
                f"least {LEAST_IMAGES}, half of which are held back to measure the loss"
            )

    def split(self) -> tuple[list[str], list[str]]:
        """Names to calibrate on and names to measure on, drawn once and for all; none is in both."""
        names = [str(name) for name in np.random.default_rng(_SEED).permutation(sorted(self._paths))]
        held_back = min(len(names) // 2, HELD_BACK_IMAGES)
        return names[held_back : held_back + CALIBRATION_IMAGES], names[:held_back]

    def read(self, name: str) -> ExportImage:
        """Read one image.

        Raises:
            ImageError: for a file that cannot be read.
            DatasetError: for a mask of another size than its image.
        """
        path, mask_path = self._paths[name]
        if mask_path is None:
            return ExportImage(name, read_image(path), None)
        pair = read_pair(self._spec, name, path, mask_path)
        return ExportImage(name, pair.image, pair.mask)


def synthetic_images(size: int, count: int = SYNTHETIC_SCENES) -> list[ExportImage]:
    """Scenes with targets, the same at every call."""
    scenes = [
        draw_scene(np.random.default_rng([_SEED, i]), (size, size), empty_share=0.0) for i in range(count)
    ]
    return [ExportImage(f"synthetic_{i}", scene.image, scene.mask) for i, scene in enumerate(scenes)]


def prepare(image: ExportImage, preprocess: Preprocess, size: int) -> tuple[ExportImage, Prepared]:
    """An image as input of a network that is fixed to a size.

    Of a frame that is larger than the network and is not to be resized, the part around its first target is taken.

    Args:
        image: As read.
        preprocess: Of the network.
        size: Side of its input.
    Returns:
        The image or part, and the input (3, size, size) of it.
    Raises:
        ImageError: for values that cannot be used, naming the image.
    """
    if preprocess.image_size is None and max(image.image.shape) > size:
        image = _cut(image, size)
    try:
        return image, preprocess(image.image, size)
    except ImageError as err:
        raise ImageError(f"{image.id}: {err}") from err


def inputs_of(images: Sequence[ExportImage], preprocess: Preprocess, size: int) -> list[np.ndarray]:
    """Network inputs (1, 3, size, size) of images; raises as `prepare`."""
    return [prepare(image, preprocess, size)[1].values[None] for image in images]


def _cut(image: ExportImage, size: int) -> ExportImage:
    h, w = image.image.shape
    row, column = h // 2, w // 2
    if image.mask is not None and image.mask.any():
        row, column = (int(i) for i in np.argwhere(image.mask)[0])
    top, left = (max(0, min(at - size // 2, length - size)) for at, length in ((row, h), (column, w)))
    part = slice(top, top + size), slice(left, left + size)
    return ExportImage(image.id, image.image[part], None if image.mask is None else image.mask[part])
