"""A real network, narrow, on frames larger than its tiles: no seam where tiles meet, the same targets as whole."""

import itertools

import numpy as np
import pytest

import samspl
from samspl.backends import TorchBackend
from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.imaging import write_image
from samspl.inference import tiling
from samspl.inference.tiling import Span, cover, predict_tiled
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW

SIDE = 320
PER_FRAME = Preprocess(normalise="frame")


@pytest.fixture(scope="module")
def backend():
    return TorchBackend(fill(SAMSPL(NARROW)), "cpu")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).normal(1000, 30, (SIDE, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(backend, image):
    return predict_tiled(backend, image, PER_FRAME, (SIDE, SIDE))


def roughness_at_seams(difference, tile):
    """How much a map changes between neighbours where tiles begin, end, or meet half way, over elsewhere."""
    starts = [span.start for span in cover(SIDE, tile)]
    shared = [(after, before + tile) for before, after in itertools.pairwise(starts)]
    change = np.mean([np.abs(np.diff(d, axis=1)).mean(axis=0) for d in (difference, difference.T)], axis=0)
    kinds = ([a - 1 for a, _ in shared], [b - 1 for _, b in shared], [(a + b) // 2 - 1 for a, b in shared])
    elsewhere = np.delete(change, np.concatenate(kinds)).mean()
    return max(change[kind].mean() for kind in kinds) / elsewhere


def cut_hard(length, side):
    """Tiles that meet half way without blending."""
    spans = cover(length, side)
    centres = [(a.start + side + b.start) // 2 for a, b in itertools.pairwise(spans)]
    edges = [0, *centres, length]
    columns = np.arange(length + side)
    return [
        Span(
            span.start,
            ((columns >= first) & (columns < last))[span.start :][:side].astype(np.float32),
        )
        for span, first, last in zip(spans, edges, edges[1:], strict=False)
    ]


@pytest.mark.parametrize("tile", [128, 160, 224])
def test_blended_tiles_leave_no_seam(backend, image, whole, tile, monkeypatch):
    blended = predict_tiled(backend, image, PER_FRAME, (tile, tile)) - whole
    assert roughness_at_seams(blended, tile) < 1.25  # single columns scatter by a fifth
    monkeypatch.setattr(tiling, "cover", cut_hard)  # the measure sees a seam where there is one
    hard = predict_tiled(backend, image, PER_FRAME, (tile, tile)) - whole
    assert roughness_at_seams(hard, tile) > 1.45


def test_shifted_tiles_differ_no_more_than_attention_lets_them(backend, image, whole):
    values = PER_FRAME.measure(image)
    grey = values.apply(image)  # fixed statistics, so that the crop changes the place of tiles alone
    as_it_is = Preprocess(normalise="frame")
    shift = 64
    part = predict_tiled(backend, grey[:, shift:], as_it_is, (128, 128))
    inside = np.s_[32:-32, 32:-32]
    difference = np.abs(part[inside] - whole[:, shift:][inside])
    assert difference.mean() < 0.3 * whole.std()
    assert np.corrcoef(part[inside].ravel(), whole[:, shift:][inside].ravel())[0, 1] > 0.95


def test_targets_of_a_large_deep_frame_are_found_across_tiles(tmp_path):
    """A network that answers to brightness alone: every spot once, also on the seams, at its place."""
    model = fill(SAMSPL(NARROW))
    path = tmp_path / "w.safetensors"
    write_checkpoint(path, Checkpoint(NARROW, model.state_dict(), PER_FRAME))
    detect = samspl.Detector(path, "cpu", tile=128)
    detect._backend.model = lambda x: 4 * x[:, :1] - 20
    frame = np.random.default_rng(1).normal(8000, 20, (500, 700)).astype(np.uint16)
    spots = [(x, y) for y in range(20, 480, 29) for x in range(20, 680, 31)]
    for x, y in spots:
        frame[y : y + 3, x : x + 2] = 12000
    write_image(tmp_path / "large.tiff", frame)
    result = detect(tmp_path / "large.tiff")
    assert [t.bbox_xyxy for t in result.targets] == [(x, y, x + 2, y + 3) for x, y in spots]
    assert all(t.peak == 12000 for t in result.targets)
