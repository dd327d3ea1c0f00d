"""Target copy-paste, against Pillow opening two files a paste."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.data.copy_paste import (
    CopyPaste,
    TargetCrop,
    build_augmentation,
    cut_crops,
    find_crops,
    load_crops,
)
from samspl.data.dataset import InfraredDataset
from samspl.data.specs import DatasetSpec, get_spec, list_specs
from samspl.data.splits import Split
from samspl.data.transforms import Blur, Flips, Mirror, Resize, ScaleCrop
from samspl.errors import DatasetError
from samspl.imaging import read_image, write_image
from samspl.preprocess import Preprocess

SPEC = DatasetSpec(name="mine", mean=(100.0,), std=(20.0,), augmentation="scale_crop_paste")
PLAIN = Preprocess((100.0,), (20.0,), 32)
FRAME = Preprocess(image_size=32, normalise="frame")


def crop(value: float, size_hw: tuple[int, int], dtype: str = "uint8") -> TargetCrop:
    return TargetCrop(np.full(size_hw, value, dtype), np.ones(size_hw, bool))


def dataset(root: Path, images: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> InfraredDataset:
    for name, image in images.items():
        write_image(root / "images" / f"{name}.tif", image)
        write_image(root / "masks" / f"{name}.png", masks[name])
    return InfraredDataset(SPEC, root, Split("train", "root", root / "train.txt", tuple(images)))


def write_crop(root: Path, name: str, values: list, mask: list) -> None:
    write_image(root / "Target_image" / f"{name}.png", np.array(values, np.uint8))
    write_image(root / "Target_mask" / f"{name}.png", np.array(mask, bool))


def test_whole_box_replaces_image_and_mask() -> None:
    values, mask = np.array([[50, 60], [70, 80]], np.uint8), np.array([[True, False], [False, True]])
    paste = CopyPaste([TargetCrop(values, mask)])
    for seed in range(4000):  # find a draw with one paste inside the image
        image, gt_mask = paste(np.zeros((4, 4), np.uint8), np.ones((4, 4), bool), np.random.default_rng(seed))
        rows, columns = np.nonzero(image)
        if len(rows) == 4 and gt_mask.sum() == 14:
            top, left = rows.min(), columns.min()
            np.testing.assert_array_equal(image[top : top + 2, left : left + 2], values)
            np.testing.assert_array_equal(gt_mask[top : top + 2, left : left + 2], mask)
            return
    pytest.fail("no draw with exactly one visible paste")


def test_half_of_the_images_get_1_to_100_pastes_uniformly_placed() -> None:
    paste = CopyPaste([crop(1, (1, 1))])
    rng = np.random.default_rng(0)
    total = np.zeros((10, 10))
    untouched, counts = 0, []
    for _ in range(2000):
        image, _ = paste(np.zeros((200, 200), np.uint8), np.zeros((200, 200), bool), rng)
        untouched += not image.any()
        if image.any():
            counts.append(int(image.sum()))
            total += image.reshape(10, 20, 10, 20).sum((1, 3))
    assert abs(untouched - 1000) < 120
    assert min(counts) <= 3
    assert 95 <= max(counts) <= 100
    assert abs(np.mean(counts) - 50.5) < 4
    expected = total.sum() / 100
    assert (np.abs(total - expected) < 6 * np.sqrt(expected)).all()


def test_parts_outside_are_cut_off_and_a_crop_may_exceed_the_image() -> None:
    paste = CopyPaste([crop(9, (5, 30))])
    for seed in range(30):
        image, mask = paste(np.zeros((3, 4), np.uint8), np.zeros((3, 4), bool), np.random.default_rng(seed))
        assert image.shape == mask.shape == (3, 4)
        np.testing.assert_array_equal(image == 9, mask)


def test_pasting_equals_pillow_opening_files_with_the_same_draws(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for k in range(12):
        h, w = rng.integers(1, 9, 2)
        write_crop(
            tmp_path, f"t{k:02}", rng.integers(1, 256, (h, w)).tolist(), (rng.random((h, w)) < 0.7).tolist()
        )
    paste = CopyPaste(load_crops(tmp_path, SPEC, PLAIN))
    background = rng.integers(0, 256, (40, 50), dtype=np.uint8)
    pasted = 0
    for seed in range(10):
        image, mask = Image.fromarray(background), Image.new("L", (50, 40))
        draws = np.random.default_rng(seed)
        if draws.random() < 0.5:
            pasted += 1
            count = int(draws.integers(1, 100, endpoint=True))
            chosen, tops, lefts = (draws.integers(0, n, count).tolist() for n in (12, 40, 50))
            for k, top, left in zip(chosen, tops, lefts, strict=True):
                image.paste(Image.open(tmp_path / "Target_image" / f"t{k:02}.png"), (left, top))
                mask.paste(Image.open(tmp_path / "Target_mask" / f"t{k:02}.png"), (left, top))
        ours = paste(background, np.zeros((40, 50), bool), np.random.default_rng(seed))
        np.testing.assert_array_equal(ours[0], np.array(image))
        np.testing.assert_array_equal(ours[1], np.array(mask) > 0)
    assert pasted > 2


def test_inputs_stay_as_they_are() -> None:
    image, mask = np.zeros((9, 9), np.float32), np.zeros((9, 9), bool)
    image.setflags(write=False)
    mask.setflags(write=False)
    results = [
        CopyPaste([crop(5, (2, 2))])(image, mask, np.random.default_rng(seed))[0] for seed in range(10)
    ]
    assert any(result.any() for result in results)
    assert not image.any()
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


def test_deep_crop_pasted_into_an_8_bit_image_does_not_wrap() -> None:
    paste = CopyPaste([crop(300.0, (9, 9), "float32")])
    images = [
        paste(np.zeros((1, 1), np.uint8), np.zeros((1, 1), bool), np.random.default_rng(s))[0]
        for s in range(9)
    ]
    assert {int(image[0, 0]) for image in images} == {0, 255}


def test_crops_are_cut_as_tight_boxes_of_8_connected_components(tmp_path: Path) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(6, 8)
    mask = np.zeros((6, 8), bool)
    mask[1, 1] = mask[2, 2] = mask[5, 4:7] = True
    crops = cut_crops(dataset(tmp_path, {"a": image}, {"a": mask}), PLAIN)
    assert [c.values.tolist() for c in crops] == [[[9, 10], [17, 18]], [[44, 45, 46]]]
    assert [c.mask.tolist() for c in crops] == [[[True, False], [False, True]], [[True, True, True]]]


def test_crops_of_deep_frames_have_the_range_of_their_prepared_frame(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).normal(9000, 100, (30, 30)).astype(np.uint16)
    mask = np.zeros((30, 30), bool)
    mask[4:6, 7:9] = True
    data = dataset(tmp_path, {"a": frame}, {"a": mask})
    for preprocess in (PLAIN, FRAME):
        (cut,) = cut_crops(data, preprocess)
        np.testing.assert_array_equal(cut.values, preprocess.to_byte_range(frame)[4:6, 7:9])


def test_crops_from_folders_are_taken_as_they_are_or_by_the_sets_statistics(tmp_path: Path) -> None:
    write_crop(tmp_path, "x", [[80, 120]], [[0, 1]])
    (plain,) = load_crops(tmp_path, SPEC, PLAIN)
    assert (plain.values.tolist(), plain.values.dtype) == ([[80, 120]], np.uint8)
    assert plain.mask.tolist() == [[False, True]]
    (normalised,) = load_crops(tmp_path, SPEC, FRAME)
    np.testing.assert_allclose(normalised.values, [[-1.0, 1.0]])  # (v - 100) / 20


def test_folders_go_before_cutting_and_their_absence_means_cutting(tmp_path: Path) -> None:
    image, mask = np.full((6, 6), 3, np.uint8), np.eye(6, dtype=bool)
    data = dataset(tmp_path, {"a": image}, {"a": mask})
    assert [c.values.shape for c in find_crops(data, PLAIN)] == [(6, 6)]
    write_crop(tmp_path, "x", [[80, 120]], [[0, 1]])
    assert [c.values.shape for c in find_crops(data, PLAIN)] == [(1, 2)]


def test_crop_without_mask_or_of_another_size_or_too_deep_is_named(tmp_path: Path) -> None:
    write_crop(tmp_path, "x", [[80, 120]], [[0, 1]])
    (tmp_path / "Target_mask" / "x.png").rename(tmp_path / "Target_mask" / "y.png")
    with pytest.raises(DatasetError, match=r"2 crops .* in only one of .*\(x, y\)"):
        load_crops(tmp_path, SPEC, PLAIN)
    (tmp_path / "Target_mask" / "y.png").unlink()
    write_image(tmp_path / "Target_mask" / "x.png", np.ones((3, 3), bool))
    with pytest.raises(DatasetError, match=r"Target_image/x\.png.*differ in size"):
        load_crops(tmp_path, SPEC, PLAIN)
    write_image(tmp_path / "Target_image" / "x.png", np.ones((3, 3), np.uint16))
    with pytest.raises(DatasetError, match=r"x\.png is uint16"):
        load_crops(tmp_path, SPEC, PLAIN)


def test_without_any_target_there_is_nothing_to_paste(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"a": np.zeros((4, 4), np.uint8)}, {"a": np.zeros((4, 4), bool)})
    with pytest.raises(DatasetError, match=r"no mask of .*train\.txt holds a target"):
        find_crops(data, PLAIN)
    with pytest.raises(ValueError, match="crops is empty"):
        CopyPaste([])


@pytest.mark.parametrize("spec", list_specs(), ids=lambda spec: spec.name)
def test_every_data_set_gets_its_published_steps_in_order(spec: DatasetSpec) -> None:
    crops = [crop(9, (2, 2))] if spec.augmentation == "scale_crop_paste" else None
    augmentation = build_augmentation(spec, 48, crops)
    expected = {
        "flip": [Resize, Flips],
        "scale_crop": [Mirror, ScaleCrop, Blur],
        "scale_crop_paste": [Mirror, ScaleCrop, Blur, CopyPaste],
    }
    assert [type(step) for step in augmentation.transforms] == expected[spec.augmentation]
    image = np.random.default_rng(0).integers(0, 256, (40, 70), dtype=np.uint8)
    result, mask = augmentation(image, image > 250, np.random.default_rng(0))
    assert result.shape == mask.shape == (48, 48)


def test_augmentation_asks_for_crops_only_where_they_are_pasted() -> None:
    with pytest.raises(ValueError, match="IRSTD-1k needs crops"):
        build_augmentation(get_spec("IRSTD-1k"), 64)
    with pytest.raises(ValueError, match="NUAA-SIRST pastes no crops"):
        build_augmentation(get_spec("NUAA-SIRST"), 64, [crop(1, (1, 1))])


def test_real_crops_are_read_and_as_tight_as_ours(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "IRSTD-1k-targets"
    crops = load_crops(folder, get_spec("IRSTD-1k"), get_spec("IRSTD-1k").preprocess())
    assert len(crops) == 1195
    first = sorted((folder / "Target_image").iterdir())[0]
    np.testing.assert_array_equal(crops[0].values, read_image(first))
    # the published boxes have no margin, so that cutting our own takes none either
    assert all(c.mask[0].any() and c.mask[-1].any() for c in crops)
    assert all(c.mask[:, 0].any() and c.mask[:, -1].any() for c in crops)
    assert sum(c.values.nbytes + c.mask.nbytes for c in crops) < 200_000
