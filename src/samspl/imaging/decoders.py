"""Open image file -> array, one function a format; damaged files may raise nearly anything here."""

import io
import math
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from samspl.errors import ImageError

MAX_PIXELS = 2**28
"""Larger images (16384 x 16384) are refused from their header, before memory is asked for."""

# The plug-in classes are called directly: Image.open would apply Pillow's process-wide pixel limit, which is
# lower than ours and can only be moved for everybody.
_PILLOW: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}


def check_size(width: int, height: int) -> None:
    """Raises ImageError for a size that is not read."""
    if width < 1 or height < 1:
        raise ImageError(f"image is {width}x{height}; expected at least one pixel")
    if width * height > MAX_PIXELS:
        side = math.isqrt(MAX_PIXELS)
        raise ImageError(
            f"image is {width}x{height}; at most {MAX_PIXELS} pixels ({side}x{side}) are read, "
            "cut it into tiles"
        )


def bytes_of(file: BinaryIO) -> int:
    """Length of an open file."""
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(position)
    return size


def _decode_deep_png(file: BinaryIO, rawmode: str) -> np.ndarray:
    """A 16-bit colour PNG, (H, W, 3 or 4) uint16; Pillow has no such mode and drops the low bytes.

    It is decoded twice: PNG is big-endian, so that unpacking it as little-endian keeps the low bytes instead.
    """
    halves = []
    for order in ("B", "L"):
        file.seek(0)
        image = PngImagePlugin.PngImageFile(file)
        image.tile = [tile._replace(args=rawmode[:-1] + order) for tile in image.tile]
        halves.append(np.array(image).astype(np.uint16))
    high, low = halves
    return (high << 8) | low


def decode_pillow(file: BinaryIO, kind: str, page: int = 0) -> np.ndarray:
    """Read a file by Pillow, without loss or not at all.

    Args:
        file: At its start.
        kind: `PNG`, `JPEG`, `BMP` or `TIFF`.
        page: Which of a TIFF, counted as they stand in the file.
    """
    # someone else's switch; with it on, the missing part of a file would be made up
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on; images are read whole only, turn it off")
    image = _PILLOW[kind](file)
    if page:
        image.seek(page)
    check_size(*image.size)
    rawmode = image.tile[0].args if image.tile else ""
    if kind == "PNG" and rawmode in ("RGB;16B", "RGBA;16B"):
        return _decode_deep_png(file, rawmode)
    if kind == "PNG" and rawmode == "LA;16B":
        raise ImageError(
            "16-bit grey with transparency would be read at 8 bits; save it without transparency"
        )
    image.load()
    if image.mode in ("1", "L", "RGB", "RGBA", "RGBX", "YCbCr"):
        return np.array(image.convert("L"))  # equals `to_grey`; 1 bit becomes 0 and 255
    if image.mode == "LA":
        return np.array(image.getchannel("L"))
    if image.mode == "I" and kind == "PNG":  # Pillow before 11 read 16-bit PNG as 32-bit
        return np.array(image).astype(np.uint16)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.array(image)
    return np.array(image.convert("RGB").convert("L"))  # palette, CMYK and the like: 8 bits each


def decode_npy(file: BinaryIO) -> np.ndarray:
    """Read an NPY file, whose header is looked at first."""
    is_short_header = np.lib.format.read_magic(file) == (1, 0)
    read_header = (
        np.lib.format.read_array_header_1_0 if is_short_header else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ImageError("NPY holds Python objects, which are not loaded; save numbers")
    if len(shape) in (2, 3):
        check_size(shape[1], shape[0])
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if bytes_of(file) < expected:
        raise ImageError(f"NPY is truncated: {bytes_of(file)} bytes of {expected}; copy or export it again")
    file.seek(0)
    return np.load(file, allow_pickle=False)
