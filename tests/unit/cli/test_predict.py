"""`samspl predict`: sources, results, and what is never overwritten."""

import csv
import dataclasses
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
    checkpoint = Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), Preprocess((110.0,), (40.0,)))
    write_checkpoint(path, checkpoint)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    # a threshold at which a network of made-up weights finds something
    threshold = float(np.quantile(Detector(path)(noise).prob, 0.9))
    write_checkpoint(path, dataclasses.replace(checkpoint, threshold=threshold))
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


def snapshot(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


def detected(monkeypatch, stop_after=None):
    """Names of what the network is asked for, which may be interrupted after some."""
    asked, detect_many = [], Detector.detect_many

    def counted(self, images, names):
        if stop_after is not None and len(asked) >= stop_after:
            raise KeyboardInterrupt
        asked.extend(Path(name).name for name in names)
        return detect_many(self, images, names)

    monkeypatch.setattr(Detector, "detect_many", counted)
    return asked


def test_run_that_is_done_is_not_done_again_and_nothing_changes(
    weights, frames, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "o"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]
    assert main(words) == 0
    before, asked = snapshot(out), detected(monkeypatch)
    capsys.readouterr()
    assert main(words) == 0
    assert "done before" in capsys.readouterr().out
    assert snapshot(out) == before
    assert asked == []
    assert main([*words, "--overwrite"]) == 0
    assert asked == ["a.png", "b.tiff"]


def test_frames_that_came_later_are_added(weights, frames, tmp_path, monkeypatch):
    out = tmp_path / "o"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]
    assert main(words) == 0
    write_image(frames / "aa.png", np.full((32, 32), 9, np.uint8))
    asked = detected(monkeypatch)
    assert main(words) == 0
    assert asked == ["aa.png"]
    content = json.loads((out / "predictions.json").read_text())
    assert [entry["file"] for entry in content] == ["a.png", "aa.png", "b.tiff"]


def test_result_that_was_deleted_is_made_again(weights, frames, tmp_path, monkeypatch):
    out = tmp_path / "o"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]
    assert main(words) == 0
    before = snapshot(out)
    (out / "mask" / "b.png").unlink()
    asked = detected(monkeypatch)
    assert main(words) == 0
    assert asked == ["b.tiff"]
    for path in (out / "mask/b.png", out / "predictions.json", out / "predictions.csv"):
        assert path.read_bytes() == before[path][0]


@pytest.mark.parametrize(
    "there", ["mask/a.png", "overlay/b.png", "prob/a.tiff", "predictions.json", "coco.json"]
)
def test_what_the_user_has_there_is_not_overwritten_without_being_told(
    weights, frames, tmp_path, capsys, there
):
    out = tmp_path / "o"
    (out / there).parent.mkdir(parents=True)
    (out / there).write_text("mine")
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]
    words += ["--save", "mask,overlay,prob,json,coco"]
    assert main(words) == 2
    assert f"{there} is there already; choose another --out, or add --overwrite" in capsys.readouterr().err
    assert [path for path in out.rglob("*") if path.is_file()] == [out / there]
    assert (out / there).read_text() == "mine"
    assert main([*words, "--overwrite"]) == 0
    assert (out / there).read_bytes() != b"mine"


def test_file_that_the_user_puts_into_results_of_a_broken_off_run_stays(
    weights, frames, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "o"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]
    with monkeypatch.context() as patch:
        detected(patch, stop_after=1)
        assert main(words) == 130
    write_image(frames / "c.png", np.zeros((32, 32), np.uint8))
    (out / "mask" / "c.png").write_text("mine")
    capsys.readouterr()
    assert main(words) == 2
    assert "mask/c.png is there already" in capsys.readouterr().err
    assert (out / "mask" / "c.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["--threshold", "0.6"], "--threshold was the default, now 0.6"),
        (["--min-area", "3"], "--min-area was 1, now 3"),
        (["--save", "mask"], "--save was csv,geojson,json,mask,overlay, now mask"),
        (["--tile", "64"], "--tile was auto, now 64"),
        (["--dataset", "NUDT-SIRST"], "preprocessing was the default"),
    ],
)
def test_other_settings_do_not_go_on_with_a_run(weights, frames, tmp_path, capsys, changes, sentence):
    out = tmp_path / "o"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]
    assert main(words) == 0
    before = snapshot(out)
    assert main([*words, *changes]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "--overwrite" in said
    assert snapshot(out) == before
    assert main([*words, *changes, "--overwrite"]) == 0


def test_other_weights_or_other_images_do_not_go_on_with_a_run(weights, frames, tmp_path, capsys):
    out = tmp_path / "o"
    words = ["predict", "--out", str(out), "-q", "--weights"]
    assert main([*words, str(weights), str(frames)]) == 0
    other = tmp_path / "other.safetensors"
    state = {name: value + 0.25 for name, value in fill(SAMSPL(NARROW)).state_dict().items()}
    write_checkpoint(other, Checkpoint(NARROW, state, Preprocess()))
    assert main([*words, str(other), str(frames)]) == 2
    assert "--weights was" in capsys.readouterr().err
    assert main([*words, str(weights), str(frames / "deeper")]) == 2
    assert "holds results of other images (a.png, which is not among these)" in capsys.readouterr().err
    write_image(frames / "a.png", np.zeros((9, 9), np.uint8))
    assert main([*words, str(weights), str(frames)]) == 2
    assert "a.png, which has changed since" in capsys.readouterr().err


def test_file_in_the_place_of_the_journal_stays(weights, frames, tmp_path, capsys):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "journal.jsonl").write_text('{"mine": 1}\n')
    words = [
        "predict",
        str(frames),
        "--weights",
        str(weights),
        "--out",
        str(tmp_path / "o"),
        "-q",
        "--overwrite",
    ]
    assert main(words) == 2
    assert "is no journal of samspl predict" in capsys.readouterr().err
    assert (tmp_path / "o" / "journal.jsonl").read_text() == '{"mine": 1}\n'


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
        (["--save", "mask,xml"], 2, "not 'xml'"),
        (["--save", ""], 2, "--save"),
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


@pytest.mark.parametrize("extra", [[], ["--overwrite"]])
def test_interrupted_run_keeps_what_it_found_and_goes_on(weights, frames, tmp_path, monkeypatch, extra):
    out, whole = tmp_path / "out", tmp_path / "whole"
    kinds = "mask,prob,json,csv,coco"
    words = ["predict", str(frames), "--recursive", "--weights", str(weights), "--save", kinds, "-q", *extra]
    assert main([*words, "--out", str(whole)]) == 0
    with monkeypatch.context() as patch:
        asked = detected(patch, stop_after=1)
        assert main([*words, "--out", str(out)]) == 130
    assert (
        [entry["file"] for entry in json.loads((out / "predictions.json").read_text())] == asked == ["a.png"]
    )
    asked = detected(monkeypatch)
    assert main([*words, "--out", str(out)]) == 0
    assert asked == ["b.tiff", "c.png"]
    for path in whole.rglob("*"):
        if path.is_file() and path.name != "journal.jsonl":
            assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_line_that_a_crash_has_cut_off_counts_as_not_written(weights, frames, tmp_path, monkeypatch):
    out = tmp_path / "out"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]
    assert main(words) == 0
    journal = out / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = next(i for i, line in enumerate(lines) if b'"done"' in line and b"b.tiff" in line)
    journal.write_bytes(b"".join(lines[:last]) + lines[last][:20])
    asked = detected(monkeypatch)
    assert main(words) == 0
    assert asked == ["b.tiff"]
    content = json.loads((out / "predictions.json").read_text())
    assert [entry["file"] for entry in content] == ["a.png", "b.tiff"]


@pytest.mark.parametrize("room", [0, 1, 3, 5])
def test_full_disk_is_one_sentence_and_what_is_done_is_kept(
    weights, frames, tmp_path, capsys, monkeypatch, room
):
    write, written = Path.write_bytes, []

    def fill_up(self, data):
        if len(written) >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(self)
        return write(self, data)

    out = tmp_path / "out"
    words = ["predict", str(frames), "--recursive", "--weights", str(weights), "--out", str(out), "-q"]
    words += ["--save", "mask,prob,json"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_up)
        assert main(words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "cannot be written: No space left on device; check space" in lines[0]
    done = [json.loads(line)["of"] for line in (out / "journal.jsonl").open() if "done" in json.loads(line)]
    asked = detected(monkeypatch)
    assert main(words) == 0
    assert asked == [Path(name).name for name in ("a.png", "b.tiff", "deeper/c.png") if name not in done]
    assert len(done) >= room // 4  # writing is done by two threads, so that two frames may be half written
    content = json.loads((out / "predictions.json").read_text())
    assert [entry["file"] for entry in content] == ["a.png", "b.tiff", "deeper/c.png"]


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


def test_bad_image_may_be_repaired_or_removed_before_the_run_goes_on(weights, frames, tmp_path, capsys):
    for name in ("0.png", "1.png"):
        (frames / name).write_bytes(b"\x89PNG\r\n\x1a\n broken")
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(tmp_path / "o"), "-q"]
    assert main(words) == 1
    write_image(frames / "0.png", np.full((40, 40), 7, np.uint8))
    (frames / "1.png").unlink()
    assert main(words) == 0
    assert "in 3 images" in capsys.readouterr().out
    content = json.loads((tmp_path / "o" / "predictions.json").read_text())
    assert [entry["file"] for entry in content] == ["0.png", "a.png", "b.tiff"]
    write_image(frames / "0.png", np.full((40, 40), 8, np.uint8))  # now there are results of the former
    assert main(words) == 2
    assert "0.png, which has changed since" in capsys.readouterr().err


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


def test_results_are_the_same_whatever_the_order_they_were_found_in(weights, frames, tmp_path, monkeypatch):
    out = tmp_path / "o"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q", "--save", "json"]
    write_image(frames / "a.png", np.random.default_rng(5).integers(0, 256, (64, 64), dtype=np.uint8))
    (frames / "a.png").rename(frames / "z.png")
    assert main(words) == 0
    write_image(frames / "a.png", np.random.default_rng(6).integers(0, 256, (64, 64), dtype=np.uint8))
    assert main(words) == 0
    assert main([*words[:-4], str(tmp_path / "whole"), *words[-3:]]) == 0
    assert (out / "predictions.json").read_bytes() == (tmp_path / "whole" / "predictions.json").read_bytes()
