"""TIFF files of several pages."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from samspl.errors import ImageError
from samspl.imaging import read_image, read_pages, write_image

RNG = np.random.default_rng(5)
PAGES = [
    RNG.integers(0, 65536, (6, 5), dtype=np.uint16),
    RNG.integers(0, 256, (9, 4), dtype=np.uint8),
    RNG.random((3, 8)).astype(np.float32),
]


def write_stack(path: Path, pages: list[np.ndarray]) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for page in pages:
            tiff.write(page, photometric="minisblack", metadata=None)


def test_pages_of_different_size_and_type_come_one_by_one(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.tiff", PAGES)
    read = list(read_pages(tmp_path / "a.tiff"))
    assert [(page.index, page.count) for page in read] == [(0, 3), (1, 3), (2, 3)]
    for page, expected in zip(read, PAGES, strict=True):
        assert isinstance(page.image, np.ndarray)
        assert page.image.dtype == expected.dtype
        np.testing.assert_array_equal(page.image, expected)


def test_pages_are_read_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stack(tmp_path / "a.tiff", PAGES)
    read: list[int] = []
    decode = tifffile.TiffPage.asarray

    def counted(page: tifffile.TiffPage, *args: object, **kwargs: object) -> np.ndarray:
        read.append(page.index)
        return decode(page, *args, **kwargs)

    monkeypatch.setattr(tifffile.TiffPage, "asarray", counted)
    pages = read_pages(tmp_path / "a.tiff", skip={1})
    assert read == []
    next(pages)
    assert read == [0]
    assert [page.index for page in pages] == [2]
    assert read == [0, 2]


def test_damaged_page_does_not_stop_the_others(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.tiff", [PAGES[0], PAGES[0], PAGES[0]])
    with tifffile.TiffFile(tmp_path / "a.tiff", mode="r+b") as tiff:
        tiff.pages[1].tags["StripOffsets"].overwrite([10**6])
    first, second, third = read_pages(tmp_path / "a.tiff")
    assert isinstance(second.image, ImageError)
    assert "a.tiff, page 1" in str(second.image)
    assert "truncated" in str(second.image)
    for page in (first, third):
        np.testing.assert_array_equal(page.image, PAGES[0])


def test_overviews_and_masks_are_no_pages(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tiff") as tiff:
        tiff.write(PAGES[0], photometric="minisblack")
        tiff.write(PAGES[0][::2, ::2].copy(), photometric="minisblack", subfiletype=1)
        tiff.write(PAGES[0] > 9, photometric="minisblack", subfiletype=4)
    (page,) = read_pages(tmp_path / "a.tiff")
    assert (page.index, page.count) == (0, 1)
    np.testing.assert_array_equal(page.image, PAGES[0])
    read_image(tmp_path / "a.tiff")
    assert not caplog.records


def test_compressed_pages_are_each_their_own(tmp_path: Path) -> None:
    from PIL import Image

    pages = [Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (7, 8, 9)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    read = [page.image for page in read_pages(tmp_path / "a.tiff")]
    assert [image.tolist() for image in read] == [[[value] * 5] * 4 for value in (7, 8, 9)]


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.npy"])
def test_file_of_one_image_has_one_page(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / name, PAGES[0]) if name == "a.npy" else write_image(tmp_path / name, PAGES[0])
    (page,) = read_pages(tmp_path / name)
    assert (page.index, page.count) == (0, 1)
    np.testing.assert_array_equal(page.image, PAGES[0])
    assert list(read_pages(tmp_path / name, skip={0})) == []


def test_file_that_is_no_image_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.tiff").write_text("no image")
    with pytest.raises(ImageError, match=r"a\.tiff: this is no image"):
        next(read_pages(tmp_path / "a.tiff"))
