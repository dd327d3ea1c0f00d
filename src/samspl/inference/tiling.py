"""Frames larger than a network is run on: overlapping tiles, probabilities blended, no seam.

A tile is a part of the frame at its own scale, with values mapped by the statistics of the whole frame. Tiles start at
multiples of the network's stride, so that where they overlap both see the same grid, and the last of a row is padded
exactly as the whole frame would be. The weights with which tiles are added are products of one factor for the row and
one for the column, so that no map of them is needed: beside the frame there is one map of probabilities and one tile.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from samspl.errors import ImageError
from samspl.postprocess import logits_to_prob
from samspl.preprocess import STRIDE, Preprocess, padded_size

logger = logging.getLogger(__name__)

WHOLE_PX = 1024 * 1024
"""Frames of at most this many pixels are not cut where memory allows: a frame of 512 x 512 in tiles of 448 would cost
three times as much, as they would overlap nearly all over."""
TILE_SIDES = (448, 224)
"""Sides to choose from, best first: 14 x 14 windows at stride 16 fill both without padding. Larger ones save overlap
and lose as much by global attention; smaller ones overlap more and see less."""
OVERLAP_PX = 64
"""Neighbouring tiles share at least this; less where a tile is small."""
BYTES_PER_PX = 1200
"""Memory that a network takes for each pixel of its input: 1100 measured for spl_t, 1000 for spl_l, fp32 on CPU."""

Tile = int | Literal["auto"]
"""Side of tiles in pixels, or the package's choice."""
Run = Callable[[np.ndarray], np.ndarray]
"""(1, 3, H, W) float32 -> (1, 1, H, W) float32 logits; a `samspl.backends.Backend` is one."""


class Span(NamedTuple):
    """Where one row or column of tiles lies along a side of the frame."""

    start: int
    """First pixel."""
    weights: np.ndarray
    """(side,) float32: what the tiles count for; 1 where no other reaches, and at every pixel the sum of all spans is
    1."""


def check_tile(tile: Tile) -> None:
    """Refuse what is no tile size.

    Raises:
        ValueError: unless it is `auto` or a positive multiple of 32.
    """
    if tile == "auto":
        return
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < STRIDE or tile % STRIDE:
        raise ValueError(
            f"tile is {tile!r}; expected 'auto' or a positive multiple of {STRIDE}, such as {TILE_SIDES[0]}"
        )


def choose_side(source_hw: tuple[int, int], memory_bytes: int | None) -> int | None:
    """How to cut a frame; where memory decides, the log says so once.

    Args:
        source_hw: Size of the frame.
        memory_bytes: What is at hand, of which half may be used; None: unknown, taken for plenty.
    Returns:
        Side of the tiles; None for a frame that is best run whole.
    """
    height, width = padded_size(source_hw)
    affordable_px = WHOLE_PX if memory_bytes is None else memory_bytes // 2 // BYTES_PER_PX
    if height * width <= min(WHOLE_PX, affordable_px):
        return None
    side = next((side for side in TILE_SIDES if side * side <= affordable_px), TILE_SIDES[-1])
    if memory_bytes is not None and (height * width <= WHOLE_PX or side != TILE_SIDES[0]):
        _say_short(memory_bytes, affordable_px, side)
    return side


@functools.cache  # a detector asks for every frame, with what was at hand when it was loaded
def _say_short(memory_bytes: int, affordable_px: int, side: int) -> None:
    logger.info(
        "%d MB of memory are at hand: frames of more than %d pixels go through the network in tiles of %d",
        *(memory_bytes // 10**6, affordable_px, side),
    )


def cover(length: int, side: int) -> list[Span]:
    """Lay tiles along a side of a frame, evenly, so that they reach its end padded to the stride.

    Args:
        length: Pixels of the frame, at least 1.
        side: Pixels of a tile, a multiple of 32.
    """
    padded = max(padded_size((length, length))[0], side)
    unit = STRIDE if side > STRIDE else STRIDE // 2
    overlap = min(OVERLAP_PX, side // 2 // unit * unit)
    way, step = (padded - side) // unit, (side - overlap) // unit
    steps = -(-way // step)
    starts = [way * i // steps * unit for i in range(steps + 1)] if steps else [0]
    window = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    total = np.zeros(padded)
    for start in starts:
        total[start : start + side] += window
    return [Span(start, (window / total[start : start + side]).astype(np.float32)) for start in starts]


def finite_prob(logits: np.ndarray) -> np.ndarray:
    """Probabilities of one image's logits.

    Raises:
        ImageError: for logits that are not finite, which values far out of range or damaged weights make.
    """
    try:
        return logits_to_prob(logits)
    except ValueError as err:
        raise ImageError(f"{err}; check the values of the image, and the weights") from err


def predict_tiled(
    run: Run, image: np.ndarray, preprocess: Preprocess, side_hw: tuple[int, int]
) -> np.ndarray:
    """Probabilities of a frame of any size, tile by tile.

    Args:
        run: The network.
        image: (H, W) of any integer or float type.
        preprocess: How values become network input; its size is not used, tiles have the frame's scale.
        side_hw: Height and width of a tile, multiples of 32.
    Returns:
        (H, W) float32 in 0..1.
    Raises:
        ImageError: for values that cannot be used, see `Preprocess`, or that make logits that are not finite.
    """
    native = dataclasses.replace(preprocess, image_size=None)
    values = native.measure(image)
    prob = np.zeros(image.shape, np.float32)
    columns = cover(image.shape[1], side_hw[1])
    for row in cover(image.shape[0], side_hw[0]):
        for column in columns:
            area = np.s_[row.start : row.start + side_hw[0], column.start : column.start + side_hw[1]]
            part = image[area]
            height, width = part.shape  # less than a tile at the right and lower border
            prepared = native.to_input(part if values is None else values.apply(part), side_hw)
            tile = finite_prob(run(prepared[None])[0, 0])[:height, :width]
            prob[area] += tile * row.weights[:height, None] * column.weights[:width]
    return np.minimum(prob, 1.0, out=prob)  # weights sum to one but for rounding
