"""Pictures and downloads."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from samspl.draw import draw_targets, to_display
from samspl.report import PREDICTION_COLUMNS
from samspl.web import files
from samspl.web.sessions import Kept


def decode(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def kept(name="a.png", dtype=np.uint8):
    image = np.zeros((40, 60), dtype)
    image[10:12, 20:23] = 200
    image[30, 50] = 90
    return Kept(name, image, (image / 220).astype(np.float32))


def test_automatic_contrast_leaves_8_bit_values_and_stretches_deeper_ones():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(decode(files.shown_png(image, None)), image)
    deep = image.astype(np.uint16) * 20 + 5000
    shown = decode(files.shown_png(deep, None))
    assert shown.dtype == np.uint8
    assert (shown.min(), shown.max()) == (0, 255)


def test_a_cut_shows_faint_detail_beside_a_hot_spot():
    rng = np.random.default_rng(0)
    image = rng.integers(8000, 8100, (50, 50)).astype(np.uint16)
    image[:2, :2] = 60000
    full = to_display(image, 0.0)
    assert full[5:].max() <= 1  # the hot spot takes all
    cut = to_display(image, 1.0)
    assert cut[5:].max() == 255
    assert cut[5:].std() > 50
    assert np.array_equal(to_display(np.full((4, 4), 7, np.uint16), 5.0), np.full((4, 4), 128, np.uint8))


def test_large_images_are_shown_smaller_and_say_so(monkeypatch):
    monkeypatch.setattr(files, "SHOWN_SIDE_PX", 100)
    image = np.zeros((90, 250), np.uint8)
    assert files.shown_factor(image.shape) == 3
    assert decode(files.shown_png(image, None)).shape == (30, 83)
    assert files.shown_factor((100, 100)) == 1


def test_mask_and_overlay_are_those_of_the_threshold():
    one = kept()
    assert np.array_equal(decode(files.mask_png(one, 0.5)), np.where(one.image > 110, 255, 0))
    assert np.array_equal(decode(files.mask_png(one, 0.3)), np.where(one.image > 66, 255, 0))
    expected = np.asarray(draw_targets(one.image, one.targets(0.3)))
    assert np.array_equal(decode(files.overlay_png(one, 0.3)), expected)


def test_table_has_a_row_for_each_target_of_every_image():
    rows = list(csv.DictReader(io.StringIO(files.targets_csv([kept(), kept("b.png")], 0.3).decode())))
    assert tuple(rows[0]) == PREDICTION_COLUMNS
    assert [row["file"] for row in rows] == ["a.png", "a.png", "b.png", "b.png"]
    assert [(float(row["x"]), float(row["y"])) for row in rows[:2]] == [(21.0, 10.5), (50.0, 30.0)]


def test_zip_holds_the_folders_of_predict():
    both = [kept("a.png"), kept("b.tiff", np.uint16)]
    archive = zipfile.ZipFile(io.BytesIO(files.results_zip(both, 0.5)))
    assert sorted(archive.namelist()) == [
        "mask/a.png",
        "mask/b.png",
        "overlay/a.png",
        "overlay/b.png",
        "predictions.csv",
        "predictions.json",
    ]
    content = json.loads(archive.read("predictions.json"))
    assert [(entry["file"], len(entry["targets"])) for entry in content] == [("a.png", 1), ("b.tiff", 1)]
    assert np.array_equal(decode(archive.read("mask/b.png")) > 0, both[1].mask(0.5))
    assert len(archive.read("predictions.csv").splitlines()) == 3


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "b.png"], ["a.png", "b.png"]),
        (["a.png", "a.tiff", "A.png"], ["a.png", "a (2).tiff", "A (3).png"]),
        (
            ["../../etc/passwd", "C:\\x\\y.png", "/", "..", ""],
            ["passwd", "y.png", "image", "image (2)", "image (3)"],
        ),
        (["day/a.png", "night/a.png"], ["a.png", "a (2).png"]),
    ],
)
def test_names_are_made_safe_and_different(names, expected):
    assert files.unique_names(names) == expected


def test_every_offered_stretch_works():
    image = np.random.default_rng(0).normal(size=(9, 9)).astype(np.float32)
    pictures = {name: to_display(image, cut) for name, cut in files.STRETCHES.items()}
    assert np.array_equal(pictures["Automatic"], to_display(image))
    assert len({picture.tobytes() for picture in pictures.values()}) >= 3
