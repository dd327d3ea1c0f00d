"""Resizing as Pillow does."""

import numpy as np
import pytest
from PIL import Image

from samspl.imaging import nearest_index, resize

RNG = np.random.default_rng(3)
GREY8 = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)


def pillow(image: np.ndarray, size_hw: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    """Pillow's resize, rows first as all Pillows before 13 do."""
    rows = Image.fromarray(image).resize((size_hw[1], image.shape[0]), method)
    return np.array(rows.resize(size_hw[::-1], method))


@pytest.mark.parametrize("size_hw", [(3, 9), (12, 10), (1, 1), (7, 4), (6, 11), (2, 5)])
def test_resize_equals_pillow(size_hw: tuple[int, int]) -> None:
    bilinear, nearest = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
    np.testing.assert_array_equal(resize(GREY8, size_hw, "bilinear"), pillow(GREY8, size_hw, bilinear))
    deep = pillow(GREY16.astype(np.float32), size_hw, bilinear)
    np.testing.assert_array_equal(resize(GREY16, size_hw, "bilinear"), deep)
    for dtype in (np.uint8, np.uint16, np.float64, np.bool_):
        resized = resize(GREY8.astype(dtype), size_hw, "nearest")
        assert resized.dtype == dtype
        np.testing.assert_array_equal(resized, pillow(GREY8, size_hw, nearest).astype(dtype))


@pytest.mark.parametrize("size_hw", [(256, 256), (480, 300), (100, 333)])
def test_resize_differs_from_any_pillow_by_rounding_at_most(size_hw: tuple[int, int]) -> None:
    for hw in ((220, 325), (500, 130), (96, 135)):
        image = np.random.default_rng(0).integers(0, 256, hw, dtype=np.uint8)
        whole = np.array(Image.fromarray(image).resize(size_hw[::-1], Image.Resampling.BILINEAR))
        assert np.abs(resize(image, size_hw, "bilinear").astype(int) - whole).max() <= 1


def test_nearest_index_equals_pillow_for_many_lengths() -> None:
    for length in (1, 2, 7, 220, 400, 512):
        row = Image.fromarray(np.arange(length, dtype=np.float32)[None])
        for new_length in (1, 3, 256, 325, 511, 1000):
            expected = np.array(row.resize((new_length, 5), Image.Resampling.NEAREST))[2]
            np.testing.assert_array_equal(nearest_index(length, new_length), expected)


def test_resize_to_the_same_size_is_the_input_itself() -> None:
    assert resize(GREY16, (6, 5), "bilinear") is GREY16
    assert resize(GREY16, (6, 5), "nearest") is GREY16


def test_bilinear_resize_of_a_flipped_image_is_the_flipped_resize() -> None:
    image = np.random.default_rng(5).normal(size=(17, 23)).astype(np.float32)
    straight = resize(image, (9, 40), "bilinear")
    np.testing.assert_allclose(
        resize(image[::-1, ::-1], (9, 40), "bilinear")[::-1, ::-1], straight, atol=1e-5
    )


@pytest.mark.parametrize(
    ("image", "size_hw", "method"),
    [
        (GREY8, (0, 3), "bilinear"),
        (GREY8[None], (2, 2), "bilinear"),
        (GREY8[:0], (2, 2), "nearest"),
        (GREY8, (2, 2), "cubic"),
    ],
)
def test_resize_refuses_wrong_arguments(image: np.ndarray, size_hw: tuple[int, int], method: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        resize(image, size_hw, method)
