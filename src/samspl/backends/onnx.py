"""Networks in ONNX Runtime (extra `onnx`): from torch to ONNX, and running it.

The graph is made by torch's TorchScript exporter, which torch 2.6 to 2.13 have and which needs neither onnxscript nor a
second pass over the graph: 5 s for spl_t against 35 s. It is deprecated; once it goes, ``dynamo=True`` gives a graph
of the same speed. Opset 20 is the first with Gelu in one node. Opset 23's Attention is not used: ONNX Runtime 1.32
refuses masks that are to be broadcast over queries, and those that it takes run no faster.
"""

import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samspl.backends.facts import ExportFacts
from samspl.backends.runtime import ExportedBackend, Run
from samspl.errors import CheckpointError, ConfigError
from samspl.models.fixed_size import fix_size
from samspl.models.inference import InferenceNetwork

OPSET = 20
INPUT, OUTPUT = "images", "logits"


def require(*modules: str) -> None:
    """Refuse to go on without the extra.

    Raises:
        ConfigError: if a module of it is not installed.
    """
    for name in modules:
        try:
            import_module(name)
        except ImportError as err:
            raise ConfigError(f"backend onnx needs {name}; pip install 'samspl[onnx]'") from err


def to_onnx(network: InferenceNetwork, size_hw: tuple[int, int]) -> bytes:
    """The network as a serialised ONNX model for one image of one size.

    Args:
        network: On the CPU.
        size_hw: Height and width, multiples of 32.
    Returns:
        Input `images` (1, 3, H, W), output `logits` (1, 1, H, W), both float32.
    Raises:
        ConfigError: without the extra.
    """
    require("onnx")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        path = Path(folder) / "network.onnx"
        warnings.simplefilter("ignore")  # of shapes that become constants, which is what is wanted
        torch.onnx.export(
            fix_size(network, size_hw),
            (torch.zeros(1, 3, *size_hw),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )
        return path.read_bytes()


def start_session(model: bytes | str, threads: int, save_optimized: Path | None = None) -> Any:
    """A session of ONNX Runtime on the CPU.

    Args:
        model: Serialised, or the path of a file.
        threads: Of each call.
        save_optimized: Where to write the graph with its constants folded, in standard operators.
    """
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; they are raised, too
    if save_optimized is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(save_optimized)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_onnx(model: bytes | str, threads: int) -> Run:
    """A serialised model, or a file, ready to run."""
    return _run_of(start_session(model, threads))


def convert_onnx(network: InferenceNetwork, size_hw: tuple[int, int], threads: int) -> Run:
    """A torch network of one size, in ONNX Runtime.

    Raises:
        ConfigError: without the extra.
    """
    require("onnxruntime")
    return run_onnx(to_onnx(network, size_hw), threads)


def open_onnx(path: Path, threads: int) -> ExportedBackend:
    """An exported `.onnx` file.

    Raises:
        ConfigError: without the extra.
        CheckpointError: for a damaged file, or one that is not of samspl.
    """
    require("onnxruntime")
    try:
        session = start_session(str(path), threads)
    except Exception as err:  # ONNX Runtime's errors have no common base below Exception
        raise CheckpointError(
            f"{path} is no ONNX file that can be run, or it is damaged; export it again ({err})"
        ) from err
    facts = ExportFacts.from_strings(session.get_modelmeta().custom_metadata_map, path)
    return ExportedBackend(_run_of(session), facts)


def _run_of(session: Any) -> Run:
    name = session.get_inputs()[0].name

    def run(images: np.ndarray) -> np.ndarray:
        return session.run(None, {name: images})[0]

    return run
