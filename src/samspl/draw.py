"""Overlays that a person can read: the targets of an image, or its hits, misses and false alarms.

Kinds differ in colour *and* shape; the colours are Okabe and Ito's, which the colour-blind tell apart.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from samspl.targets import MATCH_DISTANCE_PX, Target, find_targets, match_targets

SHOWN_SIDE_PX = 720
"""Smaller images are enlarged, by a whole factor, until their longer side has at least this length."""
MARGIN_PX = 9
"""Free space between a target and its marker, in shown pixels, so that the marker hides nothing."""
LINE_PX = 3
"""Width of a marker's line, in shown pixels."""
HALO_PX = 2
"""Black edge on both sides of a line: readable on any background."""

Box = tuple[float, float, float, float]
Line = list[tuple[float, float]]


class Kind(NamedTuple):
    """How one kind of marker looks."""

    label: str
    """Word in the legend."""
    colour: tuple[int, int, int]
    """RGB."""
    outline: Callable[[Box], list[Line]]
    """From a box to the lines of the shape around it."""


def _circle(box: Box) -> list[Line]:
    left, top, right, bottom = box
    # through the corners of the box, so that nothing of the target is covered
    radius = max(right - left, bottom - top) / 2**0.5
    angle = np.linspace(0, 2 * np.pi, 49)
    x, y = (left + right) / 2 + radius * np.cos(angle), (top + bottom) / 2 + radius * np.sin(angle)
    return [list(zip(x.tolist(), y.tolist(), strict=True))]


def _square(box: Box) -> list[Line]:
    left, top, right, bottom = box
    return [[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]]


def _corners(box: Box) -> list[Line]:
    left, top, right, bottom = box
    arm_x, arm_y = max((right - left) * 0.25, 6), max((bottom - top) * 0.25, 6)
    return [
        [(x, y + dy), (x, y), (x + dx, y)]
        for x, dx in ((left, arm_x), (right, -arm_x))
        for y, dy in ((top, arm_y), (bottom, -arm_y))
    ]


def _triangle(box: Box) -> list[Line]:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    centre = (left + right) / 2
    # the smallest one with this slope that holds the box
    return [
        [
            (centre, top - height * 0.9),
            (right + width * 0.55, bottom),
            (left - width * 0.55, bottom),
            (centre, top - height * 0.9),
        ]
    ]


HIT = Kind("hit", (86, 180, 233), _circle)
"""Sky blue circle."""
MISS = Kind("miss", (230, 159, 0), _square)
"""Orange square."""
FALSE_ALARM = Kind("false alarm", (240, 228, 66), _triangle)
"""Yellow triangle."""
TARGET = Kind("target", (86, 180, 233), _corners)
"""Sky blue corners."""


def draw_targets(image: np.ndarray, targets: Sequence[Target]) -> Image.Image:
    """Mark targets, each with its score where it has one.

    Args:
        image: (H, W) of any type; 8-bit values are shown as they are, others from their 0.1 to 99.9
            percentile.
        targets: In pixels of the image.
    Returns:
        RGB, enlarged by a whole factor if small, with a legend below.
    """
    canvas = _Canvas(image)
    for target in targets:
        canvas.mark(TARGET, target.bbox_xyxy, None if target.score is None else f"{target.score:.2f}")
    return canvas.with_legend([(TARGET, len(targets))])


def draw_comparison(
    image: np.ndarray,
    pred_mask: np.ndarray,
    gt_mask: np.ndarray,
    max_distance_px: float = MATCH_DISTANCE_PX,
) -> Image.Image:
    """Mark hits (blue circles), misses (orange squares) and false alarms (yellow triangles).

    Args:
        image: (H, W) of any type, shown as by `draw_targets`.
        pred_mask: (H, W) bool.
        gt_mask: (H, W) bool.
        max_distance_px: Centroids at this distance or farther do not belong together.
    Returns:
        RGB, enlarged by a whole factor if small, with a legend that counts each kind below.
    Raises:
        ValueError: for sizes that differ.
    """
    for name, mask in (("pred_mask", pred_mask), ("gt_mask", gt_mask)):
        if mask.shape != image.shape:
            raise ValueError(f"{name} has shape {mask.shape}, the image {image.shape}; expected the same")
    pred, gt = find_targets(pred_mask), find_targets(gt_mask)
    matching = match_targets(pred, gt, max_distance_px)
    canvas = _Canvas(image)
    # what is true comes last, so that a swarm of false alarms does not bury it
    for p in matching.false_alarms:
        canvas.mark(FALSE_ALARM, pred[p].bbox_xyxy)
    for p, t in matching.hits:
        canvas.mark(HIT, _union(pred[p].bbox_xyxy, gt[t].bbox_xyxy))
    for t in matching.misses:
        canvas.mark(MISS, gt[t].bbox_xyxy)
    return canvas.with_legend(
        [
            (HIT, len(matching.hits)),
            (MISS, len(matching.misses)),
            (FALSE_ALARM, len(matching.false_alarms)),
        ]
    )


def to_display(image: np.ndarray, cut: float | None = None) -> np.ndarray:
    """Values for the screen; beside the image, at most one copy of it in its own type is held.

    Args:
        image: (H, W) of any type.
        cut: Percentage cut off at both ends, 0 to below 50; None shows 8-bit values as they are and cuts 0.1 of others.
    Returns:
        (H, W) uint8: bool as 0 and 255, others stretched between the ends (from least to largest where these are
        equal; all equal gives mid-grey). Values that are not finite are black.
    Raises:
        ValueError: for another number of dimensions or no pixels.
    """
    if image.ndim != 2 or not image.size:
        raise ValueError(f"image has shape {image.shape}; expected (height, width) with at least one pixel")
    if image.dtype == bool:
        return np.where(image, np.uint8(255), np.uint8(0))
    if cut is None and image.dtype == np.uint8:
        return image
    if cut is None:
        cut = 0.1
    finite = image if image.dtype.kind in "iu" else image[np.isfinite(image)]
    if not finite.size:
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(finite, (cut, 100 - cut)).tolist()
    if high <= low:
        low, high = float(finite.min()), float(finite.max())
    shown = np.empty(image.shape, np.uint8)
    for rows, part in zip(_row_blocks(shown), _row_blocks(image), strict=True):
        is_finite = np.isfinite(part)
        if high <= low:
            rows[:] = np.where(is_finite, np.uint8(128), np.uint8(0))
        else:
            values = (np.where(is_finite, part, low) - low) * (255.0 / (high - low))
            rows[:] = np.clip(np.rint(values), 0, 255)
    return shown


def _row_blocks(image: np.ndarray) -> Iterator[np.ndarray]:
    """Views of a few rows each."""
    height = max(1, 2**16 // image.shape[1])
    return (image[top : top + height] for top in range(0, image.shape[0], height))


class _Canvas:
    """An enlarged image to mark targets on."""

    def __init__(self, image: np.ndarray) -> None:
        grey = to_display(image)
        self.scale = max(1, -(-SHOWN_SIDE_PX // max(grey.shape)))
        shown = Image.fromarray(np.ascontiguousarray(grey)).convert("RGB")
        size = (shown.width * self.scale, shown.height * self.scale)
        self.picture = shown.resize(size, Image.Resampling.NEAREST)
        self.draw = ImageDraw.Draw(self.picture)
        self.font = ImageFont.load_default(18)

    def mark(self, kind: Kind, box: tuple[int, int, int, int], text: str | None = None) -> None:
        """Draw a marker around a box given in pixels of the original image."""
        left, top, right, bottom = (side * self.scale for side in box)
        shape = kind.outline((left - MARGIN_PX, top - MARGIN_PX, right + MARGIN_PX, bottom + MARGIN_PX))
        _stroke(self.draw, shape, kind.colour)
        if text is not None:
            x, y = right + MARGIN_PX + 5, top - MARGIN_PX - 9
            width = self.draw.textlength(text, font=self.font)
            x = x if x + width < self.picture.width else left - MARGIN_PX - 5 - width
            place = (max(x, HALO_PX), min(max(y, HALO_PX), self.picture.height - 20))
            # a plate behind it: thin letters drown in noise
            box_of_text = self.draw.textbbox(place, text, font=self.font)
            plate = tuple(side + grow for side, grow in zip(box_of_text, (-3, -3, 3, 3), strict=True))
            self.draw.rectangle(plate, fill=(0, 0, 0))
            self.draw.text(place, text, (255, 255, 255), self.font)

    def with_legend(self, entries: Sequence[tuple[Kind, int]]) -> Image.Image:
        """The picture with a strip below that names and counts each kind; wide enough for it."""
        height, step = 40, 24
        labels = [f"{kind.label}: {count}" for kind, count in entries]
        widths = [46 + self.draw.textlength(label, font=self.font) + step for label in labels]
        wide = max(self.picture.width, int(sum(widths)) + step)
        whole = Image.new("RGB", (wide, self.picture.height + height), (24, 24, 24))
        whole.paste(self.picture, ((wide - self.picture.width) // 2, 0))
        draw = ImageDraw.Draw(whole)
        x, middle = float(step), self.picture.height + height / 2
        for (kind, _), label, width in zip(entries, labels, widths, strict=True):
            top = middle - 3 if kind is FALSE_ALARM else middle - 8  # a triangle rises above its box
            _stroke(draw, kind.outline((x + 4, top, x + 20, middle + 8)), kind.colour)
            draw.text((x + 42, middle), label, (240, 240, 240), self.font, anchor="lm")
            x += width
        return whole


def _stroke(draw: ImageDraw.ImageDraw, lines: list[Line], colour: tuple[int, int, int]) -> None:
    for line in lines:
        draw.line(line, (0, 0, 0), LINE_PX + 2 * HALO_PX, joint="curve")
    for line in lines:
        draw.line(line, colour, LINE_PX, joint="curve")


def _union(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
