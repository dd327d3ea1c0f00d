"""Images to calibrate and check on: what is taken from a folder, what is held back, what is cut."""

from itertools import chain

import numpy as np
import pytest

from samspl.errors import ConfigError
from samspl.export.images import (
    CALIBRATION_IMAGES,
    HELD_BACK_IMAGES,
    ExportImage,
    ImageFolder,
    inputs_of,
    prepare,
    synthetic_images,
)
from samspl.imaging import write_image
from samspl.preprocess import Preprocess


def write(folder, count, with_masks=0):
    for i in range(count):
        write_image(folder / "images" / f"{i}.png", np.full((8, 9), i % 256, np.uint8))
    for i in range(with_masks):
        write_image(folder / "masks" / f"{i}.png", np.eye(8, 9, dtype=bool))


def test_no_image_is_both_calibrated_and_measured_on(tmp_path):
    write(tmp_path, 9)
    calibrate, held_back = ImageFolder(tmp_path).split()
    assert len(held_back) == 4
    assert sorted(calibrate + held_back) == sorted(f"images/{i}.png" for i in range(9))
    assert ImageFolder(tmp_path).split() == (calibrate, held_back)


def test_large_folders_give_no_more_than_is_needed(tmp_path):
    write(tmp_path, HELD_BACK_IMAGES + CALIBRATION_IMAGES + 150)
    calibrate, held_back = ImageFolder(tmp_path).split()
    assert (len(calibrate), len(held_back)) == (CALIBRATION_IMAGES, HELD_BACK_IMAGES)
    assert not set(calibrate) & set(held_back)


def test_pairs_go_before_images_without_mask(tmp_path):
    write(tmp_path, 8, with_masks=5)
    folder = ImageFolder(tmp_path)
    assert sorted(chain(*folder.split())) == list("01234")
    assert folder.read("3").mask.sum() == 8
    assert folder.read("3").image[0, 0] == 3


def test_images_of_any_layout_have_no_mask(tmp_path):
    for i in range(4):
        write_image(tmp_path / f"deep/er/{i}.tiff", np.full((4, 4), 1000 * i, np.uint16))
    (tmp_path / "notes.txt").write_text("no image")
    folder = ImageFolder(tmp_path)
    image = folder.read("deep/er/2.tiff")
    assert image.mask is None
    assert image.image[0, 0] == 2000


@pytest.mark.parametrize("count", [0, 3])
def test_folder_with_too_few_images_is_refused(tmp_path, count):
    write(tmp_path, count)
    with pytest.raises(ConfigError, match=f"holds {count} images .* at least 4"):
        ImageFolder(tmp_path)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="absent does not exist"):
        ImageFolder(tmp_path / "absent")


def test_frame_larger_than_a_native_network_is_cut_around_its_target():
    image = np.arange(100 * 200, dtype=np.float32).reshape(100, 200)
    mask = np.zeros((100, 200), bool)
    mask[90, 5] = True
    part, prepared = prepare(ExportImage("a", image, mask), Preprocess(), 64)
    assert np.array_equal(part.image, image[36:100, 0:64])
    assert part.mask.sum() == 1
    assert prepared.values.shape == (3, 64, 64)
    part, _ = prepare(ExportImage("a", image, None), Preprocess(), 64)
    assert np.array_equal(part.image, image[18:82, 68:132])


def test_frame_that_is_resized_is_not_cut():
    image = ExportImage("a", np.zeros((100, 200), np.uint8), None)
    part, prepared = prepare(image, Preprocess(image_size=64), 64)
    assert part is image
    assert prepared.geometry.source_hw == (100, 200)


def test_small_frame_is_padded_to_the_input():
    values = inputs_of([ExportImage("a", np.ones((10, 20), np.uint8), None)], Preprocess(), 64)[0]
    assert values.shape == (1, 3, 64, 64)
    assert values[0, 0, :10, :20].min() == 1


def test_scenes_are_the_same_every_time_and_hold_targets():
    one, two = synthetic_images(64, 3), synthetic_images(64, 3)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))
    assert all(image.mask.any() for image in one)
