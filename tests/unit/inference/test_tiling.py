"""Tiles: where they lie, what they count for, and that none of it shows in the result."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samspl.errors import ImageError
from samspl.inference import tiling
from samspl.inference.tiling import (
    OVERLAP_PX,
    TILE_SIDES,
    WHOLE_PX,
    check_tile,
    choose_side,
    cover,
    predict_tiled,
)
from samspl.postprocess import logits_to_prob
from samspl.preprocess import Preprocess

TILE = 96
SIZES = [(1, 1), (31, 33), (TILE - 1, TILE), (TILE, TILE), (TILE + 1, TILE), (TILE + 1, 2 * TILE), (20, 5000)]
PER_FRAME = Preprocess(normalise="frame")


def frame(height, width, seed=0):
    return np.random.default_rng(seed).integers(300, 9000, (height, width), dtype=np.uint16)


def by_pixel(images):
    """A network that looks at one pixel at a time: what it says of a frame cannot depend on tiles."""
    return 1.7 * images[:, :1] - 0.4


def by_neighbourhood(images):
    """A network that sees 3 px around each pixel, and zeros beyond its input, as convolutions do."""
    padded = np.pad(images[:, :1], ((0, 0), (0, 0), (3, 3), (3, 3)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(2, 3))
    return 5 * windows.mean(axis=(4, 5))


@given(length=st.integers(1, 3000), side=st.integers(1, 20).map(lambda n: 32 * n))
@settings(max_examples=300, deadline=None)
def test_tiles_cover_everything_and_their_weights_sum_to_one(length, side):
    spans = cover(length, side)
    total = np.zeros(max(length + 31, side) + side)
    for span in spans:
        assert span.start % 16 == 0
        assert span.start < length  # no tile of padding alone
        assert (span.weights > 0).all()
        total[span.start : span.start + side] += span.weights
    np.testing.assert_allclose(total[:length], 1, atol=1e-6)
    starts = [span.start for span in spans]
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    if side > 32:
        assert all(start % 32 == 0 for start in starts)
        least = 32 if side < 2 * OVERLAP_PX else OVERLAP_PX
        assert all(b - a <= side - least for a, b in itertools.pairwise(starts))


def test_tile_alone_counts_fully_and_neighbours_fade_into_each_other():
    (only,) = cover(100, 128)
    assert (only.weights == 1).all()
    first, last = cover(192, 128)
    assert (first.start, last.start) == (0, 64)
    assert (first.weights[:64] == 1).all()
    assert (np.diff(first.weights[64:]) < 0).all()
    assert first.weights[-1] < 1e-3
    np.testing.assert_array_equal(last.weights, first.weights[::-1])


@pytest.mark.parametrize("side", [32, 64, TILE, 160])
@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize("preprocess", [PER_FRAME, Preprocess((120.0,), (60.0,))], ids=["frame", "fixed"])
def test_network_that_sees_one_pixel_gives_the_same_with_any_tiles(size_hw, side, preprocess):
    image = frame(*size_hw)
    prepared = preprocess(image)
    expected = logits_to_prob(by_pixel(prepared.values[None])[0, 0])[: size_hw[0], : size_hw[1]]
    prob = predict_tiled(by_pixel, image, preprocess, (side, side))
    assert prob.dtype == np.float32
    assert 0 <= prob.min() <= prob.max() <= 1
    np.testing.assert_allclose(prob, expected, atol=1e-6)


def test_shifted_tiles_leave_no_seam():
    image = np.random.default_rng(0).normal(100, 10, (300, 420)).astype(np.uint8)
    image[::40, ::50] = 255
    preprocess = Preprocess((100.0,), (10.0,))  # of 8 bits: the same for every part of the frame
    whole = predict_tiled(by_neighbourhood, image, preprocess, (320, 448))
    for shift in (0, 32, 64, 96):
        shifted = predict_tiled(by_neighbourhood, image[:, shift:], preprocess, (TILE, TILE))
        # no more than what the weight of a tile's outermost pixels lets through
        assert np.abs(shifted[3:-3, 3:-3] - whole[3:-3, shift + 3 : -3]).max() < 5e-3


def test_resizing_of_the_preprocessing_is_not_used():
    image = frame(200, 130)
    native = predict_tiled(by_pixel, image, Preprocess(), (TILE, TILE))
    np.testing.assert_array_equal(
        predict_tiled(by_pixel, image, Preprocess(image_size=64), (TILE, TILE)), native
    )


def test_tiles_have_the_size_asked_for_and_one_call_each():
    shapes = []
    predict_tiled(lambda x: shapes.append(x.shape) or x[:, :1], frame(150, 40), PER_FRAME, (TILE, 64))
    assert shapes == [(1, 3, TILE, 64)] * 2


@pytest.mark.parametrize("preprocess", [PER_FRAME, Preprocess()], ids=["frame", "fixed"])
def test_memory_is_one_map_and_a_few_tiles(preprocess):
    image = frame(2000, 2100)
    predict_tiled(by_pixel, image[:200, :200], preprocess, (TILE, TILE))  # what is loaded once
    tracemalloc.start()
    try:
        prob = predict_tiled(by_pixel, image, preprocess, (TILE, TILE))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    band = 8 * 2**18
    assert peak < prob.nbytes + 4 * band + 40 * 4 * TILE * TILE
    assert peak < 2 * prob.nbytes  # so that the bound says something


def test_logits_that_are_not_finite_are_an_error():
    with pytest.raises(ImageError, match="logits are NaN or infinite.*check the values of the image"):
        predict_tiled(lambda x: x[:, :1] * np.nan, frame(40, 40), PER_FRAME, (32, 32))


@pytest.mark.parametrize("tile", ["auto", 32, 64, 448])
def test_multiples_of_32_are_tiles(tile):
    check_tile(tile)


@pytest.mark.parametrize("tile", [0, -32, 100, 448.0, True, "448", "none", None])
def test_other_tiles_are_refused(tile):
    with pytest.raises(ValueError, match="expected 'auto' or a positive multiple of 32"):
        check_tile(tile)


def test_frames_up_to_a_megapixel_are_run_whole_and_larger_ones_cut():
    assert choose_side((1024, 1024), None) is None
    assert choose_side((512, 640), None) is None
    assert choose_side((20, 5000), None) is None
    assert choose_side((1025, 1024), None) == TILE_SIDES[0]
    assert choose_side((8192, 8192), 2**31) == TILE_SIDES[0]


@pytest.fixture
def said(monkeypatch):
    """What is logged, whatever commands of other tests have set up."""
    lines = []
    monkeypatch.setattr(tiling.logger, "info", lambda text, *values: lines.append(text % values))
    tiling._say_short.cache_clear()
    return lines


def test_tiles_that_memory_decides_are_said_once(said):
    for _ in range(3):
        assert choose_side((1024, 1024), 1_234_567_890) == 448
        assert choose_side((256, 256), 1_234_567_890) is None
    assert said == [
        "1234 MB of memory are at hand: frames of more than 514403 pixels go through the network in tiles of 448"
    ]
    choose_side((2048, 2048), 234_567_890)
    assert "234 MB of memory" in said[1]
    assert "in tiles of 224" in said[1]


def test_tiles_that_the_size_of_the_frame_decides_are_not_blamed_on_memory(said):
    assert choose_side((2048, 2048), 1_234_567_890) == 448
    assert choose_side((2048, 2048), None) == 448
    assert said == []


def test_short_memory_makes_smaller_tiles():
    sides = [choose_side((1024, 1024), memory) for memory in (2**32, 2**30, 2**28, 1)]
    assert sides == [None, 448, 224, 224]
    assert choose_side((200, 200), 2**27) is None
    assert WHOLE_PX == 1024**2
