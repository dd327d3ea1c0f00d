"""`samspl bench` as a user sees it."""

import json

import pytest

from samspl.cli.bench import table
from samspl.cli.main import main
from samspl.export.bench import BenchResult, BenchRow
from samspl.export.parity import Accuracy, AccuracyLoss
from tests.unit.backends.exported import write_weights

RESULT = BenchResult(
    matmul_gflops=100.0,
    threads=2,
    rows=(
        BenchRow("torch", "fp32", 400.0, 2.6, 29.9, 0.7475, 0.0),
        BenchRow("openvino", "bf16", 150.0, 7.0, 29.9, 1.9933, 0.0123),
    ),
    losses={
        ("openvino", "bf16"): AccuracyLoss(Accuracy(0.9, None, 0.0), Accuracy(0.899, None, 0.0), 16, True)
    },
    left_out=("onnx fp32: backend onnx needs onnxruntime; pip install 'samspl[onnx]'",),
)


def test_table_has_a_line_for_each_form_and_says_what_is_missing():
    lines = table(RESULT, "spl_t at 256 x 256")
    assert lines[0] == "spl_t at 256 x 256, batch 1, 2 threads, 29.9 GFLOP"
    assert "100 GFLOP/s" in lines[1]
    cells = [line.split() for line in lines]
    assert ["torch", "fp32", "400.0", "2.6", "0.75", "0.0e+00", "-", "-"] in cells
    assert ["openvino", "bf16", "150.0", "7.0", "1.99", "1.2e-02", "0.10", "-"] in cells
    assert "against their masks" in lines[-2]
    assert lines[-1].startswith("not in the table - onnx fp32")


@pytest.fixture
def measured(monkeypatch):
    asked = []

    def run(checkpoint, image_size, is_trained):
        asked.append((checkpoint, image_size, is_trained))
        return RESULT

    monkeypatch.setattr("samspl.export.bench.run_bench", run)
    return asked


def test_variant_has_random_weights_and_the_figures_go_to_a_file(measured, tmp_path, capsys):
    out = tmp_path / "new" / "bench.json"
    assert main(["bench", "--image-size", "64", "--json", str(out), "-q"]) == 0
    assert capsys.readouterr().out.startswith("spl_t at 64 x 64")
    assert json.loads(out.read_text()) == RESULT.to_dict()
    (checkpoint, image_size, is_trained) = measured[0]
    assert (checkpoint.config.embed_dim, image_size, is_trained) == (96, 64, False)
    assert checkpoint.preprocess is not None


def test_weights_are_measured_as_they_are(measured, tmp_path, capsys):
    weights = write_weights(tmp_path / "w.safetensors")
    assert main(["bench", "--weights", str(weights), "-q"]) == 0
    (checkpoint, image_size, is_trained) = measured[0]
    assert (checkpoint.threshold, image_size, is_trained) == (0.4, 256, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--variant", "spl_t", "--weights", "w.safetensors"], "contradict"),
        (["--variant", "spl_x"], "unknown variant 'spl_x'"),
        (["--weights", "absent.safetensors"], "absent.safetensors do not exist"),
        (["--image-size", "100"], "multiple of 32"),
        (["--image-size", "-32"], "multiple of 32"),
        (["--device", "cuda:0"], "on the CPU"),
        (["--json", "."], "a folder"),
    ],
)
def test_wrong_usage_is_a_sentence(capsys, changes, words):
    assert main(["bench", *changes]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
