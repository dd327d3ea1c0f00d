"""Image files to arrays and back, at the depth they are stored in: PNG, JPEG, BMP, TIFF and NPY.

Infrared frames are often 16-bit, which Pillow's ``convert("L")`` saturates; nothing here narrows a type. The
format is told by content, not by suffix. No global setting of Pillow is changed, so that every function may
run in many threads. EXIF orientation is ignored: results refer to pixels
as stored.
"""

import io
import logging
import math
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import tifffile
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from samspl.errors import ImageError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy")
"""Suffixes of files that are taken for images when a folder is searched; lower case."""

MAX_PIXELS = 2**28
"""Larger images (16384 x 16384) are refused from their header, before memory is asked for."""

_LUMA = (19595, 38470, 7471)
"""ITU-R BT.601 weights of red, green and blue times 65536, as in Pillow; their sum is exactly 65536."""

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

# The plug-in classes are called directly: Image.open would apply Pillow's process-wide pixel limit, which is
# lower than ours and can only be moved for everybody.
_PILLOW: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}

logger = logging.getLogger(__name__)
# tifffile logs what it finds wrong in a file before it raises; said once, by the error, is enough. An
# application that configures logging still gets these lines.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def to_grey(image: np.ndarray) -> np.ndarray:
    """One channel of an array that may have several.

    Args:
        image: (H, W), or (H, W, C) with one, two (grey, alpha), three (red, green, blue) or four (and alpha)
            channels; alpha is ignored.
    Returns:
        (H, W) of the same type; ITU-R BT.601 luma, rounded for integers. Equal channels give exactly their
        value, and 8-bit colours what Pillow gives. Booleans become 0 and 255 (uint8).
    Raises:
        ImageError: for another shape, no pixels, or values that are not real numbers.
    """
    if image.dtype.kind not in "buif":
        raise ImageError(f"array holds {image.dtype} values; expected whole or real numbers")
    if image.size == 0:
        raise ImageError(f"array of shape {image.shape} has no pixels; expected at least one")
    if image.dtype == np.bool_:
        image = np.where(image, np.uint8(255), np.uint8(0))
    if not image.dtype.isnative:
        image = image.astype(image.dtype.newbyteorder("="))
    if image.ndim == 2:
        return image
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4):
        raise ImageError(
            f"array has shape {image.shape}; expected (height, width), or (height, width, channels) "
            "with 1 to 4 channels"
        )
    if image.shape[2] <= 2:
        return image[:, :, 0]
    if image.dtype in (np.uint8, np.uint16):
        red, green, blue = (image[:, :, c].astype(np.uint32) * np.uint32(_LUMA[c]) for c in range(3))
        return ((red + green + blue + np.uint32(0x8000)) >> np.uint32(16)).astype(image.dtype)
    exact = image.astype(np.float64)
    base = exact[:, :, 0]
    # differences to red: equal channels then give exactly their value
    grey = base + (exact[:, :, 1] - base) * (_LUMA[1] / 65536) + (exact[:, :, 2] - base) * (_LUMA[2] / 65536)
    return (grey if image.dtype.kind == "f" else np.rint(grey)).astype(image.dtype)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"image is {width}x{height}; expected at least one pixel")
    if width * height > MAX_PIXELS:
        side = math.isqrt(MAX_PIXELS)
        raise ImageError(
            f"image is {width}x{height}; at most {MAX_PIXELS} pixels ({side}x{side}) are read, "
            "cut it into tiles"
        )


def _bytes_of(file: BinaryIO) -> int:
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


def _decode_pillow(file: BinaryIO, kind: str) -> np.ndarray:
    # someone else's switch; with it on, the missing part of a file would be made up
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on; images are read whole only, turn it off")
    image = _PILLOW[kind](file)
    _check_size(*image.size)
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


def _decode_tiff(file: BinaryIO) -> np.ndarray:
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        _check_size(page.imagewidth, page.imagelength)
        if len(tiff.pages) > 1:
            logger.warning("%s has %d pages; only the first is read", file.name, len(tiff.pages))
        if page.imagedepth > 1:
            raise ImageError(f"TIFF holds a volume of {page.imagedepth} layers; expected a flat image")
        # tifffile fills strips and tiles that are not there with zeros
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        is_whole = all(start > 0 and 0 < size <= _bytes_of(file) - start for start, size in segments)
        if not segments or not is_whole:
            raise ImageError("TIFF is truncated: its pixels lie beyond its end; copy or export it again")
        depth, channels = page.bitspersample, page.samplesperpixel
        photometric = page.photometric
        try:
            image = page.asarray()
        except ValueError as err:
            # LZW and the like need imagecodecs; Pillow reads them too, colours of 8 bits alone without loss
            if "imagecodecs" not in str(err) and "requires" not in str(err):
                raise
            if channels > 1 and depth > 8:
                raise ImageError(
                    f"TIFF has {depth}-bit colour with compression {page.compression!r}; install imagecodecs "
                    "or save it uncompressed"
                ) from err
            file.seek(0)
            return _decode_pillow(file, "TIFF")
        if page.axes.startswith("S"):
            image = np.moveaxis(image, 0, -1)  # (H, W, C)
        if photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            colours = np.moveaxis(page.colormap, 0, -1)[image]  # (H, W, 3) uint16
            return (colours >> 8).astype(np.uint8) if depth <= 8 else colours
    if depth == 1:
        image = image.astype(bool)
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        image = ~image if image.dtype.kind in "bu" else -image
    return image


def _decode_npy(file: BinaryIO) -> np.ndarray:
    is_short_header = np.lib.format.read_magic(file) == (1, 0)
    read_header = (
        np.lib.format.read_array_header_1_0 if is_short_header else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ImageError("NPY holds Python objects, which are not loaded; save numbers")
    if len(shape) in (2, 3):
        _check_size(shape[1], shape[0])
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if _bytes_of(file) < expected:
        raise ImageError(f"NPY is truncated: {_bytes_of(file)} bytes of {expected}; copy or export it again")
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _decode(file: BinaryIO) -> np.ndarray:
    start = file.read(max(len(magic) for magic, _ in _SIGNATURES))
    file.seek(0)
    kind = next((name for magic, name in _SIGNATURES if start.startswith(magic)), None)
    if not start:
        raise ImageError("the file is empty (0 bytes); copy it again")
    if kind is None:
        raise ImageError("this is no image that can be read; expected PNG, JPEG, BMP, TIFF or NPY")
    if kind == "TIFF":
        return _decode_tiff(file)
    if kind == "NPY":
        return _decode_npy(file)
    return _decode_pillow(file, kind)


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
    try:
        file = path.open("rb")
    except FileNotFoundError as err:
        raise ImageError(f"{path} does not exist; expected an image file") from err
    except IsADirectoryError as err:
        raise ImageError(f"{path} is a folder; expected an image file") from err
    except OSError as err:
        raise ImageError(f"{path} cannot be read ({err.strerror or err}); expected an image file") from err
    with file:
        try:
            return np.require(to_grey(_decode(file)), requirements=["C", "W"])
        except ImageError as err:
            raise ImageError(f"{path}: {err}") from err
        except Exception as err:  # damaged files make decoders raise nearly anything, zlib.error among it
            reason = str(err) or type(err).__name__
            raise ImageError(f"{path} is truncated or damaged ({reason}); copy or export it again") from err


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


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file under a temporary name and rename it, so that a crash or a full disk leaves no half file.

    Raises:
        ImageError: if the folder or the file cannot be written.
    """
    # a short name of its own: the final one may already be as long as the file system allows
    temporary = path.with_name(f".samspl-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)  # gone already if all went well
    except OSError as err:
        if blocking := next((parent for parent in path.parents if parent.is_file()), None):
            advice = f"{blocking} is a file where a folder is needed; move it or write elsewhere"
        else:
            advice = f"{err.strerror or err}; check space and permission"
        raise ImageError(f"{path} cannot be written: {advice}") from err


def write_image(path: str | Path, array: np.ndarray) -> None:
    """Write an image file whole or not at all; missing folders are made.

    Args:
        path: ``.png`` for bool (written as 0 and 255), uint8 or uint16, ``.tif``/``.tiff`` for these and
            float32.
        array: (H, W), or (H, W, 3) uint8.
    Raises:
        ImageError: for another suffix, type or shape, or if the file cannot be written (disk full, no
            permission).
    """
    path = Path(path)
    suffix = path.suffix.lower()
    types = {".png": "bool, uint8 or uint16", ".tif": "bool, uint8, uint16 or float32"}
    types[".tiff"] = types[".tif"]
    if suffix not in types:
        raise ImageError(f"{path} has suffix {path.suffix!r}; images are written as .png or .tiff")
    if array.dtype.name not in types[suffix].replace(",", "").split():
        raise ImageError(f"{path}: cannot write {array.dtype} as {suffix}; expected {types[suffix]}")
    is_colour = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    if (array.ndim != 2 and not is_colour) or array.size == 0:
        raise ImageError(f"{path}: cannot write shape {array.shape}; expected (H, W), or (H, W, 3) of uint8")
    if array.dtype == np.bool_:
        array = np.where(array, np.uint8(255), np.uint8(0))
    encoded = io.BytesIO()
    if suffix == ".png":
        Image.fromarray(np.ascontiguousarray(array)).save(encoded, "PNG")
    else:
        tifffile.imwrite(encoded, array, photometric="rgb" if is_colour else "minisblack")
    write_bytes(path, encoded.getbuffer())


def nearest_index(length: int, new_length: int) -> np.ndarray:
    """Which of ``length`` source positions Pillow's nearest resize takes for each new one; (new_length,)
    int32."""
    positions = Image.fromarray(np.arange(length, dtype=np.int32)[None])
    return np.asarray(positions.resize((new_length, 1), Image.Resampling.NEAREST))[0]


def resize_region(
    image: np.ndarray, box_xyxy: tuple[float, float, float, float], size_hw: tuple[int, int]
) -> np.ndarray:
    """Resize a part of an image bilinearly; a crop out of a resized image without making the whole.

    Rows are resampled first, then columns, each with Pillow. Pillow before 13 does so too; later ones take
    the other order where height shrinks more than width, which changes rounded values by one. The published
    figures rest on the former, and results should not depend on the version.

    Args:
        image: (H, W) of any real type.
        box_xyxy: Edges of the part in pixels, not necessarily whole numbers; pixels around it are made use
            of.
        size_hw: Height and width of the result, at least 1.
    Returns:
        (height, width); uint8 stays uint8 (rounded), all others are computed and returned as float32.
    """
    left, top, right, bottom = box_xyxy
    height, width = size_hw
    reach = max(1.0, (bottom - top) / height) + 1  # the filter's, and one pixel to be safe
    first, last = max(0, math.floor(top - reach)), min(image.shape[0], math.ceil(bottom + reach))
    rows = image[first:last] if image.dtype == np.uint8 else image[first:last].astype(np.float32)
    strip = Image.fromarray(np.ascontiguousarray(rows))
    strip = strip.resize((width, last - first), Image.Resampling.BILINEAR, box=(left, 0, right, last - first))
    part = strip.resize(
        (width, height), Image.Resampling.BILINEAR, box=(0, top - first, width, bottom - first)
    )
    return np.array(part)


def resize(image: np.ndarray, size_hw: tuple[int, int], method: Literal["bilinear", "nearest"]) -> np.ndarray:
    """Resize as Pillow does, which the published preprocessing uses (its bilinear filter widens when
    shrinking).

    Args:
        image: (H, W) of any real type.
        size_hw: Height and width wanted, at least 1.
        method: ``bilinear``: uint8 stays uint8 (rounded), all others are computed and returned as float32.
            ``nearest``: the type stays.
    Returns:
        (height, width); the input itself, not a copy, if it has that size already.
    Raises:
        ValueError: for a shape, size or method other than these.
    """
    height, width = size_hw
    if image.ndim != 2 or image.size == 0 or height < 1 or width < 1:
        raise ValueError(
            f"cannot resize shape {image.shape} to {size_hw}; expected (H, W) and sizes of at least 1"
        )
    if method not in ("bilinear", "nearest"):
        raise ValueError(f"method is {method!r}; expected 'bilinear' or 'nearest'")
    if image.shape == (height, width):
        return image
    if method == "nearest":
        rows, columns = nearest_index(image.shape[0], height), nearest_index(image.shape[1], width)
        return image[rows].take(columns, axis=1)  # five times as fast as indexing both at once
    return resize_region(image, (0, 0, image.shape[1], image.shape[0]), size_hw)
