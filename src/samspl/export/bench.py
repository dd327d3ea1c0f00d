"""Latency, throughput and loss of every backend and precision on this machine, beside its matrix-multiply rate."""

import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samspl.backends.onnx import require as require_onnx
from samspl.backends.onnx import run_onnx, to_onnx
from samspl.backends.openvino import has_bf16, run_openvino, to_openvino
from samspl.backends.pytorch import TorchBackend
from samspl.checkpoint import Checkpoint, build_model
from samspl.errors import ConfigError
from samspl.export.images import inputs_of, synthetic_images
from samspl.export.parity import AccuracyLoss, Run, largest_difference, measure_loss
from samspl.export.quantise import quantise_onnx, quantise_openvino, require_nncf
from samspl.export.run import fixed_size
from samspl.models.arithmetic import count_gflop
from samspl.models.inference import InferenceNetwork, prepare_for_inference

logger = logging.getLogger(__name__)

MATMUL_SIDE = 2048
BATCH = 4
"""Images of a call that throughput is measured on."""
CALIBRATION_SCENES = 16
"""Synthetic scenes that int8 gets its ranges from; as many others are measured on."""


@dataclass(frozen=True)
class BenchRow:
    """One way to run the network; `samspl bench --json` has these fields."""

    backend: str
    """`torch`, `onnx` or `openvino`."""
    precision: str
    """`fp32`, `bf16` or `int8`."""
    latency_ms: float
    """Median time of one image, milliseconds."""
    images_per_s: float
    """Of calls with `BATCH` images."""
    gflop: float
    """The network's arithmetic for one image, 10^9 operations, see `models.arithmetic`."""
    efficiency: float
    """``gflop`` over the latency, over the matrix-multiply rate of the same run."""
    max_abs_diff: float
    """Largest difference of logits from fp32 in torch."""


@dataclass(frozen=True)
class BenchResult:
    """What was measured."""

    matmul_gflops: float
    """Rate of a 2048^3 fp32 matrix multiply in the same run, 10^9 operations a second."""
    threads: int
    """CPU threads."""
    rows: tuple[BenchRow, ...]
    """In the order of the table."""
    losses: dict[tuple[str, str], AccuracyLoss] = field(default_factory=dict)
    """By backend and precision, all but fp32 in torch."""
    left_out: tuple[str, ...] = ()
    """What is not in the table and why, a sentence each."""

    def to_dict(self) -> dict[str, Any]:
        """Content of the JSON file."""
        return {
            "matmul_gflops": self.matmul_gflops,
            "threads": self.threads,
            "rows": [asdict(row) for row in self.rows],
        }


def run_bench(
    checkpoint: Checkpoint, image_size: int = 256, rounds: int = 10, is_trained: bool = True
) -> BenchResult:
    """Measure a network in every backend and precision that is available here.

    Each round times the matrix multiply and then every form of the network, so that all see the same machine; medians
    count. The loss is measured on synthetic scenes.

    Args:
        checkpoint: The network; with preprocessing.
        image_size: Side of the input, a multiple of 32.
        rounds: At least 1, after one that warms up.
        is_trained: Whether masks are what the network is to find; else fp32's own output is the truth.
    Raises:
        ConfigError: for a size that is no multiple of 32.
        CheckpointError: if the checkpoint does not say how images are prepared.
        ValueError: for less than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; expected at least 1")
    preprocess, size = fixed_size(checkpoint, image_size)
    scenes = synthetic_images(size, 2 * CALIBRATION_SCENES)
    calibration = inputs_of(scenes[:CALIBRATION_SCENES], preprocess, size)
    model = build_model(checkpoint)
    threads = torch.get_num_threads()
    forms, left_out = _forms(prepare_for_inference(model), size, threads, calibration)
    reference = _Remember(TorchBackend(model, "cpu"))
    forms = {("torch", "fp32"): reference.run, **forms}
    logger.info("timing %d forms of the network, %d rounds", len(forms), rounds)
    rate, times, batch_times = _time(forms, calibration[0], rounds)
    gflop = count_gflop(checkpoint.config, (size, size))
    rows = tuple(
        BenchRow(
            *key,
            latency_ms=1e3 * times[key],
            images_per_s=BATCH / batch_times[key],
            gflop=gflop,
            efficiency=gflop / times[key] / rate,
            max_abs_diff=largest_difference(reference, run, calibration[:BATCH]),
        )
        for key, run in forms.items()
    )
    rows, slower = _without_slow_int8(rows)
    measured = scenes[CALIBRATION_SCENES:]
    if not is_trained:
        measured = [replace(scene, mask=None) for scene in measured]
    losses = {
        (row.backend, row.precision): measure_loss(
            reference,
            forms[row.backend, row.precision],
            measured,
            preprocess,
            size,
            checkpoint.threshold,
        )
        for row in rows[1:]
    }
    return BenchResult(rate, threads, rows, losses, (*left_out, *slower))


class _Remember:
    """A network that answers a question it was asked before from memory; ``run`` is the network itself."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._known: dict[bytes, np.ndarray] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        key = images.tobytes()
        if key not in self._known:
            self._known[key] = self.run(images)
        return self._known[key]


def _forms(
    network: InferenceNetwork, size: int, threads: int, calibration: list[np.ndarray]
) -> tuple[dict[tuple[str, str], Run], list[str]]:
    """Every form but torch's, by backend and precision, and why others are missing."""
    forms: dict[tuple[str, str], Run] = {}
    left_out: list[str] = []

    def add(backend: str, precision: str, make: Callable[[], Run]) -> None:
        logger.info("preparing %s %s", backend, precision)
        try:
            forms[backend, precision] = make()
        except ConfigError as err:  # a missing extra
            left_out.append(f"{backend} {precision}: {err}")

    def int8_onnx() -> Run:
        require_onnx("onnx", "onnxruntime")
        with tempfile.TemporaryDirectory() as folder:
            return run_onnx(quantise_onnx(network, calibration, size, Path(folder)), threads)

    def int8_openvino() -> Run:
        require_nncf()
        return run_openvino(quantise_openvino(network, calibration, size), threads, "int8")

    def fp32_onnx() -> Run:
        require_onnx("onnxruntime")
        return run_onnx(to_onnx(network, (size, size)), threads)

    add("onnx", "fp32", fp32_onnx)
    add("onnx", "int8", int8_onnx)
    add("openvino", "fp32", lambda: run_openvino(to_openvino(network, (size, size)), threads))
    if ("openvino", "fp32") in forms and not has_bf16():
        left_out.append("openvino bf16: this processor has no bf16")
    else:
        add("openvino", "bf16", lambda: run_openvino(to_openvino(network, (size, size)), threads, "bf16"))
    add("openvino", "int8", int8_openvino)
    return forms, left_out


def _time(
    forms: dict[tuple[str, str], Run], image: np.ndarray, rounds: int
) -> tuple[float, dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Rate of the matrix multiply in 10^9 a second, and each form's median seconds for one image and for a batch."""
    a, b = torch.randn(2, MATMUL_SIDE, MATMUL_SIDE)
    batch = np.repeat(image, BATCH, axis=0)
    matmul: list[float] = []
    one: dict[tuple[str, str], list[float]] = {key: [] for key in forms}
    many: dict[tuple[str, str], list[float]] = {key: [] for key in forms}
    for _ in range(rounds + 1):
        matmul.append(_seconds(lambda: a @ b))
        for key, run in forms.items():
            one[key].append(_seconds(partial(run, image)))
    for _ in range(max(2, rounds // 3)):
        for key, run in forms.items():
            many[key].append(_seconds(partial(_batch, key, run, batch)))
    rate = 2 * MATMUL_SIDE**3 / 1e9 / statistics.median(matmul[1:])
    return (
        rate,
        {key: statistics.median(values[1:]) for key, values in one.items()},
        {key: statistics.median(values) for key, values in many.items()},
    )


def _batch(key: tuple[str, str], run: Run, images: np.ndarray) -> None:
    if key[0] == "torch":
        run(images)
    else:
        for i in range(len(images)):
            run(images[i : i + 1])


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _without_slow_int8(rows: tuple[BenchRow, ...]) -> tuple[tuple[BenchRow, ...], list[str]]:
    """Rows without int8 where it is no faster than bf16 (than fp32 of the same backend, where there is no bf16)."""
    latency = {(row.backend, row.precision): row.latency_ms for row in rows}
    kept, left_out = [], []
    for row in rows:
        rival = ("openvino", "bf16") if ("openvino", "bf16") in latency else (row.backend, "fp32")
        if row.precision == "int8" and row.latency_ms >= latency[rival]:
            left_out.append(
                f"{row.backend} int8: not offered, since it is no faster here than {' '.join(rival)} "
                f"({row.latency_ms:.1f} ms against {latency[rival]:.1f} ms)"
            )
        else:
            kept.append(row)
    return tuple(kept), left_out
