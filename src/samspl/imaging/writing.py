"""Arrays to image files, whole or not at all."""

import io
import secrets
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from samspl.errors import ImageError


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
        # half the time of Pillow's level 6 for a quarter more bytes: overlays take as long as small networks
        Image.fromarray(np.ascontiguousarray(array)).save(encoded, "PNG", compress_level=3)
    else:
        tifffile.imwrite(encoded, array, photometric="rgb" if is_colour else "minisblack")
    write_bytes(path, encoded.getbuffer())
