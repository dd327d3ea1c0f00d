import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from samspl.metrics import Curve, PdFaCurve, bootstrap_intervals, pd_by, score
from samspl.metrics import curves as curves_module
from samspl.metrics.curves import CurveCounts, count_curve
from samspl.metrics.suite import COUNT_FIELDS, FIGURES, count_image
from samspl.postprocess import prob_to_mask


def noisy_scene(rng: np.random.Generator, shape: tuple[int, int] = (48, 56)) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    signal, gt = np.zeros(shape), np.zeros(shape, bool)
    for _ in range(6):
        cy, cx = rng.uniform(4, shape[0] - 4), rng.uniform(4, shape[1] - 4)
        gt |= (y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(1, 6)
        cy, cx = np.array([cy, cx]) + rng.normal(0, 1.2, 2)
        spot = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / rng.uniform(2, 9))
        signal = np.maximum(signal, spot * rng.uniform(0.3, 1))
    noise = ndimage.gaussian_filter(rng.normal(0, 1, shape), 0.8)
    return np.clip(signal + 0.12 * noise, 0, 1).astype(np.float32), gt


def curve_of(points: list[tuple[int, int, int]]) -> Curve:
    """Curve with 10 targets and 1000 pixels from (hits, false pixels, hit pixels) at ascending thresholds."""
    counts = [
        (hit_px, hit_px + false_px, 40, 10, hits, 0, false_px, 1000) for hits, false_px, hit_px in points
    ]
    thresholds = np.linspace(0, 1, len(points) + 2)[1:-1]
    return Curve(thresholds, np.array(counts, np.int64), images=1)


def test_curve_of_two_pixels_by_hand() -> None:
    prob = np.zeros((10, 10), np.float32)
    prob[2, 2], prob[7, 7] = 0.6, 0.9  # the true one, and a false one
    gt = prob == np.float32(0.6)
    counts = count_curve(prob, gt, np.array([0.3, 0.7, 0.95]))
    assert CurveCounts(*counts[0]) == CurveCounts(1, 2, 1, 1, 1, 1, 1, 100)
    assert CurveCounts(*counts[1]) == CurveCounts(0, 1, 1, 1, 0, 1, 1, 100)
    assert CurveCounts(*counts[2]) == CurveCounts(0, 0, 1, 1, 0, 0, 0, 100)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64])
def test_mask_in_place_of_probabilities_is_the_same_at_every_threshold(dtype: np.typing.DTypeLike) -> None:
    mask = np.zeros((10, 10), bool)
    mask[2, 2] = mask[7, 7] = True
    gt = mask.copy()
    gt[7, 7] = False
    counts = count_curve(mask.astype(dtype), gt, np.array([0.3, 0.7]))
    for row in counts:
        assert CurveCounts(*row) == CurveCounts(1, 2, 1, 1, 1, 1, 1, 100)


@pytest.mark.parametrize("limit", [curves_module.STACK_LIMIT, 20_000, 1])
def test_curve_equals_the_strict_score_at_every_threshold(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # with a small limit the masks are labelled a few or one at a time
    monkeypatch.setattr(curves_module, "STACK_LIMIT", limit)
    rng = np.random.default_rng(0)
    pairs = [noisy_scene(rng) for _ in range(5)] + [(np.zeros((9, 9), np.float32), np.zeros((9, 9), bool))]
    metric = PdFaCurve()
    metric.update([p for p, _ in pairs], [t for _, t in pairs])
    curve = metric.compute()
    for k, threshold in enumerate(curve.thresholds.tolist()):
        scores = score([prob_to_mask(p, threshold) for p, _ in pairs], [t for _, t in pairs])
        at = {name: values[k] for name, values in curve.figures.items()}
        assert (at["pd"], at["fa"], at["iou"], at["recall"]) == (
            scores.pd,
            scores.fa,
            scores.iou,
            scores.recall,
        )
        assert at["false_alarms_per_image"] == scores.false_alarms / scores.images
    assert len(np.unique(curve.counts[:, 4])) > 3


def test_probability_equal_to_a_threshold_is_background() -> None:
    prob = np.full((5, 5), 0.3, np.float32)
    counts = count_curve(prob, np.ones((5, 5), bool), np.array([0.29, 0.3, 0.31]))
    assert counts[:, 1].tolist() == [25, 0, 0]


def test_touching_columns_of_neighbouring_rows_and_levels_stay_apart() -> None:
    prob = np.zeros((3, 3), np.float32)
    prob[0, 2], prob[1, 0], prob[2, 2] = 0.9, 0.9, 0.9
    counts = count_curve(prob, np.zeros((3, 3), bool), np.array([0.2, 0.5, 0.8]))
    assert counts[:, 5].tolist() == [3, 3, 3]


def test_auc_is_the_staircase_below_the_limit() -> None:
    # fa: 0.03, 0.01, 0; pd: 0.9, 0.6, 0.2 -> 0.2 until 0.01, 0.6 until 0.03, 0.9 until 0.05
    curve = curve_of([(9, 30, 30), (6, 10, 20), (2, 0, 10)])
    assert curve.auc(0.05) == pytest.approx((0.2 * 0.01 + 0.6 * 0.02 + 0.9 * 0.02) / 0.05)
    assert curve.auc(0.005) == pytest.approx(0.2)


def test_auc_does_not_fall_where_components_merge_at_low_thresholds() -> None:
    curve = curve_of([(3, 30, 30), (6, 10, 20)])
    assert curve.auc(0.05) == pytest.approx((0 * 0.01 + 0.6 * 0.04) / 0.05)


def test_perfect_curve_has_area_one_and_useless_one_zero() -> None:
    assert curve_of([(10, 0, 40)] * 3).auc() == 1.0
    assert curve_of([(0, 500, 0)] * 3).auc() == 0.0


def test_curve_without_targets_has_no_area() -> None:
    prob, gt = np.full((4, 4), 0.7, np.float32), np.zeros((4, 4), bool)
    metric = PdFaCurve((0.5,))
    metric.update(prob, gt)
    curve = metric.compute()
    assert curve.auc() is None
    assert curve.average_precision() is None
    assert curve.best_threshold() == 0.5  # IoU is 0 here, yet defined
    assert json.loads(json.dumps(curve.to_dict(), allow_nan=False))["pd"] == [None]


def test_average_precision_by_hand() -> None:
    # from the top: recall 0.25 at precision 1, then 0.5 at 20/30, then 0.75 at 30/60
    curve = curve_of([(9, 30, 30), (6, 10, 20), (2, 0, 10)])
    assert curve.average_precision() == pytest.approx(0.25 * 1 + 0.25 * 20 / 30 + 0.25 * 30 / 60)


def test_best_threshold_has_the_highest_iou_or_the_highest_pd_below_a_rate() -> None:
    # iou: 30/70, 20/50, 10/40
    curve = curve_of([(9, 30, 30), (6, 10, 20), (2, 0, 10)])
    assert curve.best_threshold() == 0.25
    assert curve.best_threshold(max_fa=0.02) == 0.5
    assert curve.best_threshold(max_fa=0.0) == 0.75


def test_middle_one_of_equally_good_thresholds_is_best() -> None:
    assert curve_of([(10, 0, 40)] * 5).best_threshold() == pytest.approx(0.5)


def test_no_threshold_below_the_rate_gives_none() -> None:
    assert curve_of([(9, 30, 30)]).best_threshold(max_fa=0.001) is None


@pytest.mark.parametrize("thresholds", [(), (0.0, 0.5), (0.5, 1.0), (0.5, 0.4), (0.5, 0.5), (float("nan"),)])
def test_thresholds_that_do_not_ascend_between_0_and_1_are_refused(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="ascending numbers between 0 and 1"):
        PdFaCurve(thresholds)


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1, np.inf])
def test_probability_out_of_range_is_refused(bad: float) -> None:
    prob = np.zeros((3, 3), np.float32)
    prob[1, 1] = bad
    with pytest.raises(ValueError, match=r"expected values within 0\.\.1"):
        PdFaCurve().update(prob, np.zeros((3, 3), bool))


def test_probabilities_and_mask_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the same size"):
        PdFaCurve().update(torch.zeros(3, 3), torch.zeros(3, 4, dtype=torch.bool))


def test_pd_by_size_counts_each_target_once() -> None:
    bins = pd_by(np.array([1, 4, 5, 30, 1000]), np.array([False, True, True, True, True]), (1, 5, 20))
    assert [(b.low, b.high, b.hits, b.targets) for b in bins] == [
        (1, 5, 1, 2),
        (5, 20, 1, 1),
        (20, np.inf, 2, 2),
    ]
    assert bins[0].pd == 0.5


def test_target_without_scr_is_in_no_bin_and_an_empty_bin_has_no_pd() -> None:
    bins = pd_by(np.array([np.nan, np.inf]), np.array([True, True]), (0, 3))
    assert [(b.targets, b.pd) for b in bins] == [(0, None), (1, 1.0)]


@pytest.mark.parametrize("edges", [(), (3, 3), (5, 1)])
def test_edges_that_do_not_ascend_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="edges are"):
        pd_by(np.array([1.0]), np.array([True]), edges)


def image_counts(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pairs = [noisy_scene(rng) for _ in range(count)]
    return np.array([count_image(prob > 0.5, gt) for prob, gt in pairs])


def test_interval_holds_the_figure_and_the_seed_decides_it() -> None:
    counts = image_counts(12)
    intervals = bootstrap_intervals(counts, seed=1)
    assert tuple(intervals) == FIGURES
    scores = score(*_masks(12))
    for name, (low, high) in intervals.items():
        assert low < getattr(scores, name) < high, name
    assert bootstrap_intervals(counts, seed=1) == intervals
    assert bootstrap_intervals(counts, seed=2) != intervals


def _masks(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    pairs = [noisy_scene(rng) for _ in range(count)]
    return [prob > 0.5 for prob, _ in pairs], [gt for _, gt in pairs]


def test_interval_of_pd_has_the_width_that_theory_gives() -> None:
    # 400 images of one target each, 300 hit: standard error sqrt(0.75 * 0.25 / 400)
    counts = np.zeros((400, len(COUNT_FIELDS)), np.int64)
    counts[:, COUNT_FIELDS.index("targets")] = 1
    counts[:300, COUNT_FIELDS.index("hits")] = 1
    counts[:, COUNT_FIELDS.index("images")] = 1
    low, high = bootstrap_intervals(counts)["pd"]
    error = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - error, abs=0.006)
    assert high == pytest.approx(0.75 + error, abs=0.006)


def test_identical_images_leave_no_doubt() -> None:
    counts = np.repeat(image_counts(1), 9, axis=0)
    for name, (low, high) in bootstrap_intervals(counts).items():
        assert low == pytest.approx(high), name


def test_undefined_figure_has_no_interval() -> None:
    nothing = np.zeros((8, 8), bool)
    counts = np.array([count_image(nothing, nothing)] * 3)
    intervals = bootstrap_intervals(counts)
    assert intervals["pd"] == (None, None)
    assert intervals["fa"] == (0.0, 0.0)


def test_statistics_of_the_bootstrap_take_less_than_a_kilobyte_an_image() -> None:
    assert image_counts(3).nbytes / 3 <= 1000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": np.zeros((0, 11), np.int64)}, "at least one"),
        ({"counts": np.zeros((3, 4), np.int64)}, "counts have shape"),
        ({"level": 1.0}, "out of range"),
        ({"resamples": 0}, "out of range"),
    ],
)
def test_bootstrap_arguments_out_of_range_are_refused(change: dict, words: str) -> None:
    arguments = {"counts": np.ones((3, len(COUNT_FIELDS)), np.int64)} | change
    with pytest.raises(ValueError, match=words):
        bootstrap_intervals(**arguments)
