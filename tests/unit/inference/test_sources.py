"""Files of paths, folders and patterns, and the frames in them."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from samspl.errors import ConfigError
from samspl.imaging import write_image
from samspl.inference.sources import BadFrame, Frame, SourceFile, find_files, is_searched, read_frames

SMALL = np.arange(12, dtype=np.uint8).reshape(3, 4)


def names(paths, recursive=False):
    return [file.name for file in find_files([str(path) for path in paths], recursive)]


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.png",
        "a.TIFF",
        "c.npy",
        "deep/d.bmp",
        "deep/clip.mp4",
        ".hidden.png",
        ".dir/x.png",
        "notes.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_folder_is_searched_for_known_suffixes_and_hidden_files_are_left_out(folder):
    assert names([folder]) == ["a.TIFF", "b.png", "c.npy"]
    assert names([folder], recursive=True) == ["a.TIFF", "b.png", "c.npy", "deep/clip.mp4", "deep/d.bmp"]


def test_patterns_and_files_and_each_file_once(folder):
    assert names([folder / "*.png", folder / "b.png", folder / "deep"]) == ["b.png", "clip.mp4", "d.bmp"]
    assert names([folder / "d*" / "*"]) == ["deep/clip.mp4", "deep/d.bmp"]
    assert names([folder / "**" / "*.bmp"]) == ["deep/d.bmp"]
    assert names([folder / "notes.txt"]) == ["notes.txt"]  # named itself: its content decides


def test_order_is_that_of_paths_by_their_parts(tmp_path):
    for name in ("b/x.png", "b.png", "b-1/x.png", "a/c/x.png", "a/b.png", "a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    expected = ["a/b.png", "a/c/x.png", "a.png", "b/x.png", "b-1/x.png", "b.png"]
    assert names([tmp_path], recursive=True) == expected


def refuse_to_list(monkeypatch, *refused):
    """Tests may run as root, whom no permission binds."""
    scandir = os.scandir

    def scan(path):
        if Path(path) in refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)


def test_folder_that_cannot_be_searched_is_told_unless_it_is_hidden(folder, monkeypatch):
    (folder / "more").mkdir()
    (folder / "more" / "e.png").write_bytes(b"x")
    refuse_to_list(monkeypatch, folder / "deep", folder / ".dir")
    told = []
    files = find_files([str(folder)], True, told.append)
    assert [file.name for file in files] == ["a.TIFF", "b.png", "c.npy", "more/e.png"]
    assert told == [f"folder {folder / 'deep'} cannot be searched: Permission denied; check its permission"]


def test_given_folder_that_cannot_be_searched_is_not_called_empty(folder, monkeypatch):
    refuse_to_list(monkeypatch, folder / "deep")
    with pytest.raises(PermissionError):
        find_files([str(folder / "deep")], True)


def test_file_whose_folder_may_be_listed_but_not_entered_is_told_when_it_is_read(folder, monkeypatch):
    is_file = Path.is_file

    def check(path):
        if path.name == "d.bmp":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", check)
    assert "deep/d.bmp" in names([folder], recursive=True)


def test_file_whose_name_looks_like_a_pattern_is_the_file(tmp_path):
    (tmp_path / "a[1].png").write_bytes(b"x")
    assert names([tmp_path / "a[1].png"]) == ["a[1].png"]


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ("a.png", "a.tiff", "a.png and .*a.tiff would have the same results"),
        (
            "clip.mp4",
            "clip_000007.png",
            "clip_000007.png and frame 7 of .*clip.mp4 would have the same results",
        ),
        ("clip.avi", "clip.mkv", "would have the same results"),
    ],
)
def test_two_files_with_the_same_results_are_refused(tmp_path, first, second, sentence):
    for name in (first, second):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=sentence):
        find_files([str(tmp_path)])


def test_page_with_the_name_of_another_file_is_refused_only_where_there_are_pages(tmp_path):
    write_image(tmp_path / "scan.tiff", SMALL)
    write_image(tmp_path / "scan_0001.tiff", SMALL)
    assert names([tmp_path]) == ["scan.tiff", "scan_0001.tiff"]
    with tifffile.TiffWriter(tmp_path / "scan.tiff") as tiff:
        for _ in range(2):
            tiff.write(SMALL, photometric="minisblack", metadata=None)
    with pytest.raises(ConfigError, match=r"scan_0001.tiff and frame 1 of .*scan.tiff"):
        find_files([str(tmp_path)])


def test_searched_folders_are_told_from_others(tmp_path):
    folder = tmp_path / "in"
    (folder / "seq1").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"x")

    def searched(given, out, recursive=False):
        return is_searched(str(folder / given), recursive, (tmp_path / out).resolve())

    assert searched("", "in")
    assert searched("", "in/out", recursive=True)
    assert not searched("", "in/out")
    assert not searched("", "other", recursive=True)
    assert not searched("", "in2", recursive=True)
    assert searched("a.png", "in")
    assert not searched("a.png", "in/out")
    assert searched("seq*/*.png", "in/seq1")
    assert not searched("seq*/*.png", "in/out")
    assert searched("*/*.png", "in/out")
    assert not searched("*.png", "in/out")
    assert searched("**/*.png", "in/out/deeper")


def test_frames_of_a_stack_are_numbered_and_those_not_wanted_are_not_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "s.tif") as tiff:
        for number in range(3):
            tiff.write(SMALL + number, photometric="minisblack", metadata=None)
    file = SourceFile(tmp_path / "s.tif", "day/s.tif")
    frames = list(read_frames(file))
    assert [f.name for f in frames] == ["day/s_0000.tif", "day/s_0001.tif", "day/s_0002.tif"]
    assert [(f.index, f.count, int(f.image[0, 0])) for f in frames] == [(0, 3, 0), (1, 3, 1), (2, 3, 2)]
    assert [f.index for f in read_frames(file, {"day/s_0001.tif"})] == [0, 2]
    assert len(file.name_of(123456)) == len("day/s_123456.tif")


def test_file_of_one_frame_keeps_its_name(tmp_path):
    write_image(tmp_path / "a.tiff", SMALL)
    file = SourceFile(tmp_path / "a.tiff", "x/a.tiff")
    (frame,) = read_frames(file)
    assert isinstance(frame, Frame)
    assert (frame.name, frame.index, frame.count) == ("x/a.tiff", None, 1)
    assert list(read_frames(file, {"x/a.tiff"})) == []


def test_file_that_cannot_be_read_is_told_and_nothing_raised(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (bad,) = read_frames(SourceFile(tmp_path / "a.png", "a.png"))
    assert isinstance(bad, BadFrame)
    assert str(tmp_path / "a.png") in bad.sentence


def test_suffix_of_a_video_decides(tmp_path):
    assert SourceFile(Path("a.MP4"), "a.MP4").is_video
    assert not SourceFile(Path("a.png"), "a.png").is_video
    assert SourceFile(Path("a.mkv"), "b/a.mkv").name_of(12) == "b/a_000012.mkv"
