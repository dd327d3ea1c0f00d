"""Backgrounds of synthetic infrared scenes: clouds, sea, ground, buildings and plain sky.

Every function draws one (H, W) float32 map of relative radiance; `samspl.data.synthetic` scales it to counts
and adds optics, noise and targets. What is drawn was chosen by looking at real images of NUDT-SIRST and
NUAA-SIRST. Natural textures are noise with a power-law spectrum, the usual model of clouds and terrain.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

BackgroundKind = Literal["clouds", "sea", "ground", "buildings", "plain"]
BACKGROUND_KINDS: tuple[BackgroundKind, ...] = get_args(BackgroundKind)
"""Names that `draw_background` knows."""


def draw_background(rng: np.random.Generator, size_hw: tuple[int, int], kind: BackgroundKind) -> np.ndarray:
    """Draw one background.

    Args:
        rng: Source of all randomness.
        size_hw: Height and width in pixels, each at least 1.
        kind: One of `BACKGROUND_KINDS`.
    Returns:
        (H, W) float32, finite; level and contrast have no unit.
    Raises:
        ValueError: for an unknown kind.
    """
    if kind not in _PAINTERS:
        raise ValueError(f"unknown background {kind!r}; known: {', '.join(BACKGROUND_KINDS)}")
    return _PAINTERS[kind](rng, size_hw).astype(np.float32, copy=False)


def fractal_noise(
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    slope: float,
    stretch_xy: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """Gaussian noise whose power falls with spatial frequency f as f ** -slope.

    Args:
        rng: Source of all randomness.
        size_hw: Height and width in pixels.
        slope: 0 is white; clouds and terrain lie near 2 to 3.5; larger is smoother.
        stretch_xy: Structures are this many times longer along x and y.
    Returns:
        (H, W) float32 of zero mean and unit standard deviation (one pixel: 0); wraps at the borders.
    """
    h, w = size_hw
    square = _squared_frequency(h, w, round(stretch_xy[0], 1), round(stretch_xy[1], 1))
    spectrum = rng.standard_normal((*square.shape, 2), np.float32).view(np.complex64)[..., 0]
    spectrum *= square ** np.float32(
        -slope / 4
    )  # amplitude is the root of power, frequency that of its square
    spectrum[0, 0] = 0
    noise = fft.irfft2(spectrum, s=size_hw)
    deviation = noise.std()
    return noise / deviation if deviation > 0 else np.zeros(size_hw, np.float32)


@lru_cache(maxsize=64)
def _squared_frequency(h: int, w: int, stretch_x: float, stretch_y: float) -> np.ndarray:
    fy = np.fft.fftfreq(h)[:, None] * stretch_y
    fx = np.fft.rfftfreq(w)[None] * stretch_x
    square = (fy**2 + fx**2).astype(np.float32)
    square[0, 0] = 1.0
    return square


def _ramp(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """A smooth field from 0 to about 1: linear in a random direction, or round a bright or dark spot."""
    h, w = size_hw
    y = np.linspace(-0.5, 0.5, h, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, w, dtype=np.float32)[None]
    if rng.random() < 0.6:
        # mostly along the elevation, as the sky is warmer near the horizon
        angle = rng.normal(np.pi / 2, 0.5)
        return np.asarray(0.5 + x * np.cos(angle) + y * np.sin(angle))
    centre_x, centre_y = rng.uniform(-0.7, 0.7, 2)
    spread = rng.uniform(0.2, 1.0)
    glow = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * spread**2))
    return np.asarray(glow if rng.random() < 0.7 else 1 - glow)


def _plain(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    haze = fractal_noise(rng, size_hw, rng.uniform(3.0, 4.0), (rng.uniform(1, 3), 1.0))
    return _ramp(rng, size_hw) + rng.uniform(0.0, 0.25) * haze


def _clouds(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    stretch = (rng.uniform(1.0, 3.5), 1.0) if rng.random() < 0.7 else (1.0, rng.uniform(1.0, 2.0))
    body = fractal_noise(rng, size_hw, rng.uniform(3.2, 4.2), stretch)
    detail = fractal_noise(rng, size_hw, rng.uniform(2.4, 3.2), stretch)
    # real clouds are smooth in one place and curdled in another, which noise of one spectrum is not
    density = body + rng.uniform(0.1, 0.5) * detail * np.clip(body + np.float32(rng.uniform(0, 1.5)), 0, 2)
    form = rng.random()
    if form < 0.45:  # cumulus: clear sky between clouds with a bright, firm edge
        cover = np.maximum(density - np.float32(rng.uniform(-0.8, 1.2)), 0)
        cloud: np.ndarray = np.tanh(cover * rng.uniform(0.7, 4.0)) * (
            1 + np.float32(rng.uniform(0.1, 0.4)) * detail
        )
    elif form < 0.6:  # cirrus: faint veils drawn out along the wind
        veil = fractal_noise(rng, size_hw, 2.6, (rng.uniform(3, 8), 1.0))
        cloud = np.maximum(body, 0) * (1 + np.float32(0.5) * veil)
    elif form < 0.8:  # overcast
        cloud = 0.4 * body + np.float32(0.04) * detail
    else:  # broken cloud over the whole field
        cloud = 0.5 * density
    return np.asarray(cloud + rng.uniform(0.0, 0.8) * _ramp(rng, size_hw))


def _seen_in_perspective(texture: np.ndarray, size_hw: tuple[int, int], farthest: float) -> np.ndarray:
    """A textured plane looked at from above; the top row is `farthest` times as far as the bottom row."""
    h, w = size_hw
    near = np.linspace(1 / farthest, 1.0, h, dtype=np.float32)  # 1 / distance of every row
    rows = (texture.shape[0] * 0.9 / near).astype(np.intp) % texture.shape[0]
    columns = (np.arange(w, dtype=np.float32) - w / 2)[None] / near[:, None]
    return np.asarray(texture[rows[:, None], columns.astype(np.intp) % texture.shape[1]])


def _below_horizon(
    rng: np.random.Generator, sky: np.ndarray, land: np.ndarray, horizon: np.ndarray, step: float
) -> np.ndarray:
    """Put `land` under the row of each column's horizon; `step` is how much warmer it is than the sky."""
    edge = np.clip(np.arange(sky.shape[0], dtype=np.float32)[:, None] - horizon[None] + 0.5, 0, 1)
    return np.asarray(sky * (1 - edge) + (land + np.float32(step)) * edge)


def _sea(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    h, w = size_hw
    waves = fractal_noise(rng, size_hw, rng.uniform(1.4, 2.8), (rng.uniform(2.0, 8.0), 1.0))
    has_horizon = rng.random() < 0.5
    if has_horizon or rng.random() < 0.4:
        waves = _seen_in_perspective(waves, size_hw, rng.uniform(2.0, 8.0))
    swell = fractal_noise(rng, size_hw, 3.5, (4.0, 1.0))
    sea = 0.12 * waves + rng.uniform(0.02, 0.15) * swell
    if rng.random() < 0.65:  # sun glint: a lane in which wave facets flash
        x = np.linspace(-0.5, 0.5, w, dtype=np.float32)[None] - np.float32(rng.uniform(-0.5, 0.5))
        y = np.linspace(-0.5, 0.5, h, dtype=np.float32)[:, None] - np.float32(rng.uniform(-0.4, 0.5))
        lane = np.exp(-((x / rng.uniform(0.1, 0.5)) ** 2) - (y / rng.uniform(0.2, 0.8)) ** 2)
        flashes = np.maximum(waves - np.float32(rng.uniform(0.0, 2.0)), 0)
        sea = sea + lane * (rng.uniform(0.0, 0.5) + rng.uniform(0.2, 0.9) * flashes)
    sea = sea + rng.uniform(0, 0.4) * _ramp(rng, size_hw)
    if not has_horizon:
        return np.asarray(sea)
    sky = _plain(rng, size_hw) * 0.3 if rng.random() < 0.6 else _clouds(rng, size_hw) * 0.4
    horizon = np.full(w, rng.uniform(0.05, 0.6) * h, np.float32) + np.arange(w) * rng.normal(0, 0.01)
    return _below_horizon(rng, sky, sea, horizon.astype(np.float32), rng.uniform(-0.6, 0.6))


def _ground(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    h, w = size_hw
    terrain = fractal_noise(rng, size_hw, rng.uniform(2.0, 3.2), (rng.uniform(1.0, 2.5), 1.0))
    detail = fractal_noise(rng, size_hw, rng.uniform(0.6, 1.8))  # bushes, stones, tree tops
    wooded = np.clip(0.5 + terrain * rng.uniform(0.5, 3.0), 0.1, 1)  # rough here, meadow there
    land = 0.3 * terrain + rng.uniform(0.05, 0.25) * detail * wooded
    if rng.random() < 0.4:  # fields and woods with a firm border
        fields = fractal_noise(rng, size_hw, 3.4, (rng.uniform(1.0, 4.0), 1.0))
        land = land + rng.uniform(0.2, 0.6) * np.tanh(fields * 8)
    if rng.random() < 0.4:
        land = land + rng.uniform(0.1, 0.4) * np.maximum(detail - 1.2, 0)  # warm stones, lamps, roofs
    if rng.random() < 0.5:
        land = _seen_in_perspective(land, size_hw, rng.uniform(1.5, 5.0))
    for _ in range(rng.integers(0, 4)):  # roads, walls, field borders
        land = land + rng.normal(0, 0.5) * _line(rng, size_hw, rng.uniform(0.7, 4.0))
    if rng.random() < 0.5:
        return np.asarray(land + rng.uniform(0, 0.5) * _ramp(rng, size_hw))
    sky = _plain(rng, size_hw) * 0.4 if rng.random() < 0.5 else _clouds(rng, size_hw) * 0.5
    ridge = fractal_noise(rng, (1, w), rng.uniform(2.2, 3.6))[0] * rng.uniform(0.0, 0.1) * h
    if rng.random() < 0.4:  # tree tops along the ridge
        ridge = ridge - np.abs(fractal_noise(rng, (1, w), 1.0)[0]) * rng.uniform(1, 6)
    return _below_horizon(
        rng, sky, land, ridge + np.float32(rng.uniform(0.2, 0.9) * h), rng.uniform(-0.6, 1.0)
    )


def _line(rng: np.random.Generator, size_hw: tuple[int, int], width_px: float) -> np.ndarray:
    """A straight soft-edged line of height 1 through the image: wire, pole, road."""
    h, w = size_hw
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)]) + rng.normal(0, 0.05)
    y, x = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)[None]
    away = (x - rng.uniform(0, w)) * np.sin(angle) - (y - rng.uniform(0, h)) * np.cos(angle)
    return np.asarray(np.clip(width_px / 2 + 0.5 - np.abs(away), 0, 1), np.float32)


def _buildings(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    h, w = size_hw
    scene = _plain(rng, size_hw) * 0.3 if rng.random() < 0.6 else _clouds(rng, size_hw) * 0.5
    scene = np.asarray(scene, np.float32)
    polarity = 1 if rng.random() < 0.75 else -1  # walls are mostly warmer than the sky, sometimes silhouettes
    for _ in range(rng.integers(1, 6)):
        top, left = int(rng.uniform(0.05, 0.9) * h), int(rng.uniform(-0.1, 0.9) * w)
        right = max(left + int(rng.uniform(0.05, 0.5) * w), 1)
        block = scene[top:, max(left, 0) : right]
        if block.size == 0:
            continue
        block[:] = np.float32(polarity * rng.uniform(0.3, 1.2)) + 0.1 * block
        _add_windows(rng, block)
    for _ in range(rng.integers(0, 4)):  # poles, cranes, wires
        strength = np.float32(polarity * rng.uniform(0.2, 1.0))
        line = _line(rng, size_hw, rng.uniform(0.5, 5.0))
        if rng.random() < 0.5:
            line[: int(rng.uniform(0, 0.8) * h)] = 0
        scene += strength * line
    # near buildings are out of focus more often than not
    scene = gaussian_filter(scene, rng.uniform(0.5, 4.0)) if rng.random() < 0.7 else scene
    return scene + np.float32(0.02) * fractal_noise(rng, size_hw, 1.5)


def _add_windows(rng: np.random.Generator, block: np.ndarray) -> None:
    """Rows of windows, floors or ribs on one wall, in place."""
    h, w = block.shape
    if rng.random() < 0.3:
        block += np.float32(rng.uniform(0.05, 0.3)) * np.linspace(-1, 1, w, dtype=np.float32)[None]
    if rng.random() < 0.3:
        return
    pitch_y, pitch_x = rng.uniform(5, 30, 2)
    open_y = (np.arange(h) % pitch_y) < rng.uniform(0.3, 0.8) * pitch_y
    open_x = (np.arange(w) % pitch_x) < rng.uniform(0.3, 0.9) * pitch_x
    lit = rng.normal(0, 0.3, (h // int(pitch_y) + 1, w // int(pitch_x) + 1)).astype(np.float32)
    rows = (np.arange(h) // pitch_y).astype(np.intp)
    columns = (np.arange(w) // pitch_x).astype(np.intp)
    block += lit[rows][:, columns] * (open_y[:, None] & open_x[None]) * np.float32(rng.uniform(0.3, 1.0))
    if rng.random() < 0.2:  # a row of hot vents
        block[int(rng.uniform(0, h - 1))] += np.float32(rng.uniform(0.1, 0.6))


_Painter = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
_PAINTERS: dict[str, _Painter] = {
    "clouds": _clouds,
    "sea": _sea,
    "ground": _ground,
    "buildings": _buildings,
    "plain": _plain,
}
