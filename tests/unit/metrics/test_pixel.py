import math

import numpy as np
import pytest
import torch

from samspl import metrics
from samspl.metrics import F1, IoU, NIoU, Precision, Recall
from samspl.metrics.pixel import IOU_UNIT, count_pixels

EMPTY = np.zeros((1, 4), bool)
PRED = np.array([[True, True, False, False]])
GT = np.array([[False, True, True, True]])


def test_figures_of_four_pixels_by_hand() -> None:
    # 1 pixel in both, 2 predicted, 3 true, 4 in the union
    assert metrics.iou(PRED, GT) == 1 / 4
    assert metrics.precision(PRED, GT) == 1 / 2
    assert metrics.recall(PRED, GT) == 1 / 3
    assert metrics.f1(PRED, GT) == 2 / 5
    assert metrics.niou(PRED, GT) == 1 / 4


def test_iou_is_pooled_and_niou_is_the_mean_of_images() -> None:
    # IoU 1/4 and 1/1: pooled (1 + 1) / (4 + 1)
    one = np.ones((1, 1), bool)
    pred, gt = [PRED, one], [GT, one]
    assert metrics.iou(pred, gt) == 2 / 5
    assert metrics.niou(pred, gt) == pytest.approx((1 / 4 + 1) / 2)


def test_f1_follows_from_iou() -> None:
    rng = np.random.default_rng(0)
    pred, gt = rng.random((3, 9, 9)) < 0.4, rng.random((3, 9, 9)) < 0.4
    iou = metrics.iou(pred, gt)
    assert metrics.f1(pred, gt) == pytest.approx(2 * iou / (1 + iou))


def test_image_with_both_masks_empty_counts_zero_in_published_and_not_at_all_in_strict() -> None:
    pred, gt = [PRED, EMPTY], [GT, EMPTY]
    assert metrics.niou(pred, gt, "published") == 1 / 8
    assert metrics.niou(pred, gt, "strict") == 1 / 4


@pytest.mark.parametrize(("pred", "gt"), [(PRED, EMPTY), (EMPTY, GT)])
def test_image_with_one_mask_empty_is_zero_in_both_profiles(pred: np.ndarray, gt: np.ndarray) -> None:
    assert metrics.niou([pred, GT], [gt, GT], "strict") == 1 / 2
    assert metrics.niou([pred, GT], [gt, GT], "published") == 1 / 2
    assert metrics.iou(pred, gt) == 0.0


def test_figures_without_any_foreground_are_none() -> None:
    for function in (metrics.iou, metrics.precision, metrics.recall, metrics.f1, metrics.niou):
        assert function(EMPTY, EMPTY) is None, function.__name__
    assert metrics.niou(EMPTY, EMPTY, "published") == 0.0


def test_precision_needs_predictions_and_recall_needs_targets() -> None:
    assert metrics.precision(EMPTY, GT) is None
    assert metrics.recall(EMPTY, GT) == 0.0
    assert metrics.recall(PRED, EMPTY) is None
    assert metrics.precision(PRED, EMPTY) == 0.0


def test_no_image_gives_none() -> None:
    assert metrics.iou([], []) is None
    assert metrics.niou([], [], "published") is None


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_numbers_that_are_only_0_and_1_are_masks(dtype: type) -> None:
    assert metrics.iou(PRED.astype(dtype), GT.astype(dtype)) == 1 / 4


def test_tensors_and_arrays_give_the_same() -> None:
    assert metrics.iou(torch.from_numpy(PRED), torch.from_numpy(GT)) == 1 / 4
    assert metrics.iou([torch.from_numpy(PRED)], [GT]) == 1 / 4


@pytest.mark.parametrize(
    ("pred", "gt", "words"),
    [
        (np.full((1, 4), 0.7), GT, "values other than 0 and 1"),
        (np.full((1, 4), 255, np.uint8), GT, "values other than 0 and 1"),
        (np.full((1, 4), np.nan), GT, "values other than 0 and 1"),
        (np.zeros((2, 4), bool), GT, "predicted mask 0 is 4x2, its true mask 4x1"),
        (np.zeros(4, bool), GT, r"pred has shape \(4,\)"),
        (np.zeros((1, 1, 1, 4), bool), GT, "pred has shape"),
        (np.zeros((0, 4), bool), np.zeros((0, 4), bool), "at least one pixel"),
        ([PRED, PRED], [GT], "2 predicted masks and 1 true masks"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_sentence(pred, gt, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        metrics.iou(pred, gt)


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="published, strict"):
        metrics.niou(PRED, GT, "loose")
    with pytest.raises(ValueError, match="published, strict"):
        NIoU("loose")


def test_fixed_point_iou_is_exact_to_a_trillionth() -> None:
    pred, gt = np.zeros((1, 7), bool), np.ones((1, 7), bool)
    pred[0, :3] = True
    assert abs(count_pixels(pred, gt).iou_sum / IOU_UNIT - 3 / 7) < 1e-12


@pytest.mark.parametrize(
    ("metric", "expected"), [(IoU, 1 / 4), (NIoU, 1 / 4), (Precision, 1 / 2), (Recall, 1 / 3), (F1, 2 / 5)]
)
def test_metric_class_equals_its_function(metric: type, expected: float) -> None:
    instance = metric()
    instance.update(PRED, GT)
    assert instance.compute().item() == pytest.approx(expected, abs=1e-12)
    instance.reset()
    instance.update(EMPTY, EMPTY)
    assert math.isnan(instance.compute().item())


def test_metric_takes_batches_and_single_images_alike() -> None:
    rng = np.random.default_rng(0)
    pred, gt = rng.random((5, 8, 8)) < 0.3, rng.random((5, 8, 8)) < 0.3
    at_once, one_by_one = NIoU(), NIoU()
    at_once.update(torch.from_numpy(pred), torch.from_numpy(gt))
    for p, t in zip(pred, gt, strict=True):
        one_by_one.update(p, t)
    assert torch.equal(at_once.compute(), one_by_one.compute())
    assert at_once.compute().item() == metrics.niou(pred, gt)
