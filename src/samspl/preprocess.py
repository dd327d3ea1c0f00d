"""An image as the network wants it: values in 0..255, resized or padded, normalised.

One `Preprocess` belongs to every checkpoint and travels inside it; a detector never asks for a data set. The rules are
those of the published protocol, except `normalise="frame"`, which takes each frame's own mean and standard deviation.
Everything here is numpy, so that export back ends need no torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from samspl.config import nearest_name, to_plain
from samspl.errors import ConfigError, ImageError
from samspl.imaging import resize

STRIDE = 32
"""Height and width of the network's input are multiples of this."""


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

    def __call__(self, image: np.ndarray) -> Prepared:
        """Prepare one image.

        Args:
            image: (H, W) of any integer or float type, finite.
        Returns:
            (3, H', W') float32 with H' and W' multiples of 32, zero-padded right and bottom, and its geometry.
        Raises:
            ImageError: for a wrong shape, no pixels, or values that are not finite.
        """
        grey = self.to_byte_range(image)
        source_hw = (grey.shape[0], grey.shape[1])
        content_hw = source_hw if self.image_size is None else (self.image_size, self.image_size)
        values = self.to_channels(resize(grey, content_hw, "bilinear"))
        input_hw = (-(-content_hw[0] // STRIDE) * STRIDE, -(-content_hw[1] // STRIDE) * STRIDE)
        padded = np.zeros((3, *input_hw), np.float32)
        padded[:, : content_hw[0], : content_hw[1]] = values
        return Prepared(padded, Geometry(source_hw, content_hw, input_hw))

    def to_byte_range(self, image: np.ndarray) -> np.ndarray:
        """First half: the values that resizing and augmentation work on.

        Returns:
            8-bit images as they are; others as float32, mapped linearly from their 0.1 and 99.9 percentiles to 0..255
            (values outside lie outside). With frame statistics: float32, zero mean and unit standard deviation,
            whatever the input (a constant frame gives zeros).
        Raises:
            ImageError: for a wrong shape, no pixels, or values that are not finite or too large to be mapped.
        """
        if image.ndim != 2 or image.size == 0:
            raise ImageError(
                f"image has shape {image.shape}; expected (height, width) with at least one pixel"
            )
        if not np.isfinite(image).all():
            raise ImageError("image holds NaN or infinite values; replace them before detection")
        if self.normalise == "frame":
            # float64, so that an offset of thousands of counts leaves the small differences exact
            exact = image.astype(np.float64)
            exact -= exact.mean()
            deviation = exact.std() if image.min() < image.max() else 0.0
            return (exact / deviation if deviation > 0 else np.zeros_like(exact)).astype(np.float32)
        if image.dtype == np.uint8:
            return image
        low, high = np.percentile(image, (0.1, 99.9))
        if high <= low:  # nearly constant: percentiles say nothing, the full range does
            low, high = float(image.min()), float(image.max())
        scale = 255.0 / (high - low) if high > low else 0.0
        with np.errstate(over="ignore"):
            values = ((image.astype(np.float64) - low) * scale).astype(np.float32)
        if not np.isfinite(values).all():
            raise ImageError(
                f"image holds values up to {np.abs(image).max():.3g}, far beyond the others ({low:.3g} to {high:.3g}); "
                "replace its bad pixels before detection"
            )
        return values

    def to_channels(self, grey: np.ndarray) -> np.ndarray:
        """Second half: normalise (H, W) values of `to_byte_range` into (3, H, W) float32."""
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
