"""`samspl predict` a second time: what goes on, and what is never overwritten."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.imaging import read_image, write_image
from samspl.inference.detector import Detector
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW


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
    said = capsys.readouterr().err
    digest = r"\([0-9a-f]{16}\)"
    assert re.search(
        f"--weights was {re.escape(str(weights))} {digest}, now {re.escape(str(other))} {digest}", said
    )
    renamed = shutil.copy(weights, tmp_path / "renamed.safetensors")
    assert main([*words, str(renamed), str(frames)]) == 0  # the content decides
    capsys.readouterr()
    assert main([*words, str(weights), str(frames / "deeper")]) == 2
    assert "holds results of other images (a.png, which is not among these)" in capsys.readouterr().err
    write_image(frames / "a.png", np.zeros((9, 9), np.uint8))
    assert main([*words, str(weights), str(frames)]) == 2
    assert "a.png, which has changed since" in capsys.readouterr().err


def test_equal_file_of_another_folder_is_another_file(weights, tmp_path, capsys):
    image = np.random.default_rng(3).integers(0, 256, (32, 32), dtype=np.uint8)
    write_image(tmp_path / "day1" / "a.png", image)
    (tmp_path / "day2").mkdir()
    shutil.copy2(tmp_path / "day1" / "a.png", tmp_path / "day2" / "a.png")  # with the time of its last change
    words = ["predict", "--weights", str(weights), "--out", str(tmp_path / "o"), "-q"]
    assert main([*words, str(tmp_path / "day1")]) == 0
    assert main([*words, str(tmp_path / "day2")]) == 2
    said = capsys.readouterr().err
    first, second = (tmp_path / day / "a.png" for day in ("day1", "day2"))
    assert f"o holds results of {first}, which is another file than {second}; choose another --out" in said
    assert "changed" not in said
    (tmp_path / "link").symlink_to(tmp_path / "day1")
    assert main([*words, str(tmp_path / "link")]) == 0  # the same file by another way


def test_run_that_came_to_nothing_may_be_done_with_other_settings(weights, frames, tmp_path, monkeypatch):
    out = tmp_path / "o"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q", "--save"]
    with monkeypatch.context() as patch:
        detected(patch, stop_after=0)
        assert main([*words, "mask,json"]) == 130
    (out / "mask").mkdir()
    (out / "mask" / "a.png").write_text("half of what the run had begun to write")
    assert main([*words, "mask,json,csv", "--threshold", "0.3"]) == 0
    header = json.loads((out / "journal.jsonl").read_text().splitlines()[0])
    assert header["settings"]["--threshold"] == 0.3
    assert len(json.loads((out / "predictions.json").read_text())) == 2
    assert read_image(out / "mask" / "a.png").shape == (40, 60)


@pytest.mark.parametrize(
    ("first", "there"),
    [
        (["--save", "json"], "mask/a.png"),
        (["--save", "mask"], "predictions.json"),
        (["--overwrite"], "mask/a.png"),
    ],
)
def test_run_that_came_to_nothing_makes_nothing_of_the_users_its_own(
    weights, frames, tmp_path, capsys, monkeypatch, first, there
):
    out = tmp_path / "o"
    words = ["predict", str(frames), "--weights", str(weights), "--out", str(out), "-q"]
    (out / there).parent.mkdir(parents=True)
    (out / there).write_text("mine")
    with monkeypatch.context() as patch:
        detected(patch, stop_after=0)
        assert main([*words, *first]) == 130
    capsys.readouterr()
    assert main([*words, "--save", "mask,json", "--threshold", "0.3"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (out / there).read_text() == "mine"


def test_file_that_vanishes_during_the_run_does_not_stop_the_others(weights, tmp_path, capsys, monkeypatch):
    folder, count = tmp_path / "camera", 50
    for number in range(count):
        write_image(folder / f"{number:02d}.png", np.full((32, 32), number, np.uint8))
    detect_many = Detector.detect_many

    def rotate(self, images, names):  # the camera deletes what is read already and what is not yet
        if Path(names[0]).name == "00.png":
            (folder / "00.png").unlink()
            (folder / "49.png").unlink()
        return detect_many(self, images, names)

    monkeypatch.setattr(Detector, "detect_many", rotate)
    words = ["predict", str(folder), "--weights", str(weights), "--out", str(tmp_path / "o"), "-q"]
    assert main([*words, "--save", "json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "49.png was found but cannot be read now: No such file or directory" in line
    content = json.loads((tmp_path / "o" / "predictions.json").read_text())
    assert [entry["file"] for entry in content] == [f"{number:02d}.png" for number in range(count - 1)]


def test_file_in_the_place_of_the_journal_stays(weights, frames, tmp_path, capsys):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "journal.jsonl").write_text('{"mine": 1}\n')
    words = ["predict", str(frames), "--weights", str(weights), "-q"]
    words += ["--out", str(tmp_path / "o"), "--overwrite"]
    assert main(words) == 2
    assert "is no journal of samspl predict" in capsys.readouterr().err
    assert (tmp_path / "o" / "journal.jsonl").read_text() == '{"mine": 1}\n'


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
