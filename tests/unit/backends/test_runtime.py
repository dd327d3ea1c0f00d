"""Batches, sizes and threads of networks that run one image of one size."""

import threading

import numpy as np
import pytest

from samspl.backends.runtime import KEPT_SIZES, ConvertingBackend, ExportedBackend, first_line
from samspl.preprocess import Preprocess
from tests.unit.backends.exported import FACTS


def mean_of_channels(images: np.ndarray) -> np.ndarray:
    assert len(images) == 1
    assert images.flags.c_contiguous
    return images.mean(1, keepdims=True)


def test_batches_of_any_size_are_run_image_by_image():
    backend = ExportedBackend(mean_of_channels, FACTS)
    for count in (1, 2, 5):
        images = np.random.default_rng(count).normal(size=(count, 3, 32, 32)).astype(np.float32)
        assert np.array_equal(backend(images), images.mean(1, keepdims=True))
    assert (backend.preprocess, backend.threshold, backend.input_size) == (FACTS.preprocess, 0.4, 32)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3, 64, 64), "exported for 32x32"),
        ((1, 1, 32, 32), "expected"),
        ((3, 32, 32), "expected"),
        ((0, 3, 32, 32), "at least one"),
    ],
)
def test_exported_network_refuses_other_shapes(shape, words):
    with pytest.raises(ValueError, match=words):
        ExportedBackend(mean_of_channels, FACTS)(np.zeros(shape, np.float32))


def test_each_size_is_converted_once_and_the_oldest_is_let_go():
    made = []

    def convert(size_hw):
        made.append(size_hw)
        return mean_of_channels

    backend = ConvertingBackend(convert, Preprocess(), 0.5)
    assert backend.input_size is None
    for _ in range(2):
        for width in (32, 64):
            assert backend(np.zeros((2, 3, 32, width), np.float32)).shape == (2, 1, 32, width)
    assert made == [(32, 32), (32, 64)]
    for i in range(KEPT_SIZES):
        backend(np.zeros((1, 3, 64, 32 * (i + 1)), np.float32))
    backend(np.zeros((1, 3, 32, 32), np.float32))
    assert made.count((32, 32)) == 2
    with pytest.raises(ValueError, match="multiples of 32"):
        backend(np.zeros((1, 3, 40, 32), np.float32))


def test_threads_wait_for_one_conversion():
    made = []
    start = threading.Barrier(4)

    def convert(size_hw):
        made.append(size_hw)
        return mean_of_channels

    backend = ConvertingBackend(convert, None, 0.5)

    def work():
        start.wait()
        backend(np.zeros((1, 3, 32, 32), np.float32))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [(32, 32)]


def test_complaint_of_a_runtime_is_its_first_line_that_says_something():
    assert (
        first_line(RuntimeError("Exception from src/core.cpp:84:\n  Empty weights\nstack")) == "Empty weights"
    )
    assert first_line(RuntimeError("")) == "RuntimeError"
