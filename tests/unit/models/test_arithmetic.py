"""The arithmetic of a network, as published counts have it."""

import dataclasses

import pytest

from samspl.models.arithmetic import count_gflop
from samspl.models.variants import VARIANTS
from tests.unit.models.test_network import NARROW


@pytest.mark.parametrize(("variant", "multiply_adds"), [("spl_t", 14.97), ("spl_s", 21.58)])
def test_published_counts_come_out(variant, multiply_adds):
    assert count_gflop(VARIANTS[variant], (256, 256)) == pytest.approx(2 * multiply_adds, rel=0.005)


def test_window_filling_counts():
    """The last block sees 4 x 4 tokens of 64 channels; a window of 14 x 14 adds 180, whose query, key, value and output
    take 4 x 64 x 64 multiply-adds each.
    """
    windowed = count_gflop(dataclasses.replace(NARROW, global_blocks=()), (64, 64))
    assert windowed - count_gflop(NARROW, (64, 64)) == pytest.approx(2 * 180 * 4 * 64 * 64 / 1e9)


def test_count_grows_with_the_area():
    assert count_gflop(NARROW, (64, 128)) == pytest.approx(2 * count_gflop(NARROW, (64, 64)), rel=0.01)
