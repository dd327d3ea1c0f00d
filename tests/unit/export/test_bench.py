"""What `samspl bench` measures: the forms, their figures, and which int8 is offered."""

import dataclasses
import sys

import pytest
import torch

from samspl.checkpoint import Checkpoint
from samspl.errors import CheckpointError, ConfigError
from samspl.export import bench
from samspl.export.bench import BenchRow, run_bench
from samspl.models.arithmetic import count_gflop
from tests.unit.backends.exported import PREPROCESS, network
from tests.unit.backends.test_runtimes import skip_without
from tests.unit.models.test_network import NARROW


@pytest.fixture(scope="module")
def checkpoint():
    return Checkpoint(NARROW, network().state_dict(), PREPROCESS)


def row(backend: str, precision: str, latency_ms: float) -> BenchRow:
    return BenchRow(backend, precision, latency_ms, 1.0, 1.0, 1.0, 0.0)


def test_every_form_is_in_the_table_or_said_to_be_missing(checkpoint, monkeypatch):
    skip_without("onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(bench, "CALIBRATION_SCENES", 4)
    result = run_bench(checkpoint, 32, rounds=1)
    found = {(r.backend, r.precision): r for r in result.rows}
    assert {("torch", "fp32"), ("onnx", "fp32")} <= set(found)
    left_out = " ".join(result.left_out)
    for form in ("openvino fp32", "openvino bf16", "openvino int8"):
        assert f"{form}: backend openvino needs openvino; pip install 'samspl[openvino]'" in left_out
    assert (("onnx", "int8") in found) != ("onnx int8: not offered" in left_out)
    assert result.threads == torch.get_num_threads()
    for r in result.rows:
        assert r.gflop == count_gflop(NARROW, (32, 32))
        assert r.efficiency == pytest.approx(r.gflop / r.latency_ms * 1e3 / result.matmul_gflops)
    assert found["torch", "fp32"].max_abs_diff == 0
    assert found["onnx", "fp32"].max_abs_diff < 1e-3
    assert set(result.losses) == set(found) - {("torch", "fp32")}
    assert result.losses["onnx", "fp32"].points == (pytest.approx(0, abs=0.5), pytest.approx(0, abs=0.5))


def test_json_has_the_keys_of_the_contract(checkpoint):
    result = bench.BenchResult(100.0, 2, (row("torch", "fp32", 5.0),))
    content = result.to_dict()
    assert list(content) == ["matmul_gflops", "threads", "rows"]
    assert list(content["rows"][0]) == [
        "backend",
        "precision",
        "latency_ms",
        "images_per_s",
        "gflop",
        "efficiency",
        "max_abs_diff",
    ]


def test_int8_is_offered_only_where_it_is_faster_than_bf16():
    forms = [row("onnx", "fp32", 9.0), row("onnx", "int8", 6.0), row("openvino", "bf16", 5.0)]
    kept, left_out = bench._without_slow_int8((*forms, row("openvino", "int8", 4.0)))
    assert [(r.backend, r.precision) for r in kept] == [
        ("onnx", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    ]
    assert left_out == [
        "onnx int8: not offered, since it is no faster here than openvino bf16 (6.0 ms against 5.0 ms)"
    ]


def test_without_bf16_int8_has_to_beat_fp32_of_its_own_backend():
    forms = (row("onnx", "fp32", 9.0), row("onnx", "int8", 8.0))
    assert bench._without_slow_int8(forms) == (forms, [])
    slow = (row("onnx", "fp32", 9.0), row("onnx", "int8", 9.0))
    assert bench._without_slow_int8(slow)[0] == slow[:1]


def test_wrong_input_is_refused(checkpoint):
    with pytest.raises(ConfigError, match="multiple of 32"):
        run_bench(checkpoint, 100)
    with pytest.raises(ValueError, match="rounds is 0"):
        run_bench(checkpoint, 32, rounds=0)
    with pytest.raises(CheckpointError, match="samspl weights import"):
        run_bench(dataclasses.replace(checkpoint, preprocess=None), 32)
