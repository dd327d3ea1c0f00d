import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from samspl.targets import Target, find_components, find_targets, match_targets, measure_scr


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def test_centroid_of_the_top_left_pixel_is_the_origin() -> None:
    (target,) = find_targets(mask_of("#..", "..."))
    assert target == Target(centroid_xy=(0.0, 0.0), bbox_xyxy=(0, 0, 1, 1), area_px=1)


def test_target_is_described_column_first_with_exclusive_right_and_bottom() -> None:
    mask = mask_of(
        ".....",
        "..##.",
        "..##.",
    )
    (target,) = find_targets(mask)
    assert target.centroid_xy == (2.5, 1.5)
    assert target.bbox_xyxy == (2, 1, 4, 3)
    assert target.area_px == 4


def test_diagonal_neighbours_are_one_target() -> None:
    assert len(find_targets(mask_of("#..", ".#.", "#.."))) == 1


def test_last_column_does_not_touch_the_next_rows_first() -> None:
    assert len(find_targets(mask_of("..#", "#..", "..."))) == 2


def test_targets_come_in_scan_order_of_their_first_pixel() -> None:
    mask = mask_of(
        "....#",
        "#....",
        "#...#",
    )
    assert [t.bbox_xyxy for t in find_targets(mask)] == [(4, 0, 5, 1), (0, 1, 1, 3), (4, 2, 5, 3)]


def test_branches_that_meet_later_are_one_target_in_the_place_of_the_first() -> None:
    mask = mask_of(
        "...#.#",
        ".....#",
        "..##.#",
        ".#..#.",
    )
    assert [t.area_px for t in find_targets(mask)] == [1, 7]


def test_empty_mask_has_no_targets() -> None:
    assert find_targets(np.zeros((4, 5), bool)) == []


def test_full_mask_is_one_target() -> None:
    (target,) = find_targets(np.ones((4, 6), bool))
    assert (target.area_px, target.centroid_xy) == (24, (2.5, 1.5))


def test_smaller_targets_than_asked_for_are_left_out() -> None:
    mask = mask_of("##..#", ".....")
    assert [t.area_px for t in find_targets(mask, min_area_px=2)] == [2]


def test_score_and_peak_are_the_largest_values_inside() -> None:
    mask = mask_of("##.", "...")
    prob = np.array([[0.6, 0.9, 0.95], [0, 0, 0]], np.float32)
    image = np.array([[300, 200, 999], [0, 0, 0]], np.uint16)
    (target,) = find_targets(mask, prob=prob, image=image)
    assert target.score == pytest.approx(0.9)
    assert target.peak == 300.0


def test_to_dict_holds_plain_values() -> None:
    values = find_targets(mask_of("#"), prob=np.array([[0.75]], np.float32))[0].to_dict()
    assert values == {
        "centroid_xy": [0.0, 0.0],
        "bbox_xyxy": [0, 0, 1, 1],
        "area_px": 1,
        "score": 0.75,
        "peak": None,
        "scr": None,
    }
    assert {type(v) for v in values["bbox_xyxy"]} == {int}


@pytest.mark.parametrize("name", ["prob", "image"])
def test_array_of_another_size_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} has shape \(2, 2\), the mask \(1, 3\)"):
        find_targets(np.zeros((1, 3), bool), **{name: np.zeros((2, 2))})


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros(4, bool), np.zeros((1, 2, 2), bool)])
def test_what_is_no_mask_is_refused(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected bool of shape"):
        find_targets(mask)


def test_scr_of_a_hand_computed_target() -> None:
    # box 1x1 grows by 5 on each side: 11x11 around (8, 8); half of its 120 other pixels are 0, half are 2
    image = np.zeros((17, 17))
    image[3:14, 3:14][np.arange(11) % 2 == 0] = 2.0
    window = image[3:14, 3:14].copy()
    image[8, 8] = 10.0
    image[0, :] = 1000.0  # outside
    mask = np.zeros((17, 17), bool)
    mask[8, 8] = True
    around = np.delete(window.ravel(), 60)
    expected = abs(10.0 - around.mean()) / around.std()
    (target,) = find_targets(mask, image=image)
    assert target.scr == pytest.approx(expected)
    assert measure_scr(image, mask) == pytest.approx(expected)


def test_scr_surroundings_grow_by_the_targets_own_size_and_leave_out_other_targets() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(100, 5, (60, 60))
    mask = np.zeros((60, 60), bool)
    mask[20:28, 20:32] = True  # 12 wide, 8 high: around reaches 12 and 8 farther
    mask[30:32, 40:42] = True
    image[mask] += 50
    inside = np.zeros_like(mask)
    inside[20:28, 20:32] = True
    window = np.s_[12:36, 8:44]
    around = image[window][~mask[window]]
    expected = abs(image[inside].mean() - around.mean()) / around.std()
    assert measure_scr(image, inside, mask) == pytest.approx(expected)
    assert find_targets(mask, image=image)[0].scr == pytest.approx(expected)


def test_scr_of_a_dark_target_is_positive() -> None:
    image = np.tile(np.array([9.0, 11.0]), (15, 8))
    image[7, 7] = 0.0
    assert measure_scr(image, image == 0) > 0


@pytest.mark.parametrize("value", [0.1, 7.0])
def test_scr_is_undefined_on_a_flat_background(value: float) -> None:
    image = np.full((9, 9), value)
    image[4, 4] = 1000.0
    assert measure_scr(image, image == 1000) is None


def test_scr_is_undefined_without_surroundings_or_target() -> None:
    image = np.arange(9.0).reshape(3, 3)
    assert measure_scr(image, np.ones((3, 3), bool)) is None
    assert measure_scr(image, np.zeros((3, 3), bool)) is None


def test_scr_of_16_bit_values_does_not_overflow() -> None:
    image = np.full((30, 30), 60000, np.uint16)
    image[::2] = 60010
    image[15, 15] = 65535
    # around: 6 rows of 11 at 60010, and 54 pixels at 60000: mean 60005.5, deviation 10 * sqrt(0.55 * 0.45)
    expected = (65535 - 60005.5) / (10 * math.sqrt(0.55 * 0.45))
    assert measure_scr(image, image == 65535) == pytest.approx(expected)


def test_nearest_prediction_wins_when_two_compete_for_one_target() -> None:
    matching = match_targets(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[1.5, 0.0]]))
    assert matching.hits == ((1, 0),)
    assert matching.false_alarms == (0,)
    assert matching.misses == ()


def test_greedy_rule_takes_the_first_prediction_instead() -> None:
    matching = match_targets(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[1.5, 0.0]]), rule="greedy")
    assert matching.hits == ((0, 0),)
    assert matching.false_alarms == (1,)


def test_more_pairs_are_preferred_to_a_shorter_distance() -> None:
    # p1 is nearest to t0, but then t1 would go without
    pred, gt = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[1.9, 0.0], [4.5, 0.0]])
    assert match_targets(pred, gt).hits == ((0, 0), (1, 1))
    greedy = match_targets(pred[::-1], gt, rule="greedy")
    assert greedy.hits == ((0, 0),)
    assert (greedy.misses, greedy.false_alarms) == ((1,), (1,))


@pytest.mark.parametrize("rule", ["best", "greedy"])
def test_pair_at_exactly_the_distance_is_no_hit(rule: str) -> None:
    gt = np.array([[0.0, 0.0]])
    assert match_targets(np.array([[3.0, 0.0]]), gt, rule=rule).hits == ()
    assert match_targets(np.array([[math.nextafter(3.0, 0), 0.0]]), gt, rule=rule).hits == ((0, 0),)


def test_perfect_predictions_at_distance_zero_are_hits_even_in_a_crowd() -> None:
    xy = np.array([[x * 1.5, y * 1.5] for x in range(4) for y in range(4)])
    assert match_targets(xy, xy).hits == tuple((i, i) for i in range(16))


def test_targets_and_their_centroids_match_alike() -> None:
    pred, gt = find_targets(mask_of("#...#", ".....")), find_targets(mask_of(".#...", "....."))
    as_points = match_targets(np.array([t.centroid_xy for t in pred]), np.array([t.centroid_xy for t in gt]))
    assert match_targets(pred, gt) == as_points
    assert as_points.hits == ((0, 0),)


@pytest.mark.parametrize("turn", [lambda m: m, np.flipud, np.fliplr, np.transpose])
def test_of_two_equally_distant_predictions_the_larger_is_the_hit_whichever_comes_first(turn) -> None:
    pred = turn(
        mask_of(
            "..#..",
            ".....",
            ".....",
            ".....",
            ".###.",
        )
    )
    gt = turn(mask_of(".....", ".....", "..#..", ".....", "....."))
    matching = match_targets(find_targets(pred), find_targets(gt))
    assert [find_targets(pred)[p].area_px for p, _ in matching.hits] == [3]


@pytest.mark.parametrize("distance", [0.0, -1.0, math.nan])
def test_distance_that_is_not_positive_is_refused(distance: float) -> None:
    with pytest.raises(ValueError, match="max_distance_px is"):
        match_targets(np.zeros((1, 2)), np.zeros((1, 2)), distance)


def test_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'best' or 'greedy'"):
        match_targets(np.zeros((1, 2)), np.zeros((1, 2)), rule="nearest")


def test_nothing_on_one_side_leaves_all_of_the_other() -> None:
    xy = np.zeros((2, 2))
    assert match_targets([], xy).misses == (0, 1)
    assert match_targets(xy, []).false_alarms == (0, 1)


def test_thousands_of_competing_targets_get_as_many_pairs_as_there_can_be() -> None:
    rng = np.random.default_rng(0)
    pred, gt = rng.uniform(0, 100, (1500, 2)), rng.uniform(0, 100, (1500, 2))
    near = csr_array(np.hypot(*(pred[:, None] - gt[None]).transpose(2, 0, 1)) < 3)
    most = int((maximum_bipartite_matching(near) >= 0).sum())
    assert len(match_targets(pred, gt).hits) == most < 1500


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24), st.floats(0, 1))
def test_components_equal_scipys_labels_in_the_same_order(seed: int, h: int, w: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((h, w)) < density
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    found = find_components(mask)
    assert len(found.area_px) == count
    np.testing.assert_array_equal(labels.ravel()[found.pixels], found.labels + 1)
    if count:
        centre = np.array(ndimage.center_of_mass(mask, labels, range(1, count + 1)))
        np.testing.assert_allclose(found.centroid_xy, centre[:, ::-1])


def test_sparse_mask_is_labelled_as_scipy_does() -> None:
    mask = np.random.default_rng(3).random((200, 300)) < 0.002  # most rows and columns are squeezed out
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    found = find_components(mask)
    assert len(found.area_px) == count > 80
    np.testing.assert_array_equal(labels.ravel()[found.pixels], found.labels + 1)
