"""Augmentation for breadth: patches at many scales, targets of other data sets, and the habits of other sensors.

The published augmentations (`samspl.data.transforms`) keep to one data set. Weights that are to work on frames of any
thermal camera need more variety than that: these transforms cut a patch at a random scale, lay targets of other data
sets into it without the edges of their box, and vary gain, offset, noise and sharpness. They expect values normalised
by frame (zero mean, unit standard deviation), so that their strengths have one meaning for every camera. Each scaled,
blurred or disturbed sample costs exactness, since its mask was made for the image as it was: `variation` says how many
are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from samspl.data.copy_paste import TargetCrop
from samspl.data.transforms import Arrays, Compose, Flips
from samspl.imaging import nearest_index, resize_region
from samspl.preprocess import NATIVE_PADDING

SCALES = (0.6, 2.5)
"""Range of the random scale; below 1 targets become smaller."""
LEAST_CONTRAST = 2.0
"""Mean contrast of a pasted target, in standard deviations of its new surroundings."""
_AROUND_PX = 5
"""What surrounds a pasted target is judged over its box grown by this."""


@dataclass(frozen=True)
class ScaledPatch:
    """Cut a square patch, around a pixel of a target or anywhere, and scale it with probability 0.3 x variation."""

    size: int
    """Side of the patch in pixels; where the frame is smaller it is padded right and bottom, as a detector pads it."""
    positive_share: float
    """Probability that the patch holds a target, if the mask has one."""
    variation: float = 1.0
    """How often it is scaled, 0..1."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Cut both alike; only what the patch shows is computed."""
        # a frame is not made smaller than the patch
        low, high = np.log((max(SCALES[0], min(1.0, self.size / min(image.shape))), SCALES[1]))
        scale = float(np.exp(rng.uniform(low, high))) if rng.random() < 0.3 * self.variation else 1.0
        seen = round(self.size / scale)  # pixels of the frame along the patch
        seen_hw = np.minimum(seen, image.shape)
        room = np.array(image.shape) - seen_hw
        first, last = np.zeros(2, np.int64), room
        inside = np.flatnonzero(mask) if rng.random() < self.positive_share else np.zeros(0, np.int64)
        if len(inside):
            pixel = np.array(np.unravel_index(rng.choice(inside), mask.shape))
            first, last = np.maximum(pixel - seen_hw + 1, 0), np.minimum(pixel, room)
        top, left = rng.integers(first, last, endpoint=True).tolist()
        seen_h, seen_w = seen_hw.tolist()
        part = np.s_[top : top + seen_h, left : left + seen_w]
        if scale == 1.0:
            shown, shown_mask = image[part], mask[part]
        else:
            shown_h, shown_w = (max(1, min(self.size, round(n * scale))) for n in (seen_h, seen_w))
            box = (left, top, left + seen_w, top + seen_h)
            shown = resize_region(image, box, (shown_h, shown_w))
            rows = top + nearest_index(seen_h, shown_h)
            shown_mask = mask[rows].take(left + nearest_index(seen_w, shown_w), axis=1)
        missing = [(0, self.size - length) for length in shown.shape]
        if any(after for _, after in missing):
            shown, shown_mask = np.pad(shown, missing, NATIVE_PADDING), np.pad(shown_mask, missing)
        return shown, shown_mask


@dataclass(frozen=True)
class PasteTargets:
    """With probability 0.3 x variation lay one to three targets of other images into this one.

    What is added is a target's contrast to what surrounded it, faded out beyond its outline: unlike the published
    copy-paste, no edge of a box shows. A target that would drown (mean contrast below `LEAST_CONTRAST`) is made that
    strong.
    """

    crops: Sequence[TargetCrop]
    """At least one; in the range of the images."""
    variation: float = 1.0
    """How often targets are laid in, 0..1."""

    def __post_init__(self) -> None:
        if not self.crops:
            raise ValueError("crops is empty; expected at least one target to paste")

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Paste into copies of both, or leave them; targets never overlap."""
        if rng.random() >= 0.3 * self.variation:
            return image, mask
        image, mask = image.astype(np.float32), mask.copy()
        for _ in range(int(rng.integers(1, 3, endpoint=True))):
            crop = self.crops[int(rng.integers(len(self.crops)))]
            values, shape = Flips()(crop.values, crop.mask, rng)
            strength = float(np.exp(rng.uniform(-0.5, 0.7)))
            h, w = (length + 2 * _AROUND_PX for length in shape.shape)
            if not shape.any() or h > image.shape[0] or w > image.shape[1]:
                continue
            top = int(rng.integers(image.shape[0] - h, endpoint=True))
            left = int(rng.integers(image.shape[1] - w, endpoint=True))
            region = np.s_[top : top + h, left : left + w]
            if mask[region].any():
                continue
            level = np.median(values[~shape]) if not shape.all() else values.min()
            contrast = np.pad((values - level).astype(np.float32), _AROUND_PX)
            shape = np.pad(shape, _AROUND_PX)
            mean = strength * float(contrast[shape].mean())
            if mean <= 0:
                continue
            strength *= max(1.0, LEAST_CONTRAST * float(image[region].std()) / mean)
            fading = np.maximum(shape, ndimage.gaussian_filter(shape.astype(np.float32), 1.0))
            image[region] += np.float32(strength) * contrast * fading
            mask[region] |= shape
        return image, mask


@dataclass(frozen=True)
class SensorVariation:
    """Other cameras: gain and offset always; blur, noise, column pattern with probability 0.2, 0.2, 0.1 x variation.

    The noise is anything from fine to grainy, since a camera's processing spreads it over neighbours: it is white,
    smoothed by a Gaussian of up to 1.2 pixels.
    """

    variation: float = 1.0
    """How often the image is blurred or disturbed, 0..1."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Arrays:
        """Vary the image; the mask stays."""
        image = image.astype(np.float32)
        if rng.random() < 0.2 * self.variation:
            image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.2))
        if rng.random() < 0.2 * self.variation:
            grain = ndimage.gaussian_filter(rng.standard_normal(image.shape, np.float32), rng.uniform(0, 1.2))
            image = image + grain * np.float32(rng.uniform(0, 0.4) / grain.std())
        if rng.random() < 0.1 * self.variation:
            image = image + rng.standard_normal(image.shape[1], np.float32) * np.float32(rng.uniform(0, 0.2))
        gain, offset = np.exp(rng.normal(0, 0.25)), rng.normal(0, 0.2)
        return image * np.float32(gain) + np.float32(offset), mask


def broad_augmentation(
    size: int,
    positive_share: float,
    crops: Sequence[TargetCrop] = (),
    flips: bool = True,
    variation: float = 1.0,
) -> Compose:
    """Patch, flips if asked for, pasted targets if there are crops, sensor.

    Args:
        size: Side of the patches in pixels.
        positive_share: Probability that a patch holds a target, if the mask has one.
        crops: Targets to paste; none: nothing is pasted.
        flips: Flip and transpose at random.
        variation: What the probabilities of scaling, pasting, blur, noise and pattern are multiplied with, 0..1.
    """
    patch = ScaledPatch(size, positive_share, variation)
    flip = (Flips(),) if flips else ()
    paste = (PasteTargets(crops, variation),) if crops else ()
    return Compose((patch, *flip, *paste, SensorVariation(variation)))
