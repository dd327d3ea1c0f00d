"""int8: networks whose convolutions and matrix products run in 8 bits, with ranges from calibration images.

Kept in fp32: what makes the logits, and what small targets hang on (see `KEPT`). Weights take 7 of 8 bits: processors
without VNNI add products of 8 bits in 16, which overflows, and a file should give the same everywhere.
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from samspl.backends.onnx import INPUT, require, start_session, to_onnx
from samspl.backends.openvino import import_openvino, to_openvino
from samspl.errors import ConfigError
from samspl.models.inference import InferenceNetwork

KEPT = ("head", "fusions", "stem.0", "channel_attention", "spatial_attention", "shortcut")
"""Parts of the network, by the names of their modules, that stay in fp32, chosen by what each alone does to the logits.
Worst are the skip connections, whose values are far from evenly spread. Together they are a sixth of the arithmetic."""
KEPT_TYPES = (
    "Add",
    "Multiply",
    "Subtract",
    "Divide",
    "Maximum",
    "MaxPool",
    "ReduceMean",
    "ReduceMax",
    "Interpolate",
    "Concat",
    "MVN",
    "ScaledDotProductAttention",
    "Softmax",
)
"""Operations of OpenVINO that stay in fp32: sums of residual blocks, norms, attention."""


class _Reader:
    """Calibration inputs one by one, as ONNX Runtime asks for them."""

    def __init__(self, inputs: Sequence[np.ndarray]) -> None:
        self._left = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(({INPUT: values} for values in self._left), None)


def _is_kept(name: str) -> bool:
    """Whether a node of the graph belongs to a part that stays in fp32; names are those of the modules."""
    path = name.replace("/", ".").replace("__module", "")
    return any(f".{part}" in path for part in KEPT)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and advice on standard output and error."""
    level = logging.root.level
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        logging.root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logging.root.setLevel(level)


def quantise_onnx(network: InferenceNetwork, inputs: Sequence[np.ndarray], size: int, folder: Path) -> bytes:
    """The network as a serialised ONNX model in int8 (QDQ form, one scale a channel of weights).

    Args:
        network: On the CPU.
        inputs: Network inputs (1, 3, size, size) that give the ranges.
        size: Side of the input.
        folder: For intermediate files.
    Raises:
        ConfigError: without the extra.
    """
    require("onnx", "onnxruntime")
    tools = import_module("onnxruntime.quantization")
    plain, quantised = folder / "plain.onnx", folder / "int8.onnx"
    start_session(to_onnx(network, (size, size)), 1, save_optimized=plain)
    graph = import_module("onnx").load(plain).graph
    weights = {tensor.name for tensor in graph.initializer}
    kept = [n.name for n in graph.node if _is_kept(n.name) or not weights & set(n.input)]
    with _quiet():
        tools.quantize_static(
            plain,
            quantised,
            _Reader(inputs),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            nodes_to_exclude=kept,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            reduce_range=True,
        )
    return quantised.read_bytes()


def require_nncf() -> Any:
    """The package that quantises OpenVINO models.

    Raises:
        ConfigError: without the extra.
    """
    import_openvino()
    try:
        return import_module("nncf")
    except ImportError as err:
        raise ConfigError("int8 for openvino needs nncf; pip install 'samspl[openvino]'") from err


def quantise_openvino(network: InferenceNetwork, inputs: Sequence[np.ndarray], size: int) -> Any:
    """The network as an `openvino.Model` in int8.

    Args:
        network: On the CPU.
        inputs: Network inputs (1, 3, size, size) that give the ranges.
        size: Side of the input.
    Raises:
        ConfigError: without the extra.
    """
    nncf = require_nncf()
    model = to_openvino(network, (size, size))
    kept = [op.get_friendly_name() for op in model.get_ops() if _is_kept(op.get_friendly_name())]
    nncf.set_log_level(logging.ERROR)
    with _quiet():
        return nncf.quantize(
            model,
            nncf.Dataset(list(inputs)),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            ignored_scope=nncf.IgnoredScope(names=kept, types=list(KEPT_TYPES), validate=False),
        )
