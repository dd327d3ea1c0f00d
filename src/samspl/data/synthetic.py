"""Synthetic infrared scenes with exact masks: for tests, the demo, detectability curves and pretraining.

A scene is a background (`samspl.data.backgrounds`), seen by a sensor with its noise and flaws, onto which
targets (`samspl.data.target_shapes`) are laid. The strength of each is solved for, so that its
signal-to-clutter ratio (SCR) in the finished, quantised image is one drawn from the range asked for. The
mask holds the pixels where the target's own contribution, before noise, is at least
`target_shapes.MASK_FRACTION` of its largest one. Numbers of targets, sizes and contrasts follow NUDT-SIRST
and NUAA-SIRST, where 1 target in 1450 is darker than its surroundings: all are bright here.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.optimize import brentq

from samspl.data.backgrounds import BACKGROUND_KINDS, BackgroundKind, draw_background, fractal_noise
from samspl.data.target_shapes import MAX_SIZE_PX, Stamp, TargetKind, draw_stamp
from samspl.errors import ConfigError
from samspl.imaging import write_image
from samspl.targets import SCR_MARGIN_PX, measure_scr

MIN_CONTRAST = 8.0
"""Least mean contrast of a target in 1/255 of the display range, where the SCR range leaves a choice; 99 % of
real targets have 13 or more."""

CSV_HEADER = "image,x,y,size_px,area_px,scr,kind,background"
"""First line of `targets.csv`."""

_BACKGROUND_SHARES = (0.34, 0.13, 0.18, 0.15, 0.2)  # roughly those of the real sets, in the same order
_COUNTS, _COUNT_SHARES = (1, 2, 3, 4, 5, 6), (0.55, 0.25, 0.1, 0.05, 0.03, 0.02)
_TRIES_A_TARGET, _TRIES_A_SCENE = 12, 4
_GAP_PX = 2
_STRONGEST = 250.0  # peak of a target in 1/255 of the display range


@dataclass(frozen=True)
class SceneTarget:
    """What is known of one target."""

    centroid_xy: tuple[float, float]
    """Centre of its contribution, sub-pixel; the centre of the top-left pixel is (0, 0)."""
    area_px: int
    """Pixels of its mask."""
    size_px: int
    """Larger side of its bounding box, 1 to `MAX_SIZE_PX`."""
    scr: float
    """Measured on the finished image: |mean inside - mean around| / std around, as in `samspl.targets`."""
    kind: TargetKind
    """Its shape before the PSF."""


@dataclass(frozen=True)
class Scene:
    """One synthetic frame and the truth about it."""

    image: np.ndarray
    """(H, W), uint8 or uint16."""
    mask: np.ndarray
    """(H, W) bool; every target is one 8-connected component."""
    targets: tuple[SceneTarget, ...]
    """In the order in which they were laid; empty for a scene without targets."""
    background: BackgroundKind
    """What the background shows."""


@dataclass
class _Frame:
    """A frame under construction: counts with the targets laid so far."""

    counts: np.ndarray
    """(H, W) float32."""
    gain: float
    """Counts in 1/255 of the display range."""
    dtype: type
    mask: np.ndarray
    """(H, W) bool."""
    laid: list[tuple[SceneTarget, np.ndarray]]
    """Targets with the flat indices of their pixels."""

    def stored(self) -> np.ndarray:
        """The frame as it is written to a file."""
        return np.clip(np.rint(self.counts), 0, np.iinfo(self.dtype).max).astype(self.dtype)

    def measured(self, pixels: np.ndarray) -> float:
        """SCR in the stored frame of the target with these pixels; infinite if nothing varies around it."""
        rows, columns = np.divmod(pixels, self.mask.shape[1])
        reach = MAX_SIZE_PX + 1 + SCR_MARGIN_PX
        y0, x0 = max(rows.min() - reach, 0), max(columns.min() - reach, 0)
        window = np.s_[y0 : rows.max() + reach, x0 : columns.max() + reach]
        values = np.clip(np.rint(self.counts[window]), 0, np.iinfo(self.dtype).max)
        inside = np.zeros(values.shape, bool)
        inside[rows - y0, columns - x0] = True
        scr = measure_scr(values, inside, self.mask[window])
        return float("inf") if scr is None else scr


def _place(rng: np.random.Generator, frame: _Frame, stamp: Stamp) -> tuple[int, int]:
    """Row and column of the stamp's top-left corner; its mask lies inside the frame, tails need not."""
    rows, columns = np.flatnonzero(stamp.inside.any(1)), np.flatnonzero(stamp.inside.any(0))
    room = np.array(frame.mask.shape) - (np.ptp(rows) + 1, np.ptp(columns) + 1)
    corner = rng.integers((0, 0), room + 1)
    if frame.laid and rng.random() < 0.3:  # formations
        x, y = frame.laid[-1][0].centroid_xy
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(4, 24)
        corner = np.clip((round(y + distance * np.sin(angle)), round(x + distance * np.cos(angle))), 0, room)
    return int(corner[0] - rows[0]), int(corner[1] - columns[0])


def _try_target(
    rng: np.random.Generator, frame: _Frame, scr_range: tuple[float, float], min_contrast: float
) -> bool:
    """Lay one random target at a random place, if it and those before it then have an SCR in the range."""
    h, w = frame.mask.shape
    stamp = draw_stamp(rng)
    top, left = _place(rng, frame, stamp)
    first_y, first_x = max(-top, 0), max(-left, 0)
    template = stamp.template[first_y : h - top, first_x : w - left]
    inside = stamp.inside[first_y : h - top, first_x : w - left]
    y, x = top + first_y, left + first_x
    region = np.s_[y : y + template.shape[0], x : x + template.shape[1]]
    apart = np.ones((2 * _GAP_PX + 1, 2 * _GAP_PX + 1), bool)
    if frame.mask[region].any() and (frame.mask[region] & binary_dilation(inside, apart)).any():
        return False
    pixels = np.flatnonzero(inside)
    pixels = (pixels // inside.shape[1] + y) * w + pixels % inside.shape[1] + x

    before, template = frame.counts[region].copy(), template * np.float32(frame.gain)
    frame.mask[region] |= inside

    def scr(strength: float) -> float:
        frame.counts[region] = before + np.float32(strength) * template
        return min(frame.measured(pixels), 1e3)

    # contrast is the mean over the mask, strength the peak
    weakest = min_contrast / float(stamp.template[stamp.inside].mean())
    low, high = scr_range
    # the part of the range that can be had at this place
    least, most = max(scr(weakest), low), min(scr(_STRONGEST), high)
    if least < most:
        wanted = rng.uniform(least, most)
        scr(brentq(lambda s: scr(s) - wanted, weakest, _STRONGEST, xtol=0.1, rtol=5e-3, maxiter=40))
        target = SceneTarget(
            (left + stamp.centre_xy[0], top + stamp.centre_xy[1]), len(pixels), stamp.size_px, 0.0, stamp.kind
        )
        if all(low <= frame.measured(p) <= high for p in [pixels, *(p for _, p in frame.laid)]):
            frame.laid.append((target, pixels))
            return True
    frame.counts[region] = before
    frame.mask[region] &= ~inside
    return False


def _see(rng: np.random.Generator, radiance: np.ndarray, saturates: bool) -> np.ndarray:
    """Radiance as a sensor shows it: (H, W) float32 levels, 0..255 nominal, with noise and flaws."""
    h, w = radiance.shape
    contrast = np.exp(rng.uniform(np.log(5.0), np.log(75.0)))
    deviation = max(float(radiance.std()), 1e-6)
    levels = (radiance - radiance.mean()) * np.float32(contrast / deviation)
    if rng.random() < 0.65:
        levels = gaussian_filter(levels, rng.uniform(0.4, 1.6))
    levels += np.float32(rng.uniform(25.0, 200.0))
    if rng.random() < 0.25:  # vignetting: darker towards the corners
        y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)[None]
        levels *= 1 - np.float32(rng.uniform(0.05, 0.3)) * (x**2 + y**2)
    sigma = np.exp(rng.normal(-0.2, 0.8))
    # frames that were enlarged or filtered have noise that is correlated between neighbours
    if rng.random() < 0.35:
        noise = fractal_noise(rng, (h, w), rng.uniform(0.5, 1.5))
    else:
        noise = rng.standard_normal((h, w), np.float32)
    levels += np.float32(sigma) * noise
    if rng.random() < 0.3:  # columns, less often rows, of a detector array differ in gain and offset
        levels += (sigma * rng.uniform(0.2, 1.0) * rng.standard_normal(w, np.float32))[None].astype(
            np.float32
        )
    if rng.random() < 0.15:
        levels += (sigma * rng.uniform(0.2, 1.0) * rng.standard_normal(h, np.float32))[:, None].astype(
            np.float32
        )
    if rng.random() < 0.1:  # dead pixels
        count = rng.integers(1, 12)
        levels[rng.integers(0, h, count), rng.integers(0, w, count)] = 0
    if rng.random() < 0.06:  # rows or columns that were never written
        border = rng.integers(1, 7)
        levels[:border] = 0
    return np.clip(levels, 0, 255) if saturates else levels


def _draw_once(
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    bits: int,
    scr_range: tuple[float, float],
    wanted: int,
    background: BackgroundKind,
) -> Scene:
    levels = _see(rng, draw_background(rng, size_hw, background), saturates=bits == 8)
    # raw 16-bit frames are wider than what a display shows, and sit on an offset
    gain, offset = (
        (1.0, 0.0) if bits == 8 else (float(np.exp(rng.uniform(1.0, 4.0))), rng.uniform(1000, 9000))
    )
    counts = levels * np.float32(gain) + np.float32(offset)
    frame = _Frame(counts, gain, np.uint8 if bits == 8 else np.uint16, np.zeros(size_hw, bool), [])
    for _ in range(wanted):
        for attempt in range(_TRIES_A_TARGET):
            # a low SCR on a quiet background means a faint target: accepted only when nothing else comes
            usual = attempt < _TRIES_A_TARGET * 2 // 3
            if _try_target(rng, frame, scr_range, MIN_CONTRAST * rng.uniform(1, 5) if usual else 0.5):
                break
    targets = tuple(dataclasses.replace(target, scr=frame.measured(pixels)) for target, pixels in frame.laid)
    return Scene(frame.stored(), frame.mask, targets, background)


def _check_arguments(
    size_hw: tuple[int, int],
    bits: int,
    scr_range: tuple[float, float],
    target_count: int | None,
    empty_share: float,
) -> None:
    if min(size_hw) < 32:
        raise ValueError(f"size_hw is {size_hw}; a scene needs at least 32 x 32 pixels")
    if bits not in (8, 16):
        raise ValueError(f"bits is {bits}; expected 8 or 16")
    low, high = scr_range
    if not 0 < low <= high * 0.95 < float("inf"):
        raise ValueError(f"scr_range is {low},{high}; expected 0 < low < high, at least 5 % apart")
    if target_count is not None and target_count < 0:
        raise ValueError(f"target_count is {target_count}; expected 0 or more")
    if not 0 <= empty_share <= 1:
        raise ValueError(f"empty_share is {empty_share}; expected 0 to 1")


def draw_scene(
    rng: np.random.Generator,
    size_hw: tuple[int, int] = (256, 256),
    bits: Literal[8, 16] = 8,
    scr_range: tuple[float, float] = (1.5, 12.0),
    target_count: int | None = None,
    background: BackgroundKind | None = None,
    empty_share: float = 0.1,
) -> Scene:
    """Draw one scene.

    Args:
        rng: Source of all randomness; the same state gives the same scene.
        size_hw: Height and width in pixels, at least 32 each.
        bits: 8 gives display levels that may saturate; 16 gives raw counts with an offset, in uint16.
        scr_range: Lowest and highest SCR; every target of the result lies inside, measured on the image.
        target_count: How many targets to lay; None draws it: none with probability `empty_share`, else 1
            to 6.
            Fewer are laid where the background leaves no place at which the SCR can be had.
        background: One of `BACKGROUND_KINDS`; None draws it.
        empty_share: Probability of a scene without targets, unless `target_count` is given.
    Raises:
        ValueError: for a size, depth, range, count or share that makes no sense.
    """
    _check_arguments(size_hw, bits, scr_range, target_count, empty_share)
    kind: BackgroundKind = (
        background or BACKGROUND_KINDS[rng.choice(len(BACKGROUND_KINDS), p=_BACKGROUND_SHARES)]
    )
    wanted = target_count
    if wanted is None:
        wanted = 0 if rng.random() < empty_share else int(rng.choice(_COUNTS, p=_COUNT_SHARES))
    best: Scene | None = None
    for _ in range(_TRIES_A_SCENE):  # a busy background may have no room for the SCR asked for: take another
        scene = _draw_once(rng, size_hw, bits, scr_range, wanted, kind)
        if best is None or len(scene.targets) > len(best.targets):
            best = scene
        if len(best.targets) == wanted:
            break
    assert best is not None
    return best


def write_dataset(
    out: Path,
    count: int,
    seed: int = 0,
    bits: Literal[8, 16] = 8,
    scr_range: tuple[float, float] = (1.5, 12.0),
    size_hw: tuple[int, int] = (256, 256),
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Write synthetic scenes as a data set in the standard layout.

    Makes `images/ID.png`, `masks/ID.png` (0 and 255), `train.txt` (the first four fifths), `test.txt` (the
    rest, at least one of two or more) and `targets.csv` (a row for each target, see `CSV_HEADER`). Scene i
    depends on seed and i alone, so a longer set begins with the shorter one's images.

    Args:
        out: Folder to make; it must not hold anything yet.
        count: Number of scenes, at least 1.
        seed: The same call writes the same bytes (with the same versions of numpy, scipy and Pillow).
        bits: See `draw_scene`, as for `scr_range` and `size_hw`.
        progress: Wraps the range of scene numbers, as tqdm does.
    Raises:
        ValueError: for a count below 1 or arguments that `draw_scene` refuses.
        ConfigError: if the folder is not empty.
    """
    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1 scene")
    _check_arguments(size_hw, bits, scr_range, None, 0.0)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; name a new folder for the synthetic scenes")
    names = [f"synth_{index:05d}" for index in range(count)]
    rows: list[str] = []
    for index in progress(range(count)):
        scene = draw_scene(np.random.default_rng([seed, index]), size_hw, bits, scr_range)
        write_image(out / "images" / f"{names[index]}.png", scene.image)
        write_image(out / "masks" / f"{names[index]}.png", scene.mask)
        rows += [
            f"{names[index]},{t.centroid_xy[0]:.3f},{t.centroid_xy[1]:.3f},{t.size_px},{t.area_px},{t.scr:.3f},"
            f"{t.kind},{scene.background}\n"
            for t in scene.targets
        ]
    (out / "targets.csv").write_text(f"{CSV_HEADER}\n{''.join(rows)}", newline="\n")
    train = count if count == 1 else min(-(-count * 4 // 5), count - 1)
    for split, ids in (("train", names[:train]), ("test", names[train:])):
        (out / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids), newline="\n")
