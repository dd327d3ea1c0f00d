"""Networks in OpenVINO (extra `openvino`): from torch to OpenVINO, and running it on the CPU.

The precision of the run time is always said: left to itself, OpenVINO takes bf16 where the processor has it.
"""

import logging
import sys
import threading
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

from samspl.backends.facts import ExportFacts
from samspl.backends.onnx import open_onnx
from samspl.backends.runtime import ExportedBackend, Run
from samspl.errors import CheckpointError, ConfigError
from samspl.models.fixed_size import fix_size
from samspl.models.inference import InferenceNetwork

logger = logging.getLogger(__name__)

RT_INFO = "samspl"
"""Key of `rt_info` below which the facts of an exported file lie."""
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What the layers that are not quantised run in."""


def import_openvino() -> Any:
    """The package, without the telemetry that it sends by default.

    Raises:
        ConfigError: without the extra.
    """
    # None makes its import fail, for which OpenVINO and NNCF have a stub; nobody asked for messages to a third party
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    except ImportError as err:
        raise ConfigError("backend openvino needs openvino; pip install 'samspl[openvino]'") from err


def to_openvino(network: InferenceNetwork, size_hw: tuple[int, int]) -> Any:
    """The network as an OpenVINO model for one image of one size.

    Args:
        network: On the CPU.
        size_hw: Height and width, multiples of 32.
    Returns:
        `openvino.Model`: (1, 3, H, W) to (1, 1, H, W), both float32.
    Raises:
        ConfigError: without the extra.
    """
    openvino = import_openvino()
    images = torch.zeros(1, 3, *size_hw)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of shapes that become constants, which is what is wanted
        traced = torch.jit.trace(fix_size(network, size_hw), images, check_trace=False)  # type: ignore[no-untyped-call]
        return openvino.convert_model(traced, example_input=images, input=[1, 3, *size_hw])


def has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def run_openvino(model: Any, threads: int, precision: str = "fp32") -> Run:
    """A model ready to run.

    Args:
        model: `openvino.Model`.
        threads: Of each call.
        precision: One of `facts.PRECISIONS`; bf16 falls back to fp32 where the processor has none.
    """
    openvino = import_openvino()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    own = threading.local()  # a request serves one thread

    def run(images: np.ndarray) -> np.ndarray:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return own.request.infer([images])[0]  # a copy

    return run


def convert_openvino(network: InferenceNetwork, size_hw: tuple[int, int], threads: int) -> Run:
    """A torch network of one size, in OpenVINO.

    Raises:
        ConfigError: without the extra.
    """
    return run_openvino(to_openvino(network, size_hw), threads)


def open_openvino(path: Path, threads: int) -> ExportedBackend:
    """An exported `.xml` file with its `.bin`, or an exported `.onnx` file, in OpenVINO.

    Raises:
        ConfigError: without the extra.
        CheckpointError: for a damaged file, or one that is not of samspl.
    """
    openvino = import_openvino()
    if path.suffix == ".onnx":
        facts = open_onnx(path, threads).facts
    else:
        facts = read_openvino_facts(path)
        if not path.with_suffix(".bin").is_file():
            raise CheckpointError(
                f"{path} has no {path.with_suffix('.bin').name} beside it, which holds its weights"
            )
    precision = facts.precision
    if precision == "bf16" and not has_bf16():
        logger.warning("%s runs in fp32, since this processor has no bf16", path)
        precision = "fp32"
    try:
        run = run_openvino(openvino.Core().read_model(path), threads, precision)
    except RuntimeError as err:
        raise CheckpointError(
            f"{path} cannot be run by OpenVINO or is damaged; export it again ({err})"
        ) from err
    return ExportedBackend(run, facts)


def read_openvino_facts(path: Path) -> ExportFacts:
    """What an exported `.xml` file says of itself; needs no OpenVINO.

    Raises:
        CheckpointError: for a damaged file, or one that is not of samspl.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, UnicodeDecodeError) as err:
        raise CheckpointError(
            f"{path} is no OpenVINO file, or it is damaged; export it again ({err})"
        ) from err
    info = root.find(f"rt_info/{RT_INFO}")
    values = {} if info is None else {entry.tag: entry.get("value", "") for entry in info}
    return ExportFacts.from_strings(values, path)
