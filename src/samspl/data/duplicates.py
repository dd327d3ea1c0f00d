"""Images that are copies of each other or frames of one scene, which must not stand on both sides of a split.

Exact copies have the same pixels. Near copies are told by the correlation of their fine structure: what a
blur takes away from a small thumbnail, with outliers cut, so that neither the gradient of a plain sky nor a
bright target in the same place makes two images alike. The threshold was set by looking at the pairs that
NUDT-SIRST and NUAA-SIRST give: from 0.68 on every pair shows one scene, from 0.65 down some are merely two
buildings or two horizons. Frames that moved by more than an eighth of the image, and plain skies, are missed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import fft
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

NEAR_CORRELATION = 0.68
"""Mean of the correlation in place and the best shifted one from which on two images are near duplicates."""
MAX_SHIFT = 8
"""Largest shift looked for, in pixels of the 64 x 64 thumbnail: an eighth of the image."""

_SIDE = 64
_CANDIDATE_CORRELATION = 0.4  # of the coarse thumbnails; 0.68 in the mean cannot be had from less than 0.36
_PARTNERS = 8  # candidates an image; the others of a long sequence are reached through these
_BLOCK = 1024


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image to find its duplicates: 8 kB, whatever its size."""

    digest: bytes
    """Of shape, type and all pixels."""
    thumbnail: np.ndarray
    """(64, 64) float16, without the outermost sixteenth on each side, between 0 and 1."""


@dataclass(frozen=True)
class Duplicate:
    """Two images that show the same."""

    first: int
    second: int
    """Indices into the images, the first being the smaller."""
    is_exact: bool
    """The same pixels."""
    correlation: float
    """Of their fine structure, `NEAR_CORRELATION` to 1; 1 for exact ones."""


def fingerprint(image: np.ndarray) -> Fingerprint:
    """Shrink an image to what its duplicates are found by.

    Args:
        image: (H, W) of any real type, finite.
    """
    digest = hashlib.blake2b(repr((image.shape, image.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    h, w = image.shape
    box = (w // 16, h // 16, w - w // 16, h - h // 16)  # frames and dead rows at the border are no structure
    values = image if image.dtype == np.uint8 else image.astype(np.float32)
    small = Image.fromarray(values).resize((_SIDE, _SIDE), Image.Resampling.BOX, box=box)
    thumbnail = np.asarray(small, np.float32)
    low, high = float(thumbnail.min()), float(thumbnail.max())
    scaled = (thumbnail - low) / (high - low) if high > low else np.zeros_like(thumbnail)
    return Fingerprint(digest.digest(), scaled.astype(np.float16))


def find_duplicates(prints: Sequence[Fingerprint]) -> list[Duplicate]:
    """Pairs of exact and near duplicates.

    All pairs are compared at 32 x 32 by matrix products; of each image, the best eight partners are looked at
    again at 64 x 64 with a shift.

    Returns:
        Pairs ordered by their indices. Of exact copies, each is paired with the first one only.
    """
    pairs: list[Duplicate] = []
    originals: dict[bytes, int] = {}
    for index, item in enumerate(prints):
        first = originals.setdefault(item.digest, index)
        if first != index:
            pairs.append(Duplicate(first, index, True, 1.0))
    kept = np.array(sorted(originals.values()), np.intp)
    thumbnails = [prints[index].thumbnail for index in kept]
    for start, end, in_place in _candidates(thumbnails):
        shifted = _best_shifted(thumbnails, start, end)
        score = (in_place + shifted) / 2
        for k in np.flatnonzero(score >= NEAR_CORRELATION):
            pairs.append(Duplicate(int(kept[start[k]]), int(kept[end[k]]), False, float(score[k])))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def group_duplicates(pairs: Iterable[Duplicate], count: int) -> list[tuple[int, ...]]:
    """Pairs joined to groups.

    Args:
        pairs: As `find_duplicates` gives them.
        count: Number of images.
    Returns:
        Groups of two or more indices, ascending, by first index.
    """
    edges = np.array([(pair.first, pair.second) for pair in pairs], np.intp).reshape(-1, 2)
    graph = csr_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1] if count else np.zeros(0, np.intp)
    groups: dict[int, list[int]] = {}
    for index, name in enumerate(labels.tolist()):
        groups.setdefault(name, []).append(index)
    return sorted(tuple(group) for group in groups.values() if len(group) > 1)


def duplicate_groups(images: Iterable[np.ndarray]) -> list[tuple[int, ...]]:
    """Groups of images that are exact or near duplicates of each other.

    Args:
        images: (H, W) each, of any sizes and real types; taken one at a time, so a generator may read them.
    Returns:
        Groups of two or more indices, ascending, by first index; images without duplicate are in none.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 255, (2, 64, 64))
        >>> duplicate_groups([noise[0], noise[1], noise[0] + 1])
        [(0, 2)]
    """
    prints = [fingerprint(image) for image in images]
    return group_duplicates(find_duplicates(prints), len(prints))


def _fine_structure(thumbnail: np.ndarray, sigma: float) -> np.ndarray:
    """What a blur takes away, cut at three robust standard deviations, of zero mean."""
    rest = thumbnail - gaussian_filter(thumbnail, sigma, mode="nearest")
    limit = 3 * 1.4826 * np.median(np.abs(rest))
    rest = np.clip(rest, -limit, limit)
    return np.asarray(rest - rest.mean(), np.float32)


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values)
    return values / length if length > 0 else values


def _candidates(thumbnails: Sequence[np.ndarray]) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of pairs (first, second, correlation in place) whose coarse thumbnails are alike."""
    half = _SIDE // 2
    coarse = np.empty((len(thumbnails), half * half), np.float32)
    for row, thumbnail in zip(coarse, thumbnails, strict=True):
        shrunk = thumbnail.astype(np.float32).reshape(half, 2, half, 2).mean((1, 3))
        row[:] = _unit(_fine_structure(shrunk, 3.0)).ravel()
    for top in range(0, len(coarse), _BLOCK):
        # each image against those before it
        alike = coarse[top : top + _BLOCK] @ coarse[: top + _BLOCK].T  # (block, images so far)
        alike[np.arange(alike.shape[1])[None] >= np.arange(top, top + len(alike))[:, None]] = -1
        partners = min(_PARTNERS, alike.shape[1])
        best = np.argpartition(alike, -partners, axis=1)[:, -partners:]
        value = np.take_along_axis(alike, best, axis=1)
        rows, columns = np.nonzero(value >= _CANDIDATE_CORRELATION)
        yield best[rows, columns], rows + top, value[rows, columns]


def _best_shifted(thumbnails: Sequence[np.ndarray], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Highest correlation of each pair of thumbnails over small shifts, (pairs,)."""
    window = np.outer(np.hanning(_SIDE), np.hanning(_SIDE)).astype(np.float32)
    spectra = {
        index: fft.rfft2(_unit(_fine_structure(thumbnails[index].astype(np.float32), 2.0) * window))
        for index in np.unique(np.concatenate([first, second])).tolist()
    }
    near = np.r_[0 : MAX_SHIFT + 1, _SIDE - MAX_SHIFT : _SIDE]
    result = np.empty(len(first), np.float32)
    for k, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        correlation = fft.irfft2(spectra[i] * spectra[j].conj(), s=(_SIDE, _SIDE))
        result[k] = correlation[near][:, near].max()
    return result
