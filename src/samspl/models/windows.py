"""Maps cut into windows and put together again; tokens are channels last.

Follows the window layout of SAM 2's Hiera (Apache-2.0): windows in row-major order, the last row and column cut short
by the border of the map (SAM 2 fills them with padding; `hiera` accounts for it without making it).
"""

from typing import NamedTuple

from torch import Tensor


class Strip(NamedTuple):
    """A run of rows (or columns) in which all windows have the same number of real tokens."""

    start: int
    stop: int
    side: int
    """Tokens of the map along one window."""
    window: int
    """Tokens of a whole window; more than ``side`` where the border cuts it."""


def whole_and_rest(length: int, window: int) -> list[Strip]:
    """Cut ``length`` tokens into the strip of whole windows and, where it does not divide, the one cut short."""
    whole = length // window * window
    strips = [Strip(0, whole, window, window)] if whole else []
    if whole < length:
        strips.append(Strip(whole, length, length - whole, window))
    return strips


def partition(x: Tensor, side_hw: tuple[int, int]) -> Tensor:
    """Cut (B, H, W, C), multiples of ``side_hw``, into windows (B * windows, side_h * side_w, C)."""
    b, h, w, c = x.shape
    sh, sw = side_hw
    x = x.reshape(b, h // sh, sh, w // sw, sw, c)
    return x.transpose(2, 3).reshape(-1, sh * sw, c)


def merge(windows: Tensor, side_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    """Inverse of `partition`: (B * windows, side_h * side_w, C) to (B, H, W, C), with ``size_hw`` = (H, W)."""
    (sh, sw), (h, w) = side_hw, size_hw
    x = windows.reshape(-1, h // sh, w // sw, sh, sw, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, h, w, windows.shape[-1])
