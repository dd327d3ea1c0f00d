"""From uploaded files to images, and to words for what cannot be used."""

import numpy as np
import pytest
import tifffile

from samspl.errors import ImageError
from samspl.imaging import write_image
from samspl.web import jobs
from samspl.web.jobs import Frame, Upload, detect, read_sample, read_uploads
from samspl.web.scenes import RECIPES


class Brightness:
    """Stands for a detector: probability is brightness."""

    threshold = 0.5

    def detect(self, image, name):
        if not np.isfinite(image).all():
            raise ImageError(f"{name}: image holds NaN")
        prob = (image / image.max()).astype(np.float32)
        return type("Result", (), {"prob": prob})


@pytest.fixture
def folder(tmp_path):
    """As uploads lie: each in folders of its own."""
    return tmp_path / "uploads"


def upload(folder, name, array=None, content=None):
    path = folder / f"token{name}" / "hash" / "stored"
    path.parent.mkdir(parents=True)
    if array is not None:
        write_image(path.with_suffix(".tiff"), array)
        path.with_suffix(".tiff").rename(path)
    else:
        path.write_bytes(content)
    return Upload(path, name)


def test_depth_survives_and_nothing_is_left_lying(folder):
    deep = np.random.default_rng(0).integers(0, 65536, (12, 9), dtype=np.uint16)
    frames, problems = read_uploads([upload(folder, "deep.tiff", deep)])
    assert problems == []
    assert frames[0].name == "deep.tiff"
    assert frames[0].image.dtype == np.uint16
    assert np.array_equal(frames[0].image, deep)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"just words", "notes.txt: this is no image that can be read; expected PNG, JPEG"),
        ("empty.png", b"", "empty.png: the file is empty (0 bytes)"),
        ("half.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "half.png is truncated or damaged"),
        ("half.tiff", b"II*\0", "half.tiff is truncated or damaged"),
        ("film.mp4", b"\0\0\0\x18ftypmp42", "film.mp4: this is no image"),
    ],
)
def test_bad_file_is_a_sentence_with_the_visitors_name_of_it(folder, name, content, words):
    good = upload(folder, "good.png", np.ones((4, 4), np.uint8))
    frames, problems = read_uploads([upload(folder, name, content=content), good])
    assert [frame.name for frame in frames] == ["good.png"]
    assert len(problems) == 1
    assert words in problems[0]
    assert str(folder) not in problems[0]
    assert "stored" not in problems[0]


def test_pages_become_images_and_a_bad_page_does_not_stop_the_others(folder):
    first = upload(folder, "stack.tiff", content=b"")
    with tifffile.TiffWriter(first.path) as tiff:
        tiff.write(np.full((5, 6), 7, np.uint16), photometric="minisblack")
        tiff.write(np.full((8, 9), 1j, np.complex64), photometric="minisblack")
        tiff.write(np.full((3, 4), 9, np.uint8), photometric="minisblack")
    frames, problems = read_uploads([first])
    assert [(f.name, f.image.shape) for f in frames] == [
        ("stack_0000.tiff", (5, 6)),
        ("stack_0002.tiff", (3, 4)),
    ]
    assert len(problems) == 1
    assert problems[0].startswith("stack.tiff, page 1: ")


def test_image_of_too_many_pixels_is_refused_from_its_header(folder, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_PIXELS", 400)
    monkeypatch.setattr(jobs, "read_pages", lambda path: pytest.fail("must not be decoded"))
    big = upload(folder, "big.tiff", np.zeros((30, 20), np.uint8))
    png = upload(folder, "big.png", content=b"")
    write_image(png.path.with_suffix(".png"), np.zeros((21, 20), np.uint8))
    png.path.with_suffix(".png").rename(png.path)
    for one, size in ((big, "20x30"), (png, "20x21")):
        frames, problems = read_uploads([one])
        assert frames == []
        assert f"image is {size}; all images together may have 400 pixels (20x20) here" in problems[0]
        assert "samspl predict" in problems[0]


def test_page_or_colours_of_too_many_pixels_are_refused_from_their_header(folder, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_PIXELS", 400)
    monkeypatch.setattr(jobs, "MAX_SAMPLES", 1600)
    monkeypatch.setattr(jobs, "read_pages", lambda path: pytest.fail("must not be decoded"))
    later = upload(folder, "stack.tiff", content=b"")
    with tifffile.TiffWriter(later.path) as writer:
        writer.write(np.zeros((8, 8), np.uint8))
        writer.write(np.zeros((30, 30), np.uint8))
    hidden = upload(folder, "hidden.tiff", content=b"")
    with tifffile.TiffWriter(hidden.path) as writer:
        for shape in ((8, 8), (30, 30), (8, 8)):
            writer.write(np.zeros(shape, np.uint8))
    with tifffile.TiffFile(hidden.path) as tiff:
        last = tiff.pages[2].aspage().offset
    with hidden.path.open("r+b") as file:  # a page that cannot be read hides no other
        file.seek(last)
        file.write(b"\xff\xff")  # as many tags
    with tifffile.TiffFile(hidden.path) as tiff, pytest.raises(tifffile.TiffFileError):
        tiff.pages[2].aspage()
    bands = upload(folder, "bands.tiff", content=b"")
    tifffile.imwrite(
        bands.path, np.zeros((5, 20, 20), np.uint8), photometric="minisblack", planarconfig="separate"
    )
    for one, size in ((later, "30x30"), (hidden, "30x30"), (bands, "20x20")):
        frames, problems = read_uploads([one])
        assert frames == []
        assert f"image is {size}; all images together" in problems[0]


def test_too_many_pixels_or_images_together_keep_the_first(folder, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_PIXELS", 250)
    frames, problems = read_uploads(
        [upload(folder, f"{i}.png", np.ones((10, 10), np.uint8)) for i in range(4)]
    )
    assert [f.name for f in frames] == ["0.png", "1.png"]
    assert "2.png: image is 10x10; all images together" in problems[0]
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(jobs, "MAX_IMAGES", 3)
    frames, problems = read_uploads([upload(folder, f"{i}.png", np.ones((2, 2), np.uint8)) for i in range(5)])
    assert len(frames) == 3
    assert problems == ["only the first 3 images were taken; use samspl predict for more"]


def test_an_upload_is_read_once(folder):
    one = upload(folder, "a.png", np.ones((4, 4), np.uint8))
    read_uploads([one])
    assert "a.png is not here any more" in read_uploads([one])[1][0]


def test_detection_keeps_probabilities_and_goes_on_after_a_bad_image():
    bad = np.full((4, 4), np.nan, np.float32)
    frames = [Frame("bad.tiff", bad), Frame("a.png", np.array([[0, 100, 200]], np.uint8))]
    seen = []
    kept, problems = detect(Brightness(), frames, lambda done, total: seen.append((done, total)))
    assert problems == ["bad.tiff: image holds NaN"]
    assert [one.name for one in kept] == ["a.png"]
    assert kept[0].prob.tolist() == [[0.0, 0.5, 1.0]]
    assert seen == [(0, 2), (1, 2)]


def test_samples_can_be_read():
    frame = read_sample(RECIPES[-1])
    assert frame.name == "sea16.png"
    assert frame.image.dtype == np.uint16
