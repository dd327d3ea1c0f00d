"""Writing images, whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.errors import ImageError
from samspl.imaging import read_image, write_image

RNG = np.random.default_rng(3)
GREY8 = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)


def test_written_files_are_what_was_given_and_folders_are_made(tmp_path: Path) -> None:
    mask = np.array([[True, False]])
    write_image(tmp_path / "new" / "deep" / "m.png", mask)
    assert read_image(tmp_path / "new" / "deep" / "m.png").tolist() == [[255, 0]]
    prob = np.array([[0.25, 1e-6]], np.float32)
    write_image(tmp_path / "p.tiff", prob)
    np.testing.assert_array_equal(read_image(tmp_path / "p.tiff"), prob)
    colour = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    write_image(tmp_path / "c.png", colour)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "c.png")), colour)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("a.jpg", GREY8),
        ("a.png", GREY8.astype(np.float32)),
        ("a.png", GREY8[None]),
        ("a.png", GREY8[:0]),
        ("a.tif", GREY8.astype(np.int64)),
    ],
)
def test_what_cannot_be_written_is_refused_before_a_file_is_made(
    tmp_path: Path, name: str, array: np.ndarray
) -> None:
    with pytest.raises(ImageError, match=name):
        write_image(tmp_path / name, array)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_old_file_and_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a.png", GREY8)

    def fill_up(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(bytes(data)[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(ImageError, match=r"a\.png.*No space left"):
        write_image(tmp_path / "a.png", GREY8 // 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY8)


def test_crash_before_renaming_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", GREY8)

    def fail(self: Path, target: Path) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ImageError, match=r"a\.png.*Input/output error"):
        write_image(tmp_path / "a.png", GREY8 // 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY8)


def test_folder_in_the_way_of_a_file_is_an_image_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ImageError, match=r"a\.png.*cannot be written"):
        write_image(tmp_path / "a.png", GREY8)
    (tmp_path / "file").write_text("x")
    for name in ("b.png", "c/d/b.png"):
        with pytest.raises(
            ImageError, match=r"b\.png cannot be written: .*file is a file where a folder"
        ) as err:
            write_image(tmp_path / "file" / name, GREY8)
        assert "space" not in str(err.value)
