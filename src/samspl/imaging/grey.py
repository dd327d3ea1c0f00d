"""One grey channel of an array that may have several."""

import numpy as np

from samspl.errors import ImageError

_LUMA = (19595, 38470, 7471)
"""ITU-R BT.601 weights of red, green and blue times 65536, as in Pillow; their sum is exactly 65536."""


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
