"""A backend for a weights file, by name."""

from functools import partial
from pathlib import Path

import torch

from samspl.backends.base import Backend, resolve_device
from samspl.backends.onnx import convert_onnx, open_onnx
from samspl.backends.onnx import require as require_onnx
from samspl.backends.openvino import convert_openvino, open_openvino
from samspl.backends.openvino import import_openvino as require_openvino
from samspl.backends.pytorch import TorchBackend
from samspl.backends.runtime import ConvertingBackend
from samspl.checkpoint import build_model, read_checkpoint
from samspl.config import nearest_name
from samspl.errors import ConfigError
from samspl.models.inference import prepare_for_inference

BACKENDS = ("torch", "onnx", "openvino")
"""What `open_backend` takes."""
EXPORTED_SUFFIXES = (".onnx", ".xml")


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
        ConfigError: for a missing file or extra, an unknown backend or device, or one that cannot run this file.
        CheckpointError: for an unusable file.
        ValueError: for less than one thread.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"unknown backend {backend!r}; {nearest_name(backend, list(BACKENDS))}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; expected at least 1")
    path = Path(weights)
    if path.suffix in EXPORTED_SUFFIXES:
        return _open_exported(path, backend, device, threads or torch.get_num_threads())
    if backend == "torch":
        checkpoint = read_checkpoint(weights)
        if threads is not None:
            torch.set_num_threads(threads)
        return TorchBackend(build_model(checkpoint), device, checkpoint.preprocess, checkpoint.threshold)
    _check_cpu(device, backend)
    if backend == "onnx":
        require_onnx("onnx", "onnxruntime")
    else:
        require_openvino()
    checkpoint = read_checkpoint(weights)
    network = prepare_for_inference(build_model(checkpoint))
    convert = convert_onnx if backend == "onnx" else convert_openvino
    return ConvertingBackend(
        partial(convert, network, threads=threads or torch.get_num_threads()),
        checkpoint.preprocess,
        checkpoint.threshold,
    )


def _open_exported(path: Path, backend: str, device: str, threads: int) -> Backend:
    if not path.is_file():
        raise ConfigError(f"weights {path} do not exist; give a file that samspl export has written")
    own = "onnx" if path.suffix == ".onnx" else "openvino"
    if backend == "onnx" and own == "openvino":
        raise ConfigError(
            f"{path} is an OpenVINO file, which backend onnx cannot run; use --backend openvino"
        )
    runtime = own if backend == "torch" else backend
    _check_cpu(device, runtime)
    return open_onnx(path, threads) if runtime == "onnx" else open_openvino(path, threads)


def _check_cpu(device: str, backend: str) -> None:
    if device not in ("auto", "cpu"):
        resolve_device(device)  # an unknown name is the greater mistake
        raise ConfigError(
            f"device {device} was asked for, but backend {backend} runs on the CPU; leave it out"
        )
