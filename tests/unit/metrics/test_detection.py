import math

import numpy as np
import pytest
from torchmetrics import MetricCollection

from samspl import metrics
from samspl.metrics import Fa, Pd
from samspl.metrics.detection import TargetCounts, count_targets


def mask_with(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (20, 20)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for left, top, width, height in boxes:
        mask[top : top + height, left : left + width] = True
    return mask


GT = mask_with((2, 2, 2, 2))


def test_false_alarm_of_same_area_is_counted_in_strict_only() -> None:
    pred = mask_with((2, 2, 2, 2), (12, 12, 2, 2))  # a hit of 4 px, and a false alarm of 4 px
    assert count_targets(pred, GT, "strict") == TargetCounts(1, 1, 1, 4, 400)
    assert count_targets(pred, GT, "published") == TargetCounts(1, 1, 0, 0, 400)
    assert metrics.fa(pred, GT, "strict") == 4 / 400
    assert metrics.fa(pred, GT, "published") == 0.0


def test_false_alarm_of_another_area_is_counted_in_both() -> None:
    pred = mask_with((2, 2, 2, 2), (12, 12, 3, 1))
    assert metrics.fa(pred, GT, "strict") == metrics.fa(pred, GT, "published") == 3 / 400


def test_area_of_a_hit_in_another_image_excuses_nothing() -> None:
    preds = [mask_with((2, 2, 2, 2)), mask_with((12, 12, 2, 2))]
    gts = [GT, np.zeros_like(GT)]
    assert metrics.fa(preds, gts, "published") == 4 / 800


def test_prediction_three_pixels_off_is_a_miss_and_a_false_alarm() -> None:
    for shift, hit in ((2, True), (3, False)):
        pred = np.roll(GT, shift, axis=1)
        assert metrics.pd(pred, GT) == float(hit)
        assert metrics.fa(pred, GT) == (0.0 if hit else 4 / 400)


def test_one_large_prediction_over_two_targets_hits_only_one() -> None:
    gt = mask_with((4, 4, 1, 1), (7, 4, 1, 1))
    pred = mask_with((4, 4, 4, 1))  # centroid 1.5 px from both
    assert count_targets(pred, gt, "strict")[:3] == (2, 1, 0)
    assert count_targets(pred, gt, "published")[:3] == (2, 1, 0)


def test_optimal_matching_finds_a_pair_that_the_greedy_one_misses() -> None:
    # (5, 3) is the first prediction near both true targets, (2, 4) is near the first one only: whoever gives
    # (5, 3) to the first leaves the second without
    pred = mask_with((5, 3, 1, 1), (2, 4, 1, 1))
    gt = mask_with((4, 3, 1, 1), (7, 4, 1, 1))
    assert count_targets(pred, gt, "published").hits == 1
    assert count_targets(pred, gt, "strict").hits == 2


def test_pd_without_targets_is_none() -> None:
    nothing = np.zeros_like(GT)
    for profile in metrics.PROFILES:
        assert metrics.pd(GT, nothing, profile) is None
        assert metrics.fa(GT, nothing, profile) == 4 / 400
        assert metrics.fa(nothing, nothing, profile) == 0.0


def test_no_image_gives_none() -> None:
    assert metrics.pd([], []) is None
    assert metrics.fa([], []) is None


def test_images_of_different_sizes_are_pooled_by_pixels() -> None:
    preds = [mask_with((5, 5, 1, 1), shape=(10, 10)), mask_with(shape=(10, 30))]
    gts = [np.zeros((10, 10), bool), np.zeros((10, 30), bool)]
    assert metrics.fa(preds, gts) == 1 / 400


def test_unknown_profile_is_refused() -> None:
    for call in (
        lambda: metrics.pd(GT, GT, "loose"),
        lambda: Pd("loose"),
        lambda: metrics.fa([], [], "loose"),
    ):
        with pytest.raises(ValueError, match="published, strict"):
            call()


@pytest.mark.parametrize("profile", metrics.PROFILES)
def test_metric_classes_equal_the_functions(profile: str) -> None:
    rng = np.random.default_rng(0)
    pred, gt = rng.random((4, 30, 30)) < 0.04, rng.random((4, 30, 30)) < 0.04
    pd, fa = Pd(profile), Fa(profile)
    for p, t in zip(pred, gt, strict=True):
        pd.update(p, t)
        fa.update(p, t)
    assert pd.compute().item() == metrics.pd(pred, gt, profile)
    assert fa.compute().item() == metrics.fa(pred, gt, profile)
    assert 0 < fa.compute().item() < 1


def test_metric_without_targets_is_nan() -> None:
    pd = Pd()
    pd.update(GT, np.zeros_like(GT))
    assert math.isnan(pd.compute().item())


def test_both_profiles_in_one_collection_stay_apart_though_they_start_alike() -> None:
    both = MetricCollection({profile: Fa(profile) for profile in metrics.PROFILES})
    both.update(GT, GT)
    both.update(mask_with((2, 2, 2, 2), (12, 12, 2, 2)), GT)
    found = {profile: value.item() for profile, value in both.compute().items()}
    assert found == {"published": 0.0, "strict": 4 / 800}
