"""`samspl predict`: sources, results, and what cannot be used."""

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.cli.predict import _missing_preprocess
from samspl.data.specs import get_spec
from samspl.imaging import read_image, write_image
from samspl.inference.detector import Detector
from samspl.models.network import SAMSPL
from samspl.models.variants import VARIANTS
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW


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


def test_folder_that_cannot_be_searched_is_reported_at_the_end(
    weights, frames, tmp_path, capsys, monkeypatch
):
    scandir = os.scandir

    def scan(path):  # tests may run as root, whom no permission binds
        if Path(path) == frames / "deeper":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    words = ["predict", str(frames), "--recursive", "--weights", str(weights), "--out", str(tmp_path / "o")]
    for summary in ("in 2 images", "all was done before"):
        assert main([*words, "-q"]) == 1
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert f"folder {frames / 'deeper'} cannot be searched: Permission denied" in line
        assert summary in said.out


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


def test_results_do_not_go_where_images_are_searched(weights, frames, tmp_path, capsys):
    words = ["predict", "--weights", str(weights), "-q", "--save", "mask", "--overwrite"]
    refused = [
        ([str(frames)], frames),
        ([str(frames / "a.png")], frames),
        ([str(frames / "*.png")], frames),
        ([str(frames), "--recursive"], frames / "results"),
        ([str(frames / "**" / "*.png")], frames / "results"),
        ([str(frames / "*" / "*.png")], frames / "results"),
    ]
    for sources, out in refused:
        assert main([*words, *sources, "--out", str(out)]) == 2, (sources, out)
        assert "looks for images; choose another folder for results" in capsys.readouterr().err
    assert sorted(p.name for p in frames.rglob("*")) == ["a.png", "b.tiff", "c.png", "deeper", "notes.txt"]
    assert main([*words, str(frames), "--out", str(frames / "results")]) == 0  # not searched again
    assert main([*words, str(frames / "deep*" / "*.png"), "--out", str(frames / "results2")]) == 0


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        (["--save", "mask,xml"], 2, "--save holds 'xml'; expected any of mask,"),
        (["--save", ""], 2, "--save is empty; expected any of"),
        (["--threshold", "1.5"], 2, "between 0 and 1"),
        (["--min-area", "0"], 2, "at least 1 pixel"),
        (["--tile", "100"], 2, "--tile is '100'; expected auto or a multiple of 32"),
        (["--tile", "big"], 2, "--tile is 'big'"),
        (["--backend", "caffe"], 2, "--backend is 'caffe'; expected one of torch, onnx, openvino"),
        (["--engine", "spark"], 2, "--engine is 'spark'; expected one of local, ray"),
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
    settings = json.loads((tmp_path / "2" / "journal.jsonl").read_text().splitlines()[0])["settings"]
    assert settings["preprocessing"] == get_spec("NUDT-SIRST").preprocess().to_dict()


def test_preprocessing_of_the_weights_goes_before_that_of_a_data_set(weights, frames, tmp_path, capsys):
    words = ["predict", str(frames / "a.png"), "--weights", str(weights), "--save", "prob"]
    assert main([*words, "--out", str(tmp_path / "own")]) == 0
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "named"), "--dataset", "NUDT-SIRST"]) == 0
    assert "preprocessing is the file's own, --dataset NUDT-SIRST is not needed" in capsys.readouterr().err
    own, named = (read_image(tmp_path / out / "prob" / "a.tiff") for out in ("own", "named"))
    assert np.array_equal(own, named)
    assert main([*words, "--out", str(tmp_path / "own"), "--dataset", "NUDT-SIRST"]) == 0  # same settings


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_exported_file_is_not_read_twice_for_the_data_set_it_does_not_need(tmp_path, suffix):
    (tmp_path / f"w{suffix}").write_bytes(b"opened by its own runtime")
    assert _missing_preprocess(str(tmp_path / f"w{suffix}"), "NUDT-SIRST") is None


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


def test_image_with_nan_is_reported_and_stops_no_other(weights, frames, tmp_path, capsys):
    bad = np.ones((40, 40), np.float32)
    bad[5, 7] = np.nan
    write_image(frames / "0_nan.tiff", bad)
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(tmp_path / "o"), "-q"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert f"{frames / '0_nan.tiff'}: " in captured.err
    assert "NaN" in captured.err
    assert "in 2 images" in captured.out
    assert main(words) == 1  # a failure is not forgotten


def test_constant_image_has_no_targets_and_a_photo_in_colour_works(weights, tmp_path, capsys):
    from PIL import Image

    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "constant.tiff", np.full((50, 40), 1234, np.uint16))
    photo = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "in" / "photo.jpg")
    out = tmp_path / "o"
    assert main(["predict", str(tmp_path / "in"), "--weights", str(weights), "--out", str(out), "-q"]) == 0
    constant, photo = json.loads((out / "predictions.json").read_text())
    assert constant["targets"] == []
    assert photo["size"] == [64, 48]
    assert len(photo["targets"]) > 0


def test_every_page_of_a_tiff_is_a_frame_of_its_own_size(weights, tmp_path, capsys):
    rng = np.random.default_rng(1)
    shapes = [(40, 60), (64, 33), (32, 32)]
    pages = [rng.integers(0, 60000, shape, dtype=np.uint16) for shape in shapes]
    (tmp_path / "in").mkdir()
    with tifffile.TiffWriter(tmp_path / "in" / "stack.tiff") as tiff:
        for page in pages:
            tiff.write(page, photometric="minisblack", metadata=None)
    out = tmp_path / "o"
    words = ["predict", str(tmp_path / "in"), "--weights", str(weights), "--out", str(out), "-q"]
    assert main([*words, "--save", "mask,overlay,prob,json,csv,coco"]) == 0
    assert "in 3 images" in capsys.readouterr().out
    content = json.loads((out / "predictions.json").read_text())
    for number, (page, entry) in enumerate(zip(pages, content, strict=True)):
        name = f"stack_{number:04d}"
        assert (entry["file"], entry["source"], entry["frame"]) == (f"{name}.tiff", "stack.tiff", number)
        assert entry["size"] == [page.shape[1], page.shape[0]]
        assert (out / "overlay" / f"{name}.png").is_file()
        expected = Detector(weights)(page)
        assert np.array_equal(read_image(out / "prob" / f"{name}.tiff"), expected.prob)
        assert np.array_equal(read_image(out / "mask" / f"{name}.png") > 0, expected.mask)
        assert entry["targets"] == expected.to_dict()["targets"]


def test_coco_file_is_read_by_pycocotools_and_holds_the_masks(weights, frames, tmp_path):
    from pycocotools.coco import COCO

    out = tmp_path / "o"
    words = ["predict", str(frames), "--recursive", "--weights", str(weights), "--out", str(out), "-q"]
    assert main([*words, "--save", "coco,mask"]) == 0
    coco = COCO(str(out / "coco.json"))
    assert [image["file_name"] for image in coco.imgs.values()] == ["a.png", "b.tiff", "deeper/c.png"]
    for image_id, image in coco.imgs.items():
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert annotations
        whole = sum(coco.annToMask(annotation) for annotation in annotations)
        mask = read_image(out / "mask" / Path(image["file_name"]).with_suffix(".png")) > 0
        assert np.array_equal(whole, mask)  # also that none of them overlap
        assert [a["area"] for a in annotations] == [int(coco.annToMask(a).sum()) for a in annotations]
    results = coco.loadRes(coco.dataset["annotations"])
    assert len(results.anns) == len(coco.anns)
