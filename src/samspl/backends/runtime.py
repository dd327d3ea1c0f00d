"""Networks in a runtime other than torch: one image a run at a fixed size, so that the runtime can plan everything."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from samspl.backends.facts import ExportFacts
from samspl.preprocess import STRIDE, Preprocess

Run = Callable[[np.ndarray], np.ndarray]
"""(1, 3, H, W) float32 to logits (1, 1, H, W) float32, for one H and W; may be called from several threads."""
KEPT_SIZES = 4
"""Converted networks that a `ConvertingBackend` keeps; each needs its weights in memory, and more."""


def first_line(err: Exception) -> str:
    """What a runtime complains of, without its stack."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from")), type(err).__name__)


def check_images(images: np.ndarray, input_size: int | None = None) -> np.ndarray:
    """The images as the runtimes take them.

    Raises:
        ValueError: unless they are (B, 3, H, W), B at least 1, of the given side or any multiples of 32.
    """
    values = np.ascontiguousarray(images, np.float32)
    if values.ndim != 4 or values.shape[1] != 3 or not values.shape[0]:
        raise ValueError(
            f"images have shape {values.shape}; expected (batch, 3, height, width), at least one image"
        )
    h, w = values.shape[2:]
    if input_size is not None and (h, w) != (input_size, input_size):
        raise ValueError(
            f"image is {h}x{w} (height x width); this network was exported for {input_size}x{input_size} - "
            "pad or tile to that size, or export it for another"
        )
    if not h or not w or h % STRIDE or w % STRIDE:
        raise ValueError(f"image is {h}x{w} (height x width); the network needs multiples of {STRIDE}")
    return values


def run_each(run: Run, images: np.ndarray) -> np.ndarray:
    """Logits (B, 1, H, W) of (B, 3, H, W), image by image."""
    if len(images) == 1:
        return run(images)
    return np.concatenate([run(images[i : i + 1]) for i in range(len(images))])


class ExportedBackend:
    """An exported file."""

    def __init__(self, run: Run, facts: ExportFacts) -> None:
        """``run`` takes images of the side that ``facts`` say."""
        self.facts = facts
        self.preprocess: Preprocess | None = facts.preprocess
        self.threshold = facts.threshold
        self.input_size: int | None = facts.input_size
        self._run = run

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See `base.Backend`."""
        return run_each(self._run, check_images(images, self.input_size))


class ConvertingBackend:
    """A torch network that is converted for each input size at its first use."""

    input_size: int | None = None

    def __init__(
        self, convert: Callable[[tuple[int, int]], Run], preprocess: Preprocess | None, threshold: float
    ) -> None:
        """``convert`` makes the network of a size (height, width)."""
        self.preprocess = preprocess
        self.threshold = threshold
        self._convert = convert
        self._runs: OrderedDict[tuple[int, int], Run] = OrderedDict()
        self._lock = threading.Lock()  # one conversion at a time: tracing is not for several threads

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See `base.Backend`."""
        values = check_images(images)
        return run_each(self._run_of((values.shape[2], values.shape[3])), values)

    def _run_of(self, size_hw: tuple[int, int]) -> Run:
        with self._lock:
            if size_hw not in self._runs:
                self._runs[size_hw] = self._convert(size_hw)
                if len(self._runs) > KEPT_SIZES:
                    self._runs.popitem(last=False)
            self._runs.move_to_end(size_hw)
            return self._runs[size_hw]
