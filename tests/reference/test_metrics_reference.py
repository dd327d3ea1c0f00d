"""Our metrics against independent evaluators: the published code's stored results, PyIRSTDMetrics' and
plain loops."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from samspl.metrics import DetectionSuite, PdFaCurve, score
from samspl.targets import match_targets

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def pyirstd() -> tuple[dict[str, np.ndarray], dict]:
    """Synthetic masks and PyIRSTDMetrics' results; made by fixtures/metrics_pyirstd_make.py."""
    with np.load(FIXTURES / "metrics_pyirstd.npz") as stored:
        arrays = {
            name: stored[name] if name == "curve_prob" else np.unpackbits(stored[name], axis=-1).astype(bool)
            for name in stored
        }
    return arrays, json.loads((FIXTURES / "metrics_pyirstd.json").read_text())


@pytest.mark.parametrize("name", ["a", "b"])
def test_published_profile_gives_the_published_codes_results(shared_dir: Path, name: str) -> None:
    folder = shared_dir / "fixtures" / "metrics"
    expected = json.loads((folder / "expected_published.json").read_text())[name]
    with np.load(folder / f"metrics_{name}.npz") as stored:
        shape = tuple(stored["shape"])
        pred, gt = (
            np.unpackbits(stored[key])[: np.prod(shape)].reshape(shape).astype(bool)
            for key in ("logits_positive", "gt")
        )
    scores = score(pred, gt, "published")
    suite = DetectionSuite("published")
    for p, t in zip(pred, gt, strict=True):
        suite.update(p, t)
    for figure, value in expected.items():
        assert getattr(scores, figure) == pytest.approx(value, abs=1e-9), figure
    assert suite.compute() == scores


@pytest.mark.parametrize("name", ["apart", "crowded"])
def test_pixel_figures_and_published_pd_equal_pyirstdmetrics(pyirstd: tuple, name: str) -> None:
    arrays, expected = pyirstd
    scores = score(arrays[f"{name}_pred"], arrays[f"{name}_gt"], "published")
    for figure in ("iou", "niou", "precision", "recall", "f1", "pd"):
        assert getattr(scores, figure) == pytest.approx(expected[name][figure], abs=1e-12), figure


def test_strict_pd_and_fa_equal_pyirstdmetrics_where_nothing_competes(pyirstd: tuple) -> None:
    arrays, expected = pyirstd
    scores = score(arrays["apart_pred"], arrays["apart_gt"], "strict")
    assert scores.pd == pytest.approx(expected["apart"]["pd"], abs=1e-12)
    assert scores.fa == pytest.approx(expected["apart"]["fa"], abs=1e-12)


def test_pyirstdmetrics_lies_between_the_profiles_where_targets_compete(pyirstd: tuple) -> None:
    # it matches greedily as `published` does, but counts false alarms by component as `strict` does
    arrays, expected = pyirstd
    published = score(arrays["crowded_pred"], arrays["crowded_gt"], "published")
    strict = score(arrays["crowded_pred"], arrays["crowded_gt"], "strict")
    assert strict.pd > expected["crowded"]["pd"] == pytest.approx(published.pd)
    assert published.fa < strict.fa < expected["crowded"]["fa"]


def test_strict_niou_leaves_out_the_empty_image_that_pyirstdmetrics_counts_as_zero(pyirstd: tuple) -> None:
    arrays, expected = pyirstd
    scores = score(arrays["apart_pred"], arrays["apart_gt"], "strict")
    assert scores.empty_images == 1
    assert scores.niou * (scores.images - 1) == pytest.approx(expected["apart"]["niou"] * scores.images)


def test_curve_equals_pyirstdmetrics_at_every_threshold(pyirstd: tuple) -> None:
    arrays, expected = pyirstd
    metric = PdFaCurve(expected["curve"]["thresholds"])
    metric.update(arrays["curve_prob"] / 255, arrays["curve_gt"])
    figures = metric.compute().figures
    np.testing.assert_allclose(figures["pd"], expected["curve"]["pd"], atol=1e-12)
    np.testing.assert_allclose(figures["fa"], expected["curve"]["fa"], atol=1e-12)
    assert len(set(figures["pd"])) > 5  # the curve moves, so equality says something


def best_by_trying_all(pred_xy: np.ndarray, gt_xy: np.ndarray) -> tuple[int, float]:
    """Most hits, and the least total distance among these, over every assignment."""
    best = (0, 0.0)
    nobody = [None] * len(gt_xy)
    for partners in set(itertools.permutations([*range(len(pred_xy)), *nobody], len(gt_xy))):
        pairs = [(p, t) for t, p in enumerate(partners) if p is not None]
        distances = [float(np.hypot(*(pred_xy[p] - gt_xy[t]))) for p, t in pairs]
        if all(d < 3 for d in distances):
            best = max(best, (len(distances), -sum(distances)))
    return best[0], -best[1]


def test_optimal_matching_equals_trying_every_assignment() -> None:
    rng = np.random.default_rng(0)
    better_than_greedy = 0
    for _ in range(150):
        pred_xy, gt_xy = (rng.uniform(0, 8, (rng.integers(0, 5), 2)) for _ in range(2))
        hits, total = best_by_trying_all(pred_xy, gt_xy)
        matching = match_targets(pred_xy, gt_xy)
        assert len(matching.hits) == hits
        own_total = sum(np.hypot(*(pred_xy[p] - gt_xy[t])) for p, t in matching.hits)
        assert own_total == pytest.approx(total)
        assert sorted([p for p, _ in matching.hits] + list(matching.false_alarms)) == list(
            range(len(pred_xy))
        )
        assert sorted([t for _, t in matching.hits] + list(matching.misses)) == list(range(len(gt_xy)))
        better_than_greedy += hits > len(match_targets(pred_xy, gt_xy, rule="greedy").hits)
    assert better_than_greedy  # some draws tell the two rules apart


def plain_published(pred: np.ndarray, gt: np.ndarray, measure) -> tuple[int, int]:
    """The published rule as the usual loop over scikit-image's regions: hits and false pixels."""
    regions, truths = (measure.regionprops(measure.label(m, connectivity=2)) for m in (pred, gt))
    left, areas = list(regions), []
    for truth in truths:
        for region in left:
            if np.linalg.norm(np.subtract(region.centroid, truth.centroid)) < 3:
                areas.append(region.area)
                left.remove(region)
                break
    return len(areas), int(sum(r.area for r in regions if r.area not in areas))


def test_published_rule_equals_a_plain_loop_over_regions() -> None:
    measure = pytest.importorskip("skimage.measure", reason="needs scikit-image, which the package does not")
    rng = np.random.default_rng(1)
    for density in (0.01, 0.05, 0.2, 0.5):
        pred, gt = rng.random((40, 50)) < density, rng.random((40, 50)) < density
        scores = score(pred, gt, "published")
        hits, false_px = plain_published(pred, gt, measure)
        assert scores.hits == hits
        assert scores.fa == false_px / pred.size
