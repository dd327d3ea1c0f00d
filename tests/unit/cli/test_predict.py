"""`samspl predict`: sources, results, and what is never overwritten."""

import csv
import json

import numpy as np
import pytest
import torch

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.imaging import read_image, write_image
from samspl.inference.detector import Detector
from samspl.models.network import SAMSPL
from samspl.models.variants import VARIANTS
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(path, Checkpoint(NARROW, state, Preprocess((110.0,), (40.0,))))
    return path


@pytest.fixture
def frames(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "frames"
    write_image(folder / "a.png", rng.integers(0, 256, (40, 60), dtype=np.uint8))
    write_image(folder / "b.tiff", rng.integers(0, 60000, (33, 35), dtype=np.uint16))
    write_image(folder / "deeper" / "c.png", rng.integers(0, 256, (32, 32), dtype=np.uint8))
    (folder / "notes.txt").write_text("no image")
    return folder


def test_folder_gives_every_kind_of_result(weights, frames, tmp_path, capsys):
    out = tmp_path / "out"
    kinds = "mask,overlay,prob,json,csv,coco"
    words = [
        "predict",
        str(frames),
        "--weights",
        str(weights),
        "--out",
        str(out),
        "--recursive",
        "--save",
        kinds,
        "-q",
    ]
    assert main(words) == 0
    summary = capsys.readouterr().out
    names = ["a", "b", "deeper/c"]
    for name in names:
        assert read_image(out / "mask" / f"{name}.png").dtype == np.uint8
        assert read_image(out / "prob" / f"{name}.tiff").dtype == np.float32
        assert (out / "overlay" / f"{name}.png").is_file()
    content = json.loads((out / "predictions.json").read_text())
    assert [entry["file"] for entry in content] == ["a.png", "b.tiff", "deeper/c.png"]
    count = sum(len(entry["targets"]) for entry in content)
    assert f"{count} targets in 3 images" in summary
    with (out / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == count
    assert len(json.loads((out / "coco.json").read_text())["annotations"]) == count
    result = Detector(weights).detect(frames / "a.png")
    assert np.array_equal(read_image(out / "prob" / "a.tiff"), result.prob)


def test_folder_without_recursion_and_patterns(weights, frames, tmp_path):
    words = ["predict", "--weights", str(weights), "--save", "mask", "-q"]
    assert main([*words, str(frames), "--out", str(tmp_path / "1")]) == 0
    assert sorted(p.name for p in (tmp_path / "1" / "mask").rglob("*.png")) == ["a.png", "b.png"]
    assert main([*words, str(frames / "*.png"), "--out", str(tmp_path / "2")]) == 0
    assert [p.name for p in (tmp_path / "2" / "mask").iterdir()] == ["a.png"]


def test_one_bad_file_is_reported_at_the_end_and_stops_no_other(weights, frames, tmp_path, capsys):
    (frames / "0_broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(tmp_path / "o"), "-q"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "0_broken.png" in captured.err
    assert "2 images" in captured.out
    assert "(1 unusable)" in captured.out


def test_nothing_is_overwritten_without_being_told(weights, frames, tmp_path, capsys):
    words = [
        "predict",
        str(frames),
        "--weights",
        str(weights),
        "--out",
        str(tmp_path / "o"),
        "-q",
        "--save",
        "mask",
    ]
    assert main(words) == 0
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_results_never_replace_the_images(weights, tmp_path, capsys):
    write_image(tmp_path / "mask" / "a.png", np.zeros((32, 32), np.uint8))
    words = [
        "predict",
        str(tmp_path / "mask"),
        "--weights",
        str(weights),
        "--out",
        str(tmp_path),
        "--overwrite",
    ]
    assert main(words) == 2
    assert "is one of the images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        (["--save", "mask,xml"], 2, "not 'xml'"),
        (["--save", ""], 2, "--save"),
        (["--threshold", "1.5"], 2, "between 0 and 1"),
        (["--min-area", "0"], 2, "at least 1 pixel"),
        (["--weights", "absent.safetensors"], 2, "absent.safetensors do not exist"),
        (["--dataset", "nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_values_are_a_sentence(weights, frames, tmp_path, capsys, changes, status, sentence):
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(tmp_path / "o"), "-q", *changes]
    assert main(words) == status
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_missing_and_empty_sources_are_refused(weights, frames, tmp_path, capsys):
    words = ["--weights", str(weights), "--out", str(tmp_path / "o")]
    assert main(["predict", str(tmp_path / "absent"), *words]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(tmp_path / "empty"), *words]) == 2
    assert "holds no image" in capsys.readouterr().err
    assert main(["predict", str(frames / "*.bmp"), *words]) == 2
    assert "no image matches" in capsys.readouterr().err


def test_two_images_with_the_same_result_name_are_refused(weights, frames, tmp_path, capsys):
    write_image(frames / "a.tiff", np.zeros((32, 32), np.uint8))
    assert main(["predict", str(frames), "--weights", str(weights), "--out", str(tmp_path / "o")]) == 2
    assert "same results" in capsys.readouterr().err


def test_weights_without_preprocessing_take_that_of_a_data_set(frames, tmp_path, capsys):
    torch.save(fill(SAMSPL(VARIANTS["spl_t"])).state_dict(), tmp_path / "authors.pt")
    words = [
        "predict",
        str(frames / "a.png"),
        "--weights",
        str(tmp_path / "authors.pt"),
        "--save",
        "prob",
        "-q",
    ]
    assert main([*words, "--out", str(tmp_path / "1")]) == 1
    assert "--dataset" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "2"), "--dataset", "NUDT-SIRST"]) == 0
    assert read_image(tmp_path / "2" / "prob" / "a.tiff").shape == (40, 60)


def test_sequences_with_the_same_frame_names_keep_their_folders(weights, tmp_path):
    for folder in ("seq1", "seq2"):
        write_image(tmp_path / folder / "0001.png", np.zeros((32, 32), np.uint8))
    words = ["--weights", str(weights), "--save", "mask", "-q"]
    expected = ["mask/seq1/0001.png", "mask/seq2/0001.png"]
    for number, sources in enumerate(
        ([str(tmp_path / "seq*" / "*.png")], [str(tmp_path / f / "0001.png") for f in ("seq1", "seq2")])
    ):
        out = tmp_path / f"out{number}"
        assert main(["predict", *sources, *words, "--out", str(out)]) == 0
        assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png")) == expected


def test_interrupted_run_keeps_what_it_found(weights, frames, tmp_path, monkeypatch):
    detect, done = Detector.detect, []

    def interrupted(self, source, name=None):
        if done:
            raise KeyboardInterrupt
        done.append(name)
        return detect(self, source, name)

    monkeypatch.setattr(Detector, "detect", interrupted)
    out = tmp_path / "out"
    assert main(["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]) == 130
    assert [entry["file"] for entry in json.loads((out / "predictions.json").read_text())] == done


@pytest.mark.parametrize("value", [1e38, 3e36])
def test_absurd_value_spoils_one_image_only(weights, frames, tmp_path, capsys, value):
    bad = np.random.default_rng(1).random((64, 64)).astype(np.float32)
    bad[3, 3] = value
    write_image(frames / "0_hot.tiff", bad)
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(tmp_path / "o"), "-q"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert str(frames / "0_hot.tiff") in captured.err
    assert "2 images" in captured.out


def test_weights_that_are_not_finite_are_named_as_a_cause(frames, tmp_path, capsys):
    state = fill(SAMSPL(NARROW)).state_dict()
    state["heads.2.bias"] = torch.full_like(state["heads.2.bias"], float("nan"))
    write_checkpoint(tmp_path / "nan.safetensors", Checkpoint(NARROW, state, Preprocess()))
    words = ["predict", str(frames / "a.png"), "--weights", str(tmp_path / "nan.safetensors"), "-q"]
    assert main([*words, "--out", str(tmp_path / "o")]) == 1
    assert "and the weights" in capsys.readouterr().err
