"""Differences and losses of an exported network, against numbers by hand."""

import numpy as np
import pytest

from samspl.errors import ExportError
from samspl.export.images import ExportImage
from samspl.export.parity import AccuracyLoss, largest_difference, measure_loss
from samspl.preprocess import Preprocess

SIDE = 32


def show(*pixels):
    """A network that finds the pixels whatever it is shown."""
    logits = np.full((1, 1, SIDE, SIDE), -5.0, np.float32)
    for row, column in pixels:
        logits[0, 0, row, column] = 5.0
    return lambda images: logits


def scene(*pixels, has_mask=True):
    mask = np.zeros((SIDE, SIDE), bool)
    for row, column in pixels:
        mask[row, column] = True
    image = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    return ExportImage("scene", image, mask if has_mask else None)


def loss_of(reference, exported, images) -> AccuracyLoss:
    return measure_loss(reference, exported, images, Preprocess(), SIDE, 0.5)


def test_largest_difference_is_over_all_inputs():
    inputs = [np.zeros(3, np.float32), np.arange(3, dtype=np.float32)]
    assert largest_difference(lambda x: x, lambda x: 1.25 * x, inputs) == pytest.approx(0.5)


def test_values_that_are_not_finite_are_refused():
    inputs = [np.zeros(3, np.float32)]
    with pytest.raises(ExportError, match="exported file gives NaN"):
        largest_difference(lambda x: x, lambda x: x + np.nan, inputs)


def test_loss_against_masks():
    """Truth has two targets of one pixel; fp32 finds both, int8 one of them and a false one."""
    truth = [(4, 4), (20, 20)]
    loss = loss_of(show(*truth), show((4, 4), (10, 28)), [scene(*truth)])
    assert loss.has_masks
    assert (loss.reference.iou, loss.reference.pd, loss.exported.pd) == (1.0, 1.0, 0.5)
    assert loss.points == (pytest.approx(100 * (1 - 1 / 3)), pytest.approx(50.0))
    assert not loss.is_small


def test_loss_without_masks_is_against_what_fp32_finds():
    loss = loss_of(show((4, 4)), show((4, 4)), [scene(has_mask=False)] * 3)
    assert not loss.has_masks
    assert loss.images == 3
    assert loss.points == (0.0, 0.0)
    assert loss.is_small


def test_gain_is_no_loss():
    loss = loss_of(show((4, 4), (9, 9)), show((4, 4)), [scene((4, 4))])
    assert loss.points == (-50.0, 0.0)
    assert loss.is_small


def test_nothing_to_measure_is_not_taken_for_no_loss():
    loss = loss_of(show(), show(), [scene(has_mask=False)])
    assert loss.points == (None, None)
    assert not loss.is_small


@pytest.mark.parametrize(("missed", "is_small"), [(1, True), (2, False)])
def test_half_a_point_is_the_limit(missed, is_small):
    """One of 200 targets is half a point of Pd; so is one pixel of 200 of IoU."""
    places = [(1 + 3 * r, 1 + 3 * c) for r in range(10) for c in range(10)]
    scenes = [scene(*places), scene(*places)]
    calls = iter([show(*places[missed:]), show(*places)])
    exported = lambda images: next(calls)(images)  # noqa: E731
    loss = loss_of(show(*places), exported, scenes)
    assert loss.points == (pytest.approx(missed / 2), pytest.approx(missed / 2))
    assert loss.is_small == is_small
