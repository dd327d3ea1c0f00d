import tracemalloc

import numpy as np
import pytest

from samspl.draw import FALSE_ALARM, HIT, MISS, TARGET, draw_comparison, draw_targets, to_display
from samspl.targets import find_targets

GREY = np.full((60, 80), 40, np.uint8)


def mask_at(*corners: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(GREY.shape, bool)
    for x, y in corners:
        mask[y : y + 3, x : x + 3] = True
    return mask


def places_of(picture, colour: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) columns and rows of the image area, in pixels of the original, that have a colour."""
    scale = picture.width // GREY.shape[1]
    area = np.asarray(picture)[: GREY.shape[0] * scale]
    rows, columns = np.nonzero((area == colour).all(axis=2))
    return np.stack([columns, rows], axis=1) / scale


def test_hit_miss_and_false_alarm_are_marked_where_they_are() -> None:
    picture = draw_comparison(GREY, mask_at((10, 10), (60, 40)), mask_at((10, 10), (30, 40)))
    for kind, centre in ((HIT, (11.5, 11.5)), (MISS, (31.5, 41.5)), (FALSE_ALARM, (61.5, 41.5))):
        low, high = places_of(picture, kind.colour).min(axis=0), places_of(picture, kind.colour).max(axis=0)
        assert (low < np.array(centre) - 1.5).all()  # it surrounds the 3 x 3 target
        assert (high > np.array(centre) + 1.5).all()
        assert (high - low < 12).all()  # and stays near


def test_kinds_differ_in_colour_and_in_shape() -> None:
    kinds = (HIT, MISS, FALSE_ALARM)
    assert len({kind.colour for kind in kinds}) == 3
    assert len({len(kind.outline((0, 0, 10, 10))[0]) for kind in kinds}) == 3


def test_kinds_differ_in_brightness_for_those_who_see_no_colours() -> None:
    luma = sorted(np.dot((0.299, 0.587, 0.114), kind.colour) for kind in (HIT, MISS, FALSE_ALARM))
    background = 40
    assert luma[0] > background + 80


def test_marker_leaves_the_target_itself_visible() -> None:
    image = GREY.copy()
    image[10:13, 10:13] = 255
    picture = draw_comparison(image, mask_at((10, 10)), mask_at((10, 10)))
    scale = picture.width // GREY.shape[1]
    inside = np.asarray(picture)[10 * scale : 13 * scale, 10 * scale : 13 * scale]
    assert (inside == 255).all()


def test_matching_distance_decides_between_hit_and_miss() -> None:
    pred, gt = mask_at((10, 10)), mask_at((14, 10))
    assert not len(places_of(draw_comparison(GREY, pred, gt), HIT.colour))
    assert len(places_of(draw_comparison(GREY, pred, gt, max_distance_px=5), HIT.colour))


def test_nothing_to_mark_leaves_the_image_as_it_is() -> None:
    nothing = np.zeros(GREY.shape, bool)
    picture = draw_comparison(GREY, nothing, nothing)
    scale = picture.width // GREY.shape[1]
    assert (np.asarray(picture)[: GREY.shape[0] * scale] == 40).all()


@pytest.mark.parametrize(("shape", "width"), [((60, 80), 720), ((800, 1000), 1000), ((1, 1), 720)])
def test_small_images_are_enlarged_by_whole_factors_and_large_ones_kept(shape, width: int) -> None:
    picture = draw_targets(np.zeros(shape, np.uint8), [])
    assert picture.width == width
    assert picture.mode == "RGB"


def test_targets_get_corners_and_a_score() -> None:
    mask = mask_at((10, 10))
    with_score = draw_targets(GREY, find_targets(mask, prob=mask.astype(np.float32)))
    without = draw_targets(GREY, find_targets(mask))
    assert len(places_of(with_score, TARGET.colour))
    assert len(places_of(with_score, (255, 255, 255)))
    assert not len(places_of(without, (255, 255, 255)))


@pytest.mark.parametrize("corner", [(0, 0), (77, 57), (0, 57), (77, 0)])
def test_targets_in_the_corners_of_the_image_are_marked_inside_it(corner: tuple[int, int]) -> None:
    mask = mask_at(corner)
    picture = draw_targets(GREY, find_targets(mask, prob=mask.astype(np.float32)))
    assert len(places_of(picture, TARGET.colour))
    assert len(places_of(picture, (255, 255, 255)))


def test_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="gt_mask has shape"):
        draw_comparison(GREY, np.zeros(GREY.shape, bool), np.zeros((3, 3), bool))


def test_8_bit_values_are_shown_as_they_are() -> None:
    image = np.array([[3, 7]], np.uint8)
    assert to_display(image).tolist() == [[3, 7]]


def test_deeper_frames_are_stretched_to_the_whole_range() -> None:
    image = np.linspace(20000, 21000, 10001).astype(np.uint16).reshape(1, -1)
    shown = to_display(image)
    assert (shown.min(), shown.max()) == (0, 255)
    assert shown[0, 5000] == pytest.approx(127.5, abs=1)
    assert shown[0, 100] == pytest.approx(2, abs=1)  # 1 % from the darkest: not yet black


def test_lone_bright_pixel_on_an_equal_background_is_seen() -> None:
    image = np.zeros((100, 100), np.float32)
    image[50, 50] = 1e-3
    assert (to_display(image)[50, 50], to_display(image)[0, 0]) == (255, 0)


def test_equal_values_are_grey_and_values_that_are_not_finite_black() -> None:
    assert to_display(np.full((2, 2), 5000, np.uint16)).tolist() == [[128] * 2] * 2
    assert to_display(np.array([[np.nan, 1.0, 1.0]])).tolist() == [[0, 128, 128]]
    assert to_display(np.array([[np.nan]])).tolist() == [[0]]
    assert to_display(np.array([[True, False]])).tolist() == [[255, 0]]


def test_a_cut_counts_for_8_bit_values_too() -> None:
    image = np.arange(101, dtype=np.uint8).reshape(1, -1)
    shown = to_display(image, 10)
    assert (shown == 0).sum() == (shown == 255).sum() == 11
    assert shown[0, 50] == pytest.approx(127.5, abs=1)


def test_large_frames_are_shown_with_little_memory_and_no_seams() -> None:
    image = np.random.default_rng(0).integers(0, 2**16, (1500, 1000), np.uint16)
    tracemalloc.start()
    shown = to_display(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 7 * image.size  # a copy of 2 bytes, the result, and blocks of rows
    low, high = np.percentile(image, (0.1, 99.9))
    expected = np.clip(np.rint((image - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("shape", [(0, 4), (4,), (4, 4, 3)])
def test_what_is_no_grey_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        to_display(np.zeros(shape, np.uint8))
