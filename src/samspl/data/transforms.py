"""Published augmentations as small joint transforms of image and mask.

Every transform takes an image (H, W) of any real type, a mask (H, W) bool and a generator, and returns a new
pair; the inputs are never changed. All chance comes from the generator, so that one seed gives one result.
The arithmetic is Pillow's, as in the published training; only what the crop shows is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from samspl.data.specs import MaskResize
from samspl.imaging import nearest_index, resize, resize_region

Arrays = tuple[np.ndarray, np.ndarray]
"""Image (H, W) of any real type and mask (H, W) bool."""


class Transform(Protocol):
    """A joint change of image and mask."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Return the changed image (H', W'), same type, and mask (H', W') bool."""
        ...


@dataclass(frozen=True)
class Resize:
    """Bring image (bilinear) and mask to a square, as the NUDT-SIRST path does before its flips."""

    size: int
    """Side of the square in pixels."""
    mask_resize: MaskResize
    """``nearest``, or ``bilinear_positive``: bilinear, then every positive value is target."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Resize both; draws nothing."""
        size_hw = (self.size, self.size)
        if self.mask_resize == "nearest":
            return resize(image, size_hw, "bilinear"), resize(mask, size_hw, "nearest")
        grey = np.where(mask, np.uint8(255), np.uint8(0))  # what the file holds; 8-bit rounding as published
        return resize(image, size_hw, "bilinear"), resize(grey, size_hw, "bilinear") > 0


@dataclass(frozen=True)
class Flips:
    """Flip left-right, flip up-down, transpose: each with probability 0.5 (NUDT-SIRST)."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Flip and transpose both alike."""
        left_right, up_down, transposed = rng.random(3) < 0.5
        for change, applies in ((np.fliplr, left_right), (np.flipud, up_down), (np.transpose, transposed)):
            if applies:
                image, mask = change(image), change(mask)
        return image, mask


@dataclass(frozen=True)
class Mirror:
    """Flip left-right with probability 0.5."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Flip both alike, or neither."""
        if rng.random() < 0.5:
            return np.fliplr(image), np.fliplr(mask)
        return image, mask


@dataclass(frozen=True)
class ScaleCrop:
    """Scale the long side to a whole number drawn from U(0.5, 2) x size, zero-pad right and bottom, crop the
    size.

    Only the part that the crop shows is resampled. Pillow takes the part's edges in single precision, so that
    8-bit images differ from resizing the whole: of pure noise, less than one value in a hundred by one grey
    level, hardly any by two; at scales such as 5 : 4, where many values fall halfway, more by one. Masks do
    not differ.
    """

    size: int
    """Side of the crop in pixels."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Resample and crop both alike."""
        height, width = image.shape
        long_side = int(rng.integers(self.size // 2, 2 * self.size, endpoint=True))
        new_h = max(1, int(height * long_side / max(height, width) + 0.5))
        new_w = max(1, int(width * long_side / max(height, width) + 0.5))
        left = int(rng.integers(0, max(new_w - self.size, 0), endpoint=True))
        top = int(rng.integers(0, max(new_h - self.size, 0), endpoint=True))
        shown_h, shown_w = min(self.size, new_h), min(self.size, new_w)
        scale_x, scale_y = width / new_w, height / new_h
        box = (left * scale_x, top * scale_y, (left + shown_w) * scale_x, (top + shown_h) * scale_y)
        part = resize_region(image, box, (shown_h, shown_w))
        rows = nearest_index(height, new_h)[top : top + shown_h]
        columns = nearest_index(width, new_w)[left : left + shown_w]
        out_image = np.zeros((self.size, self.size), part.dtype)
        out_mask = np.zeros((self.size, self.size), np.bool_)
        out_image[:shown_h, :shown_w] = part
        out_mask[:shown_h, :shown_w] = mask[rows].take(columns, axis=1)
        return out_image, out_mask


@dataclass(frozen=True)
class Blur:
    """Gaussian blur of the image, probability 0.5, standard deviation from U(0, 1) pixels.

    As published, three box filters one after another stand for the Gaussian. 8-bit images take Pillow's,
    which round after each; others the same ones unrounded (at most 3 grey levels apart), since Pillow has
    none for them.
    """

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Blur the image; the mask stays."""
        applies, radius = rng.random() < 0.5, float(rng.random())
        if not applies:
            return image, mask
        if image.dtype == np.uint8:
            rounded = Image.fromarray(np.ascontiguousarray(image)).filter(ImageFilter.GaussianBlur(radius))
            return np.array(rounded), mask
        variance = radius**2 / 3  # of one box filter; below 1/3, so that it is three pixels wide
        box = np.array([variance / 2, 1 - variance, variance / 2])
        blurred = image.astype(np.float32)
        for axis in (1, 1, 1, 0, 0, 0):
            blurred = ndimage.correlate1d(blurred, box, axis=axis, mode="nearest")
        return blurred, mask


@dataclass(frozen=True)
class TargetPatch:
    """Cut a square patch: around a target's pixel chosen at random, or anywhere.

    Whole frames are mostly background; patches around targets show a network more of what it must learn.
    """

    size: int
    """Side of the patch in pixels; smaller images are zero-padded right and bottom."""
    positive_share: float
    """Probability that the patch holds a target, if the mask has one."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Cut both alike."""
        missing = [(0, max(self.size - length, 0)) for length in image.shape]
        if any(after for _, after in missing):
            image, mask = np.pad(image, missing), np.pad(mask, missing)
        room = np.array(image.shape) - self.size
        low, high = np.zeros(2, np.int64), room
        inside = np.flatnonzero(mask) if rng.random() < self.positive_share else np.zeros(0, np.int64)
        if len(inside):
            pixel = np.array(np.unravel_index(rng.choice(inside), mask.shape))
            low, high = np.maximum(pixel - self.size + 1, 0), np.minimum(pixel, room)
        top, left = rng.integers(low, high, endpoint=True).tolist()
        part = np.s_[top : top + self.size, left : left + self.size]
        return image[part], mask[part]


@dataclass(frozen=True)
class Compose:
    """Transforms one after another."""

    transforms: Sequence[Transform]
    """In the order they are applied."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Apply all, in order, with one generator."""
        for transform in self.transforms:
            image, mask = transform(image, mask, rng)
        return image, mask
