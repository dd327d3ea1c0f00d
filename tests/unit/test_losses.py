"""Losses on logit maps, by hand."""

import math

import pytest
import torch

from samspl.losses import bce, dice, make_loss, pooled_iou, sls, soft_iou
from samspl.train_config import LOSS_NAMES

SURE = 100.0


def mask(*pixels: tuple[int, int], side: int = 4) -> torch.Tensor:
    """(1, 1, side, side), 1 at (row, column)."""
    values = torch.zeros(1, 1, side, side)
    for y, x in pixels:
        values[0, 0, y, x] = 1
    return values


def sure(gt_mask: torch.Tensor) -> torch.Tensor:
    """Logits that say this mask with certainty."""
    return (2 * gt_mask - 1) * SURE


def test_bce_of_undecided_logits_is_log_2_a_map_and_maps_are_summed() -> None:
    gt_mask = mask((1, 1))
    undecided = torch.zeros_like(gt_mask)
    assert bce(undecided, gt_mask).item() == pytest.approx(math.log(2))
    assert make_loss("bce")([undecided] * 3, gt_mask).item() == pytest.approx(3 * math.log(2))


def test_maps_are_weighted_by_hand_and_one_without_weight_gets_no_gradient() -> None:
    gt_mask = mask((1, 1))
    maps = [torch.full_like(gt_mask, value, requires_grad=True) for value in (0.0, 1.0, -2.0)]
    loss = make_loss("bce+soft_iou", (1.0, 0.25, 0.0))(maps, gt_mask)
    parts = [(bce(one, gt_mask) + soft_iou(one, gt_mask)).item() for one in maps]
    assert loss.item() == pytest.approx(parts[0] + 0.25 * parts[1])
    loss.backward()
    assert [one.grad is not None for one in maps] == [True, True, False]
    with pytest.raises(ValueError, match="3 maps and 2 weights"):
        make_loss("bce", (1.0, 1.0))(maps, gt_mask)


def test_overlap_losses_of_half_a_target_by_hand() -> None:
    pred, gt_mask = sure(mask((1, 1))), mask((1, 1), (1, 2))
    # one common pixel, one predicted, two true; one pixel more on both sides of each ratio
    assert soft_iou(pred, gt_mask).item() == pytest.approx(1 - 2 / 3)
    assert dice(pred, gt_mask).item() == pytest.approx(1 - 3 / 4)


def test_pooled_iou_weighs_pixels_where_soft_iou_weighs_images() -> None:
    gt_mask = torch.cat([mask((1, 1)), mask(*((y, x) for y in range(2) for x in range(4)))])
    pred = torch.cat([sure(mask((1, 1))), sure(mask((0, 0)))])
    # common 1 + 1, predicted 1 + 1, true 1 + 8; one pixel more on both sides
    assert pooled_iou(pred, gt_mask).item() == pytest.approx(1 - 3 / 10)
    assert soft_iou(pred, gt_mask).item() == pytest.approx((0 + 1 - 2 / 9) / 2)


def test_sls_by_hand() -> None:
    pred, gt_mask = sure(mask((0, 0))), mask((0, 0), (0, 1))
    variance = 0.25
    scale = 1 - (1 + variance + 1) / (2 + variance + 1) * 2 / 3
    # mean positions in image sides: (1/8, 1/8), and (2/8, 1/8)
    location = 1 - math.hypot(1, 1) / math.hypot(2, 1)
    location += 4 / math.pi**2 * (math.atan2(1, 1) - math.atan2(1, 2)) ** 2
    assert sls(pred, gt_mask).item() == pytest.approx(scale + location, rel=1e-4)


@pytest.mark.parametrize("name", LOSS_NAMES)
@pytest.mark.parametrize("pixels", [[(1, 2)], [(0, 0), (3, 3)], []], ids=["one", "two", "none"])
def test_right_masks_cost_nothing_and_wrong_ones_more(name: str, pixels: list[tuple[int, int]]) -> None:
    loss = make_loss(name)
    gt_mask = mask(*pixels)
    right, wrong = loss([sure(gt_mask)], gt_mask), loss([sure(mask((2, 0)))], gt_mask)
    assert right.item() == pytest.approx(0, abs=1e-5)
    assert wrong.item() > 0.1


def test_sls_costs_more_the_farther_the_miss() -> None:
    gt_mask = mask((8, 8), side=32)
    costs = [sls(sure(mask((8 + k, 8 + k), side=32)), gt_mask).item() for k in (1, 4, 12)]
    assert costs == sorted(costs)
    assert costs[0] < costs[2]


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_gradients_are_finite_everywhere_and_point_towards_the_mask(name: str) -> None:
    for gt_mask in (mask((1, 1)), mask()):
        for start in (0.0, -60.0, 60.0):
            logits = torch.full((1, 1, 4, 4), start, requires_grad=True)
            make_loss(name)([logits], gt_mask).backward()
            assert logits.grad is not None
            assert torch.isfinite(logits.grad).all()
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    make_loss(name)([logits], mask((1, 1))).backward()
    assert logits.grad[0, 0, 1, 1] < 0  # a step down the gradient raises the target's logit


def test_a_sum_of_losses_is_their_sum_in_float32() -> None:
    logits = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    gt_mask = mask((1, 1)).expand(2, -1, -1, -1)
    both = make_loss("bce+dice")([logits], gt_mask)
    assert both.dtype == torch.float32
    assert both.item() == pytest.approx((bce(logits.float(), gt_mask) + dice(logits, gt_mask)).item())


def test_images_of_a_batch_count_alike() -> None:
    gt_mask = torch.cat([mask((1, 1)), mask((0, 0), (0, 1), (1, 0), (1, 1))])
    logits = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    for loss in (bce, soft_iou, dice, sls):
        alone = [loss(logits[k : k + 1], gt_mask[k : k + 1]).item() for k in (0, 1)]
        assert loss(logits, gt_mask).item() == pytest.approx(sum(alone) / 2)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="logits is empty"):
        make_loss()([], mask())
    with pytest.raises(ValueError, match=r"map 1 has shape \(1, 1, 2, 2\)"):
        make_loss()([mask(), torch.zeros(1, 1, 2, 2)], mask())
    with pytest.raises(ValueError, match="unknown loss 'dise'; did you mean 'dice'"):
        make_loss("bce+dise")
