import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import distributed
from torchmetrics import MetricCollection

from samspl.metrics import PROFILES, DetectionSuite, NIoU, PdFaCurve, score

SEVEN = 7


def scenes(count: int = SEVEN, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images of different sizes; the second without targets, the third with nothing at all."""
    rng = np.random.default_rng(seed)
    preds, gts = [], []
    for i in range(count):
        shape = (24 + 3 * i, 40 - 2 * i)
        preds.append(rng.random(shape) < (0 if i == 2 else 0.03))
        gts.append(rng.random(shape) < (0 if i in (1, 2) else 0.03))
    return preds, gts


def test_perfect_prediction_scores_one_everywhere() -> None:
    _, gts = scenes()
    scores = score(gts, gts)
    assert (scores.iou, scores.niou, scores.precision, scores.recall, scores.f1, scores.pd) == (1.0,) * 6
    assert scores.fa == 0.0
    assert (scores.images, scores.empty_images, scores.false_alarms) == (7, 2, 0)
    assert scores.hits == scores.targets > 0


def test_scores_of_one_small_image_by_hand() -> None:
    gt, pred = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    gt[2:4, 2:4] = True
    gt[8, 8] = True
    pred[2:4, 3:5] = True  # 2 of 4 px, centroid 1 px off
    pred[7, 0] = True
    scores = score(pred, gt)
    assert scores.iou == 2 / 8
    assert (scores.precision, scores.recall, scores.f1) == (2 / 5, 2 / 5, 2 / 5)
    assert (scores.hits, scores.targets, scores.pd) == (1, 2, 0.5)
    assert (scores.false_alarms, scores.fa) == (1, 1 / 100)


def test_nothing_to_find_and_nothing_found_is_undefined_not_perfect() -> None:
    nothing = np.zeros((3, 5, 5), bool)
    strict, published = score(nothing, nothing), score(nothing, nothing, "published")
    assert (strict.iou, strict.niou, strict.pd, strict.f1) == (None,) * 4
    assert (strict.fa, strict.empty_images) == (0.0, 3)
    assert published.niou == 0.0


def test_no_image_at_all_is_undefined() -> None:
    scores = score([], [])
    assert (scores.images, scores.iou, scores.fa) == (0, None, None)


def test_scores_are_ready_for_json() -> None:
    preds, gts = scenes()
    values = json.loads(json.dumps(score(preds, gts).to_dict()))
    assert values["profile"] == "strict"
    assert {"iou", "niou", "precision", "recall", "f1", "pd", "fa", "hits", "targets"} <= values.keys()


@pytest.mark.parametrize("flip", [np.fliplr, np.flipud, np.transpose])
def test_strict_scores_stay_when_the_images_are_flipped(flip) -> None:
    rng = np.random.default_rng(5)
    preds, gts = rng.random((6, 40, 40)) < 0.06, rng.random((6, 40, 40)) < 0.06
    assert score([flip(p) for p in preds], [flip(t) for t in gts]) == score(preds, gts)


def test_scores_do_not_depend_on_the_order_of_images() -> None:
    preds, gts = scenes()
    for profile in PROFILES:
        assert score(preds[::-1], gts[::-1], profile) == score(preds, gts, profile)


def test_larger_prediction_off_target_never_lowers_false_alarms() -> None:
    _, gts = scenes()
    worse = [gt.copy() for gt in gts]
    worse[2][0, 0] = True
    assert score(worse, gts).fa > score(gts, gts).fa


@pytest.mark.parametrize("profile", PROFILES)
def test_suite_equals_score_and_starts_again_after_reset(profile: str) -> None:
    preds, gts = scenes()
    suite = DetectionSuite(profile)
    for _ in range(2):
        for p, t in zip(preds, gts, strict=True):
            suite.update(torch.from_numpy(p), torch.from_numpy(t))
        assert suite.compute() == score(preds, gts, profile)
        suite.reset()


def test_both_profiles_in_one_collection_stay_apart_though_they_start_alike() -> None:
    preds, gts = scenes()
    preds, gts = [gts[0], *preds], [gts[0], *gts]  # a perfect first image, on which both profiles agree
    both = MetricCollection({profile: DetectionSuite(profile) for profile in PROFILES})
    for p, t in zip(preds, gts, strict=True):
        both.update(p, t)
    for profile, suite in both.items():
        assert suite.compute() == score(preds, gts, profile)


def _work(rank: int, folder: str) -> None:
    """One of two processes: every second image, an odd number in all."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    preds, gts = scenes()
    suites = {profile: DetectionSuite(profile) for profile in PROFILES}
    niou, curve = NIoU(), PdFaCurve((0.25, 0.5))
    for i in range(rank, SEVEN, 2):
        for suite in suites.values():
            suite.update(preds[i], gts[i])
        niou.update(preds[i], gts[i])
        curve.update(preds[i].astype(np.float32), gts[i])
    found = {profile: suite.compute().to_dict() for profile, suite in suites.items()}
    found["niou"] = niou.compute().item()
    found["curve"] = curve.compute().counts.tolist()
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available(), reason="this torch was built without distributed")
def test_two_processes_give_exactly_the_figures_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_work, args=(str(tmp_path),), nprocs=2)
    preds, gts = scenes()
    niou, curve = NIoU(), PdFaCurve((0.25, 0.5))
    niou.update(preds, gts)
    curve.update([p.astype(np.float32) for p in preds], gts)
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for profile in PROFILES:
            assert found[profile] == score(preds, gts, profile).to_dict()
        assert found["niou"] == niou.compute().item()
        assert found["curve"] == curve.compute().counts.tolist()
