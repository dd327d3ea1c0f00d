"""Shapes of synthetic targets: points, blobs, streaks, ships, aircraft and clusters under an optic's blur.

Drawn at a sub-pixel position under a point-spread function (PSF), with peak 1; `samspl.data.synthetic` lays
them on a background.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.ndimage import gaussian_filter, label
from scipy.special import ndtr

MASK_FRACTION = 0.35
"""Fraction of a target's peak that bounds its mask. The fraction whose outline fits the masks of the real
sets best was measured: median 0.40 on NUDT-SIRST and 0.30 on NUAA-SIRST."""
MAX_SIZE_PX = 15
"""Largest side of a target's bounding box."""

TargetKind = Literal["point", "blob", "streak", "ship", "aircraft", "cluster"]
TARGET_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)
"""Shapes that are drawn, before the PSF."""

_KIND_SHARES = (0.33, 0.27, 0.1, 0.09, 0.12, 0.09)
_OVERSAMPLING = 4


@dataclass(frozen=True)
class Stamp:
    """A target's own contribution, peak 1, on a small grid of pixels."""

    template: np.ndarray
    inside: np.ndarray
    centre_xy: tuple[float, float]
    size_px: int
    kind: TargetKind


# Shapes as capsules (x0, y0, x1, y1, radius, brightness), along x, in units of the target's length.
_Capsule = tuple[float, float, float, float, float, float]
_Shape = Callable[[np.random.Generator], list[_Capsule]]


def _blob(rng: np.random.Generator) -> list[_Capsule]:
    radius = rng.uniform(0.2, 0.45)
    return [(-0.5 + radius, 0, 0.5 - radius, 0, radius, 1.0)]


def _streak(rng: np.random.Generator) -> list[_Capsule]:
    return [(-0.5, 0, 0.5, 0, rng.uniform(0.03, 0.1), 1.0)]


def _ship(rng: np.random.Generator) -> list[_Capsule]:
    bridge = rng.uniform(-0.25, 0.25)
    return [
        (-0.45, 0, 0.45, 0, rng.uniform(0.06, 0.1), rng.uniform(0.5, 1.0)),
        (bridge, 0, bridge, -rng.uniform(0.1, 0.25), rng.uniform(0.05, 0.12), 1.0),
    ]


def _aircraft(rng: np.random.Generator) -> list[_Capsule]:
    span, sweep, wing = rng.uniform(0.25, 0.5), rng.uniform(0.0, 0.3), rng.uniform(0.5, 1.0)
    return [
        (-0.5, 0, 0.5, 0, rng.uniform(0.04, 0.09), rng.uniform(0.7, 1.0)),
        (0.1, 0, 0.1 - sweep, span, 0.05, wing),
        (0.1, 0, 0.1 - sweep, -span * rng.uniform(0.5, 1.0), 0.05, wing),
        (-0.45, 0, -0.5, rng.uniform(-0.2, 0.2), 0.05, 1.0),
    ]


def _cluster(rng: np.random.Generator) -> list[_Capsule]:
    """Irregular: two to four overlapping spots of different warmth."""
    spots = rng.uniform(-0.35, 0.35, (rng.integers(2, 5), 2))
    return [(x, y, x, y, rng.uniform(0.12, 0.28), rng.uniform(0.5, 1.0)) for x, y in spots.tolist()]


_SHAPES: dict[str, _Shape] = {
    "blob": _blob,
    "streak": _streak,
    "ship": _ship,
    "aircraft": _aircraft,
    "cluster": _cluster,
}


def _point(rng: np.random.Generator) -> np.ndarray:
    """A point source: the Gaussian PSF integrated over each pixel, anywhere inside the middle pixel."""
    sigma = np.exp(rng.uniform(np.log(0.3), np.log(1.9)))
    half = int(np.ceil(4 * sigma)) + 1
    edges = np.arange(-half, half + 2) - 0.5
    along_y, along_x = (np.diff(ndtr((edges - shift) / sigma)) for shift in rng.uniform(-0.5, 0.5, 2))
    return np.outer(along_y, along_x).astype(np.float32)


def _extended(rng: np.random.Generator, shape: _Shape) -> np.ndarray:
    """A union of capsules (segments with a radius), turned, drawn finely, averaged to pixels and blurred."""
    length = rng.uniform(2.0, 13.0)
    angle = rng.normal(0, 0.12) if shape is _ship else rng.uniform(0, 2 * np.pi)  # ships float upright
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = int(np.ceil(length / 2)) + 5
    fine = (np.arange((2 * half + 1) * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - half - 0.5
    offset_x, offset_y = rng.uniform(-0.5, 0.5, 2)
    grid = np.stack(np.meshgrid(fine - offset_x, fine - offset_y))  # (2, F, F), x then y
    canvas = np.zeros(grid.shape[1:], np.float32)
    for x0, y0, x1, y1, radius, brightness in shape(rng):
        start, end = turn @ (x0, y0) * length, turn @ (x1, y1) * length
        along = end - start
        away = grid - start[:, None, None]
        share = np.clip(np.tensordot(along, away, 1) / max(float(along @ along), 1e-9), 0, 1)
        distance2 = ((away - along[:, None, None] * share) ** 2).sum(0)
        np.maximum(canvas, np.float32(brightness) * (distance2 <= max(radius * length, 0.4) ** 2), out=canvas)
    n = 2 * half + 1
    pixels = canvas.reshape(n, _OVERSAMPLING, n, _OVERSAMPLING).mean((1, 3))
    return np.asarray(gaussian_filter(pixels, rng.uniform(0.4, 1.1), mode="constant"))


def draw_stamp(rng: np.random.Generator) -> Stamp:
    """A random target shape under a random PSF that is one component of at most `MAX_SIZE_PX`."""
    while True:
        kind: TargetKind = TARGET_KINDS[rng.choice(len(TARGET_KINDS), p=_KIND_SHARES)]
        template = _point(rng) if kind == "point" else _extended(rng, _SHAPES[kind])
        if rng.random() < 0.15:  # sharpening inside the camera leaves a dark ring
            template = np.pad(template, 4)
            template += np.float32(rng.uniform(0.3, 1.5)) * (template - gaussian_filter(template, 1.5))
        template /= template.max()
        inside = template >= MASK_FRACTION
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        size = int(max(np.ptp(rows), np.ptp(columns))) + 1
        if size > MAX_SIZE_PX or label(inside, np.ones((3, 3)))[1] != 1:
            continue
        weight = np.maximum(template, 0)
        weight /= weight.sum()
        centre = (
            float(weight.sum(0) @ np.arange(weight.shape[1])),
            float(weight.sum(1) @ np.arange(weight.shape[0])),
        )
        return Stamp(template, inside, centre, size, kind)
