"""`samspl export` as a user sees it: what it prints, what it writes, what it refuses."""

import dataclasses
import sys

import pytest

from samspl.backends import open_backend
from samspl.cli.export import report_lines
from samspl.cli.main import main
from samspl.export.parity import Accuracy, AccuracyLoss
from samspl.export.run import ExportReport
from samspl.preprocess import Preprocess
from tests.unit.backends.exported import FACTS, write_weights
from tests.unit.backends.test_runtimes import skip_without


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "best.safetensors")


def test_training_folder_becomes_a_file_beside_it(weights, capsys):
    skip_without("onnx")
    assert main(["export", "--weights", str(weights.parent), "--format", "onnx", "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    out = weights.with_name("best.onnx")
    assert lines[0] == "input       32 x 32, every frame is resized to 32 x 32"
    assert lines[1].startswith("difference  ")
    assert lines[1].endswith(" at most, logits on 8 synthetic scenes")
    assert lines[2] == str(out)
    assert open_backend(out).input_size == 32
    assert main(["export", "--weights", str(weights.parent), "--format", "onnx", "-q"]) == 2
    assert "best.onnx is there already; choose another --out, or add --overwrite" in capsys.readouterr().err


def report(loss: AccuracyLoss | None, paths=()) -> ExportReport:
    return ExportReport(paths, FACTS, 0.25, 4, False, loss)


def test_int8_shows_its_loss_as_a_table():
    loss = AccuracyLoss(Accuracy(0.8, 0.95, 0.0), Accuracy(0.797, None, 0.0), 12, True)
    assert report_lines(report(loss)) == [
        "input       32 x 32, every frame is resized to 32 x 32",
        "difference  2.5e-01 at most, logits on 4 images",
        "accuracy    on 12 images held back from calibration, against their masks",
        "                      fp32    int8    loss",
        "            IoU %    80.00   79.70    0.30",
        "            Pd %     95.00       -       -",
    ]


def test_int8_that_lost_too_much_is_status_1_with_the_table(weights, monkeypatch, capsys):
    loss = AccuracyLoss(Accuracy(0.8, 1.0, 0.0), Accuracy(0.7, 1.0, 0.0), 12, False)
    monkeypatch.setattr("samspl.export.export_weights", lambda *_, **__: report(loss))
    words = [
        "export",
        "--weights",
        str(weights),
        "--format",
        "onnx",
        "--precision",
        "int8",
        "--calibrate",
        "x",
    ]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "against what fp32 finds" in captured.out
    assert "10.00" in captured.out
    assert "no file was written" in captured.err
    assert "--force" in captured.err


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        (["--format", "tensorrt"], 2, "unknown format 'tensorrt'; known: onnx, openvino"),
        (["--precision", "bf16"], 2, "ONNX Runtime has no bf16"),
        (["--precision", "int8"], 2, "int8 needs --calibrate"),
        (["--image-size", "100"], 2, "multiple of 32"),
        (["--weights", "absent.safetensors"], 2, "absent.safetensors do not exist"),
        (["--out", "w.bin"], 2, "ends with .onnx"),
        (["--precision", "int8", "--calibrate", "absent"], 2, "absent does not exist"),
        (["--device", "cuda:0"], 2, "on the CPU"),
    ],
)
def test_wrong_usage_is_a_sentence(weights, tmp_path, capsys, changes, status, words):
    skip_without("onnx")
    out = [] if "--out" in changes else ["--out", str(tmp_path / "w.onnx")]
    assert main(["export", "--weights", str(weights), "--format", "onnx", *out, *changes]) == status
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "extra"), [("onnx", "onnx"), ("openvino", "openvino")])
def test_missing_extra_says_what_to_install(weights, tmp_path, capsys, monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    out = tmp_path / ("w.onnx" if name == "onnx" else "w.xml")
    assert main(["export", "--weights", str(weights), "--format", name, "--out", str(out)]) == 2
    assert f"pip install 'samspl[{extra}]'" in capsys.readouterr().err


def test_weights_without_preprocessing_are_status_1(tmp_path, capsys):
    skip_without("onnx")
    bare = write_weights(tmp_path / "bare.safetensors", preprocess=None)
    assert main(["export", "--weights", str(bare), "--format", "onnx"]) == 1
    assert "samspl weights import" in capsys.readouterr().err


def test_native_network_says_that_larger_frames_are_tiled():
    facts = dataclasses.replace(FACTS, preprocess=Preprocess())
    lines = report_lines(ExportReport((), facts, 0.0, 1, True, None))
    assert lines[0] == "input       32 x 32, larger frames in tiles of this size"
