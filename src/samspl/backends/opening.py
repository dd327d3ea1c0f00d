"""A backend for a weights file, by name."""

from pathlib import Path

import torch

from samspl.backends.base import Backend
from samspl.backends.pytorch import TorchBackend
from samspl.checkpoint import build_model, read_checkpoint
from samspl.config import nearest_name
from samspl.errors import ConfigError

BACKENDS = ("torch", "onnx", "openvino")
"""What `open_backend` takes."""


def open_backend(
    weights: str | Path, backend: str = "torch", device: str = "auto", threads: int | None = None
) -> Backend:
    """Make a network ready to be called.

    Args:
        weights: Weights file or training folder, or an exported `.onnx` or `.xml` file.
        backend: `torch`, `onnx` or `openvino`. An exported file runs in its own runtime where this says `torch`, an
            `.onnx` file in OpenVINO, too. Other weights are converted in memory, for each size at its first call.
        device: As `resolve_device` takes it; the exported forms run on the CPU.
        threads: CPU threads of the network, at least 1; None takes as many as torch does. Of torch itself they can
            only be set for the whole process.
    Raises:
        ConfigError: for a missing file, an unknown backend or device, or one that cannot run this file.
        CheckpointError: for an unusable file.
        ValueError: for less than one thread.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"unknown backend {backend!r}; {nearest_name(backend, list(BACKENDS))}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; expected at least 1")
    checkpoint = read_checkpoint(weights)
    if threads is not None:
        torch.set_num_threads(threads)
    return TorchBackend(build_model(checkpoint), device, checkpoint.preprocess, checkpoint.threshold)
