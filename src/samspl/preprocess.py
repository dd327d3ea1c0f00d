"""An image as the network wants it: values in 0..255, resized or padded, normalised.

One `Preprocess` belongs to every checkpoint and travels inside it; a detector never asks for a data set. The rules are
those of the published protocol, except `normalise="frame"`, which takes each frame's own mean and standard deviation.
Everything here is numpy, so that export back ends need no torch.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from samspl.config import nearest_name, to_plain
from samspl.errors import ConfigError, ImageError
from samspl.imaging import resize

STRIDE = 32
"""Height and width of the network's input are multiples of this."""
NATIVE_PADDING: Literal["edge"] = "edge"
"""What images of native size are padded with, in numpy's word: their last row and column."""
_BAND_PX = 2**18
"""Pixels that are held in float64 at a time."""


class Geometry(NamedTuple):
    """Where an image lies in the network's input; rides along so that results come back at the source size."""

    source_hw: tuple[int, int]
    """Size of the image as it came."""
    content_hw: tuple[int, int]
    """Size of the image inside the input, top left; the rest is padding."""
    input_hw: tuple[int, int]
    """Size of the network's input."""


class Prepared(NamedTuple):
    """Network input of one image."""

    values: np.ndarray
    """(3, H, W) float32."""
    geometry: Geometry


class ValueMap(NamedTuple):
    """How the values of one image become those that the network's mean and std refer to."""

    offset: float
    """Subtracted first."""
    scale: float
    """Multiplied by."""

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Map (H, W) values of any type to float32; the image or a part of it."""
        values = np.empty(image.shape, np.float32)
        for rows in _bands(image):
            # float64, so that an offset of thousands of counts leaves the small differences exact
            values[rows] = (image[rows].astype(np.float64) - self.offset) * self.scale
        return values


@dataclass(frozen=True)
class Preprocess:
    """How image values become network input, and at what size."""

    mean: tuple[float, ...] = (0.0,)
    """Subtracted, in 0..255 units; one value, or one for each of the three channels. Unused for frame statistics."""
    std: tuple[float, ...] = (1.0,)
    """Divided by, in 0..255 units; one value, or one for each channel. Unused for frame statistics."""
    image_size: int | None = None
    """Side N of the square that images are resized to; None keeps the native size. Both are padded to the stride."""
    normalise: Literal["fixed", "frame"] = "fixed"
    """`fixed` uses mean and std above, after frames of more than 8 bits were mapped to 0..255 by percentiles;
    `frame` uses each frame's own mean and std on its original values, so that gain and offset do not matter."""

    def __post_init__(self) -> None:
        for field in ("mean", "std"):
            try:
                object.__setattr__(self, field, tuple(float(v) for v in getattr(self, field)))
            except (TypeError, ValueError) as err:
                raise ConfigError(f"{field} is {getattr(self, field)!r}; expected a list of numbers") from err
            if len(getattr(self, field)) not in (1, 3):
                raise ConfigError(f"{field} has {len(getattr(self, field))} values; expected 1 or 3")
        for field in ("mean", "std"):
            if not np.isfinite(getattr(self, field)).all():
                raise ConfigError(f"{field} is {getattr(self, field)}; it must be finite")
        if min(self.std) <= 0:
            raise ConfigError(f"std is {self.std}; it must be positive")
        size = self.image_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ConfigError(f"image_size is {size!r}; expected a positive whole number or none")
        if self.normalise not in ("fixed", "frame"):
            raise ConfigError(f"normalise is {self.normalise!r}; expected 'fixed' or 'frame'")

    def __call__(self, image: np.ndarray, input_size: int | None = None) -> Prepared:
        """Prepare one image.

        Args:
            image: (H, W) of any integer or float type, finite.
            input_size: Side of the square input that the network is fixed to; None: no larger than needed.
        Returns:
            (3, H', W') float32 with H' and W' multiples of 32, padded right and bottom, and its geometry.
        Raises:
            ImageError: for a wrong shape, no pixels, or values that are not finite.
            ValueError: if the image at its scale does not fit into ``input_size``.
        """
        grey = self.to_byte_range(image)
        source_hw = (grey.shape[0], grey.shape[1])
        content_hw = source_hw if self.image_size is None else (self.image_size, self.image_size)
        input_hw = padded_size(content_hw)
        if input_size is not None:
            if max(input_hw) > input_size:
                raise ValueError(
                    f"input is {input_hw[0]}x{input_hw[1]}; the network takes {input_size}x{input_size}"
                )
            input_hw = (input_size, input_size)
        values = self.to_input(resize(grey, content_hw, "bilinear"), input_hw)
        return Prepared(values, Geometry(source_hw, content_hw, input_hw))

    def to_byte_range(self, image: np.ndarray) -> np.ndarray:
        """First half: the values that resizing and augmentation work on.

        Returns:
            8-bit images as they are; others as float32, mapped linearly from their 0.1 and 99.9 percentiles to 0..255
            (values outside lie outside). With frame statistics: float32, zero mean and unit standard deviation,
            whatever the input (a constant frame gives zeros).
        Raises:
            ImageError: for a wrong shape, no pixels, or values that are not finite or too large to be mapped.
        """
        values = self.measure(image)
        return image if values is None else values.apply(image)

    def measure(self, image: np.ndarray) -> "ValueMap | None":
        """What `to_byte_range` does to every value, from the statistics of the whole image.

        Parts of the image can then be mapped alone. Beside the image, at most one copy of it in its own type is held.

        Returns:
            None where values stay as they are.
        Raises:
            ImageError: as `to_byte_range`.
        """
        if image.ndim != 2 or image.size == 0:
            raise ImageError(
                f"image has shape {image.shape}; expected (height, width) with at least one pixel"
            )
        _require_finite(image)
        if self.normalise == "fixed" and image.dtype == np.uint8:
            return None
        least, most = float(image.min()), float(image.max())
        if self.normalise == "frame":
            low, spread = _mean_and_deviation(image) if least < most else (least, 0.0)
            scale = 1.0 / spread if spread > 0 else 0.0
        else:
            low, high = np.percentile(image, (0.1, 99.9)).tolist()
            if high <= low:  # nearly constant: percentiles say nothing, the full range does
                low, high = least, most
            spread = high - low
            scale = 255.0 / spread if spread > 0 else 0.0
        largest = max(abs((value - low) * scale) for value in (least, most))
        if not (np.isfinite(spread) and largest <= float(np.finfo(np.float32).max)):
            raise ImageError(
                f"image holds values up to {max(abs(least), abs(most)):.3g}, far beyond what can be told apart from "
                f"the others (around {low:.3g}); replace its bad pixels before detection"
            )
        return ValueMap(low, scale)

    def to_input(self, grey: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
        """Second half: network input of (H, W) values of `to_byte_range`, normalised and padded.

        Images that are resized are padded with zeros after normalisation, as published. At native size the last row
        and column are repeated instead. A flat strip of zeros hides targets that lie near it, and a reflection makes
        a spot of what is bright at the edge (`benchmarks/padding.py`).

        Args:
            grey: (H, W).
            input_hw: At least (H, W).
        Returns:
            (3, *input_hw) float32.
        """
        below, right = input_hw[0] - grey.shape[0], input_hw[1] - grey.shape[1]
        if self.image_size is not None:
            return np.pad(self.to_channels(grey), ((0, 0), (0, below), (0, right)))
        return self.to_channels(np.pad(grey, ((0, below), (0, right)), NATIVE_PADDING))

    def to_channels(self, grey: np.ndarray) -> np.ndarray:
        """Normalise (H, W) values of `to_byte_range` into (3, H, W) float32."""
        values = np.repeat(grey.astype(np.float32)[None], 3, axis=0)  # (3, H, W)
        if self.normalise == "fixed":
            values -= np.array(self.mean, np.float32).reshape(-1, 1, 1)
            values /= np.array(self.std, np.float32).reshape(-1, 1, 1)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or YAML."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """Build from plain values.

        Raises:
            ConfigError: for an unknown field or values out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"unknown preprocessing field {name!r}; {nearest_name(name, known)}")
        return cls(**values)


def padded_size(content_hw: tuple[int, int]) -> tuple[int, int]:
    """The least size that the network takes and content of a size fits into."""
    return -(-content_hw[0] // STRIDE) * STRIDE, -(-content_hw[1] // STRIDE) * STRIDE


def _bands(image: np.ndarray) -> Iterator[slice]:
    """The rows of an image, as many at a time as hold about `_BAND_PX` pixels."""
    rows = max(1, _BAND_PX // image.shape[1])
    return (slice(first, first + rows) for first in range(0, image.shape[0], rows))


def _require_finite(image: np.ndarray) -> None:
    if image.dtype.kind != "f":
        return
    is_finite = np.isfinite(image)
    if not is_finite.all():
        row, column = divmod(int(is_finite.argmin()), image.shape[1])
        raise ImageError(
            f"image holds NaN or infinite values ({image.size - np.count_nonzero(is_finite)} of {image.size} pixels, "
            f"the first at x {column}, y {row}); replace them before detection"
        )


def _mean_and_deviation(image: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation in float64, without a copy of the whole."""
    with np.errstate(over="ignore", invalid="ignore"):  # the caller refuses what comes of it
        mean = sum(float(image[rows].sum(dtype=np.float64)) for rows in _bands(image)) / image.size
        squares = sum(float(np.square(image[rows].astype(np.float64) - mean).sum()) for rows in _bands(image))
    return mean, (squares / image.size) ** 0.5
