"""Image files to grey arrays; the format is told by content, not by suffix."""

import logging
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from samspl.errors import ImageError
from samspl.imaging.decoders import decode_npy, decode_pillow
from samspl.imaging.grey import to_grey
from samspl.imaging.tiff import decode_page, find_pages

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy")
"""Suffixes of files that are taken for images when a folder is searched; lower case."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\x93NUMPY", "NPY"),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Page:
    """One image of a file that may hold several."""

    index: int
    """Position among the images of the file, from 0."""
    count: int
    """Images in the file."""
    image: np.ndarray | ImageError
    """(H, W) as of `read_image`, or why there is none."""


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as err:
        raise ImageError(f"{path} does not exist; expected an image file") from err
    except IsADirectoryError as err:
        raise ImageError(f"{path} is a folder; expected an image file") from err
    except OSError as err:
        raise ImageError(f"{path} cannot be read ({err.strerror or err}); expected an image file") from err


@contextmanager
def _named(what: Path | str) -> Iterator[None]:
    """Errors within become image errors that name the file."""
    try:
        yield
    except ImageError as err:
        raise ImageError(f"{what}: {err}") from err
    except Exception as err:  # damaged files make decoders raise nearly anything, zlib.error among it
        reason = str(err) or type(err).__name__
        raise ImageError(f"{what} is truncated or damaged ({reason}); copy or export it again") from err


def _kind_of(file: BinaryIO) -> str:
    start = file.read(max(len(magic) for magic, _ in _SIGNATURES))
    file.seek(0)
    if not start:
        raise ImageError("the file is empty (0 bytes); copy it again")
    kind = next((name for magic, name in _SIGNATURES if start.startswith(magic)), None)
    if kind is None:
        raise ImageError("this is no image that can be read; expected PNG, JPEG, BMP, TIFF or NPY")
    return kind


def _decode_flat(file: BinaryIO, kind: str) -> np.ndarray:
    return decode_npy(file) if kind == "NPY" else decode_pillow(file, kind)


def _finish(image: np.ndarray) -> np.ndarray:
    return np.require(to_grey(image), requirements=["C", "W"])


def read_image(path: str | Path) -> np.ndarray:
    """Read one image file as one grey channel.

    Args:
        path: PNG, JPEG, BMP, TIFF (first page, with a warning if there are more) or NPY; (H, W), or with one to
            four channels.
    Returns:
        (H, W), writable, in the type stored: uint8, uint16, int32, float32, ... Colour and palette images
        become luma (see `to_grey`), alpha is ignored, 1-bit images become 0 and 255.
    Raises:
        ImageError: naming the file: missing, a folder, empty, truncated, damaged, of no known format, larger
            than `MAX_PIXELS`, or of a shape or depth that cannot be read without loss.
    """
    path = Path(path)
    with _open(path) as file, _named(path):
        kind = _kind_of(file)
        if kind != "TIFF":
            return _finish(_decode_flat(file, kind))
        with tifffile.TiffFile(file) as tiff:
            if (count := len(find_pages(tiff))) > 1:
                logger.warning("%s has %d pages; only the first is read", path, count)
            return _finish(decode_page(tiff, file, 0))


def read_pages(path: str | Path, skip: Container[int] = ()) -> Iterator[Page]:
    """Read every image of a file, one after the other: a TIFF's pages, which may differ in size; else the one.

    Overviews and masks of a TIFF are no pages of their own.

    Args:
        path: As of `read_image`.
        skip: Pages that are not wanted.
    Yields:
        An image, or the error that names file and page; an error in one page does not stop the others.
    Raises:
        ImageError: if the file as a whole cannot be read.
    """
    path = Path(path)
    with _open(path) as file:
        with _named(path):
            kind = _kind_of(file)
            if kind != "TIFF":
                page = Page(0, 1, _finish(_decode_flat(file, kind)))
            else:
                tiff = tifffile.TiffFile(file)
                places = find_pages(tiff)
        if kind != "TIFF":
            if 0 not in skip:
                yield page
            return
        for index, place in enumerate(places):
            if index in skip:
                continue
            image: np.ndarray | ImageError
            try:
                with _named(path if len(places) == 1 else f"{path}, page {index}"):
                    image = _finish(decode_page(tiff, file, place))
            except ImageError as err:
                image = err
            yield Page(index, len(places), image)


def read_mask(path: str | Path) -> np.ndarray:
    """Read one mask file; which grey values are target is the data set's rule, not decided here.

    Returns:
        (H, W) uint8. 8-bit masks as stored. Wider integers have no published grey rule: every positive value
        is 255, whether the file holds 0/1, 0/255, 0/65535 or object numbers. Floats are taken as 0..1 if none
        is larger than 1, else as 0..255, and rounded.
    Raises:
        ImageError: as `read_image`, and for values that are not finite.
    """
    mask = read_image(path)
    if mask.dtype == np.uint8:
        return mask
    if mask.dtype.kind in "ui":
        return np.where(mask > 0, np.uint8(255), np.uint8(0))
    if not np.isfinite(mask).all():
        raise ImageError(f"{path} holds NaN or infinite values; a mask needs finite ones")
    scale = 255.0 if mask.max() <= 1 else 1.0
    return np.rint(np.clip(mask.astype(np.float64) * scale, 0, 255)).astype(np.uint8)
