"""Exports for real: what is written, what it says of itself, and what is refused before and after the work."""

import dataclasses
import hashlib

import numpy as np
import pytest

from samspl.backends import open_backend
from samspl.data.synthetic import write_dataset
from samspl.errors import CheckpointError, ConfigError, ExportError
from samspl.export import default_path, export_weights, run
from samspl.export.parity import Accuracy, AccuracyLoss
from samspl.preprocess import Preprocess
from tests.deterministic import image
from tests.unit.backends.exported import PREPROCESS, network, write_weights
from tests.unit.backends.test_runtimes import skip_without
from tests.unit.models.test_network import NARROW


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "best.safetensors")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "set"
    write_dataset(folder, 8, size_hw=(32, 32))
    return folder


def test_onnx_file_agrees_and_says_everything(weights, tmp_path):
    skip_without("onnx")
    out = tmp_path / "new" / "narrow.onnx"
    report = export_weights(weights, "onnx", out)
    assert report.paths == (out,)
    assert [p.name for p in out.parent.iterdir()] == ["narrow.onnx"]
    assert report.max_abs_diff < 1e-3
    assert (report.are_synthetic, report.images, report.loss) == (True, 8, None)
    backend = open_backend(out)
    assert backend.facts == report.facts
    facts = report.facts
    assert (facts.preprocess, facts.threshold, facts.input_size) == (PREPROCESS, 0.4, 32)
    assert (facts.precision, facts.config) == ("fp32", NARROW)
    assert facts.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    x = image(1, 32, 32, seed=5)
    np.testing.assert_allclose(backend(x.numpy()), network()(x)[0].detach().numpy(), atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_openvino_export_is_two_files_beside_the_weights(weights, precision, scenes):
    skip_without("openvino")
    report = export_weights(weights, "openvino", precision=precision, calibrate=scenes, overwrite=True)
    stem = "best" if precision == "fp32" else "best.bf16"
    assert [p.name for p in report.paths] == [f"{stem}.xml", f"{stem}.bin"]
    assert not report.are_synthetic
    assert open_backend(report.paths[0]).facts.precision == precision


@pytest.mark.parametrize("export_format", ["onnx", "openvino"])
def test_int8_is_measured_on_images_held_back(weights, scenes, tmp_path, export_format):
    skip_without(export_format)
    if export_format == "openvino":
        pytest.importorskip("nncf")
    out = tmp_path / ("w.onnx" if export_format == "onnx" else "w.xml")
    report = export_weights(weights, export_format, out, precision="int8", calibrate=scenes, force=True)
    assert report.loss.images == 4
    assert report.loss.has_masks
    assert report.paths[0] == out
    backend = open_backend(out)
    assert backend.facts.precision == "int8"
    x = image(1, 32, 32, seed=5)
    difference = np.abs(backend(x.numpy()) - network()(x)[0].detach().numpy())
    assert 1e-4 < difference.mean() < 0.3  # it is quantised, and still the same network


@pytest.fixture
def plain_int8(monkeypatch):
    """int8 without the work of it, and with a loss to be set."""
    monkeypatch.setattr(
        run, "quantise_onnx", lambda net, inputs, size, folder: run.to_onnx(net, (size, size))
    )

    def lose(points):
        accuracy = Accuracy(1.0, 1.0, 0.0), Accuracy(1.0 - points / 100, 1.0, 0.0)
        monkeypatch.setattr(run, "measure_loss", lambda *_: AccuracyLoss(*accuracy, 4, True))

    return lose


def test_int8_that_loses_too_much_is_written_by_force_alone(weights, scenes, tmp_path, plain_int8):
    skip_without("onnx")
    plain_int8(0.6)
    out = tmp_path / "w.onnx"
    report = export_weights(weights, "onnx", out, precision="int8", calibrate=scenes)
    assert report.paths == ()
    assert list(tmp_path.iterdir()) == []
    report = export_weights(weights, "onnx", out, precision="int8", calibrate=scenes, force=True)
    assert report.paths == (out,)
    plain_int8(0.4)
    assert export_weights(weights, "onnx", out, precision="int8", calibrate=scenes, overwrite=True).paths == (
        out,
    )


def test_fp32_that_differs_leaves_no_file(weights, tmp_path, monkeypatch):
    skip_without("onnx")
    monkeypatch.setattr(run, "LARGEST_DIFFERENCE", 0.0)
    with pytest.raises(ExportError, match="nothing was written"):
        export_weights(weights, "onnx", tmp_path / "w.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [
        (64, None, (64, 64)),  # the checkpoint's size
        (64, 96, (96, 96)),  # images are resized to what is asked for
        (50, None, (50, 64)),  # and padded as always
        (50, 64, (50, 64)),
        (None, None, (None, 256)),  # tiles
        (None, 96, (None, 96)),
    ],
)
def test_size_of_input_and_of_images(own, asked, expected):
    checkpoint = run.Checkpoint(NARROW, {}, dataclasses.replace(PREPROCESS, image_size=own))
    preprocess, size = run.fixed_size(checkpoint, asked)
    assert (preprocess.image_size, size) == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"export_format": "tensorrt"}, "unknown format 'tensorrt'; known: onnx, openvino"),
        ({"precision": "fp16"}, "unknown precision 'fp16'; did you mean"),
        ({"precision": "bf16"}, "ONNX Runtime has no bf16"),
        ({"precision": "int8"}, "int8 needs --calibrate"),
        ({"image_size": 100}, "--image-size is 100; the network needs a multiple of 32, such as 128"),
        ({"image_size": 0}, "--image-size is 0"),
        ({"out": "w.xml"}, "ends with .onnx"),
        ({"calibrate": "absent"}, "absent does not exist"),
    ],
)
def test_wrong_arguments_are_refused(weights, tmp_path, changes, words):
    skip_without("onnx")
    arguments = {"export_format": "onnx", "out": "w.onnx", **changes}
    for name in ("out", "calibrate"):
        if name in arguments:
            arguments[name] = tmp_path / arguments[name]
    with pytest.raises(ConfigError, match=words):
        export_weights(weights, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(weights, tmp_path):
    skip_without("openvino")
    (tmp_path / "w.bin").write_text("mine")
    with pytest.raises(ConfigError, match=r"w\.bin is there already"):
        export_weights(weights, "openvino", tmp_path / "w.xml")
    assert (tmp_path / "w.bin").read_text() == "mine"


def test_folder_that_cannot_be_made_is_a_sentence(weights, tmp_path):
    skip_without("onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"w\.onnx cannot be written"):
        export_weights(weights, "onnx", tmp_path / "file" / "w.onnx")


def test_weights_that_are_missing_or_do_not_say_how_images_are_prepared(tmp_path):
    skip_without("onnx")
    with pytest.raises(ConfigError, match="do not exist"):
        export_weights(tmp_path / "absent.safetensors", "onnx")
    bare = write_weights(tmp_path / "bare.safetensors", preprocess=None)
    with pytest.raises(CheckpointError, match="samspl weights import"):
        export_weights(bare, "onnx")


def test_default_name_is_beside_the_weights(weights, tmp_path):
    assert default_path(weights, "onnx") == weights.with_name("best.onnx")
    assert default_path(weights.parent, "openvino", "int8") == weights.with_name("best.int8.xml")


def test_native_preprocessing_takes_frames_as_they_are(tmp_path):
    skip_without("onnx")
    native = write_weights(tmp_path / "w.safetensors", Preprocess(normalise="frame"))
    report = export_weights(native, "onnx", image_size=64)
    assert (report.facts.input_size, report.facts.preprocess.image_size) == (64, None)
