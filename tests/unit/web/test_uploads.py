"""The folder where uploads lie."""

import os
import time
from pathlib import Path

import pytest

from samspl.web.uploads import STRAY_S, UploadFolder, delete_upload


@pytest.fixture
def uploads(tmp_path):
    return UploadFolder(tmp_path / "uploads")


def put(uploads, content=b"12345", name="a.png"):
    path = uploads.new() / "hash" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_only_files_of_an_upload_are_held(uploads):
    path = put(uploads)
    root = uploads.path
    assert uploads.holds(str(path))
    wrong = [
        root,
        path.parent,
        path.parent.parent,
        root / "gone",
        root / "a" / "gone",
        path / "deeper",
        "a\0b",
    ]
    wrong += [f"{root}/token/hash/../../../x", os.path.relpath(path), "", "/etc/passwd"]
    for one in wrong:
        assert not uploads.holds(str(one)), one
    delete_upload(path)
    assert uploads.holds(str(path))  # that it was read already is for the reader to say
    assert list(root.iterdir()) == []


def test_deleting_never_takes_the_folder_of_all_uploads(uploads):
    put(uploads)
    for path in uploads.path.iterdir():
        delete_upload(next(path.rglob("*.png")))
    delete_upload(uploads.path / "gone" / "hash" / "a.png")
    assert uploads.path.is_dir()
    uploads.path.rmdir()
    assert uploads.new().parent.is_dir()  # and if somebody else did, it is made again


def test_files_that_vanish_while_they_are_counted_are_no_error(uploads, monkeypatch):
    first, second = put(uploads), put(uploads, b"123")
    assert uploads.waiting_bytes() == 8
    stat = Path.stat

    def vanished(path, **options):
        if path == first:
            raise FileNotFoundError(path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", vanished)
    assert uploads.waiting_bytes() == 3
    monkeypatch.undo()
    delete_upload(first)
    delete_upload(second)
    assert uploads.waiting_bytes() == 0
    uploads.path.rmdir()
    assert uploads.waiting_bytes() == 0
    uploads.sweep()


def test_what_was_left_lying_is_swept(uploads):
    stray, fresh = put(uploads), put(uploads)
    long_ago = time.time() - STRAY_S - 10
    os.utime(stray.parent.parent, (long_ago, long_ago))
    uploads.sweep()
    assert [stray.exists(), fresh.exists()] == [False, True]
