"""The data doctor: every kind of damage is found, named and weighed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.data.check import Report, check_dataset
from samspl.data.synthetic import draw_scene
from samspl.errors import DatasetError
from samspl.imaging import write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound data set: ids a to e, the last two for testing, one target each."""
    for seed, image_id in enumerate("abcde"):
        scene = draw_scene(np.random.default_rng(seed), (64, 64), target_count=1)
        assert len(scene.targets) == 1
        write_image(tmp_path / f"images/{image_id}.png", scene.image)
        write_image(tmp_path / f"masks/{image_id}.png", scene.mask)
    (tmp_path / "train.txt").write_text("a\nb\nc\n")
    (tmp_path / "test.txt").write_text("d\ne\n")
    return tmp_path


def _found(report: Report) -> set[tuple[str, str, str]]:
    return {(p.kind, p.severity, p.file) for p in report.problems}


def test_sound_set_has_no_problems_and_training_can_start(root: Path) -> None:
    report = check_dataset(root)
    assert report.problems == ()
    assert (report.images, report.targets, report.fatal) == (5, 5, False)
    assert report.splits == {"root": (3, 2)}
    assert "training can start" in report.to_text()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _one_pixel(path: Path) -> None:
    write_image(path, np.zeros((1, 1), np.uint8))


def _huge(path: Path) -> None:
    # the header alone says 20000 x 20000
    data = bytearray(path.read_bytes())
    data[16:24] = (20000).to_bytes(4, "big") * 2
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [_truncate, _directory, lambda p: p.write_bytes(b""), _huge])
@pytest.mark.parametrize("folder", ["images", "masks"])
def test_damaged_file_is_fatal_and_named(root: Path, folder: str, damage: Callable[[Path], object]) -> None:
    damage(root / folder / "b.png")
    report = check_dataset(root)
    assert _found(report) == {(f"unreadable {folder[:-1]}", "fatal", f"{folder}/b.png")}
    assert report.fatal
    assert "b.png" in report.problems[0].detail


def test_damaged_file_that_no_list_names_is_only_noted(root: Path) -> None:
    (root / "images/x.png").write_bytes(b"")
    (root / "masks/x.png").write_bytes((root / "masks/a.png").read_bytes())
    report = check_dataset(root)
    assert _found(report) == {("unreadable image", "note", "images/x.png")}
    assert not report.fatal


def test_unpaired_files_are_found(root: Path) -> None:
    (root / "masks/a.png").unlink()
    (root / "images/e.png").unlink()
    assert _found(check_dataset(root)) == {
        ("image without mask", "fatal", "images/a.png"),
        ("listed but absent", "fatal", "e"),
        ("mask without image", "note", "masks/e.png"),
    }


def test_mask_of_another_size_is_fatal(root: Path) -> None:
    _one_pixel(root / "masks/a.png")
    kinds = _found(check_dataset(root))
    assert ("mask of another size", "fatal", "masks/a.png") in kinds


def test_tiny_image_with_its_mask_is_read_and_noted(root: Path) -> None:
    _one_pixel(root / "images/a.png")
    _one_pixel(root / "masks/a.png")
    assert _found(check_dataset(root)) == {
        ("tiny image", "note", "images/a.png"),
        ("constant image", "note", "images/a.png"),
        ("empty mask", "note", "masks/a.png"),
    }


def test_grey_mask_is_mended_and_counted(root: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[10:13, 10:13] = 255
    mask[10, 9:12] = (100, 126, 127)
    write_image(root / "masks/a.png", mask)
    (problem,) = check_dataset(root).problems
    assert (problem.kind, problem.severity) == ("mask not binary", "mended")
    assert problem.detail == "3 grey pixels; cut at 127"


def test_mask_of_zeros_and_ones_would_lose_its_targets_and_is_fatal(root: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[5, 5] = 1
    write_image(root / "masks/a.png", mask)
    assert _found(check_dataset(root)) == {("mask below threshold", "fatal", "masks/a.png")}


def test_palette_colour_and_16_bit_images_are_mended(root: Path) -> None:
    grey = Image.open(root / "images/a.png")
    grey.convert("RGB").save(root / "images/b.png")
    grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("P").save(root / "images/a.png")
    deep = draw_scene(np.random.default_rng(9), (64, 64), bits=16).image
    write_image(root / "images/c.png", deep)
    assert _found(check_dataset(root)) == {
        ("palette image", "mended", "images/a.png"),
        ("colour image", "mended", "images/b.png"),
        ("16-bit image", "mended", "images/c.png"),
    }


def test_float_image_with_nan_is_fatal(root: Path) -> None:
    (root / "images/a.png").unlink()
    np.save(root / "images/a.npy", np.full((64, 64), np.nan, np.float32))
    found = _found(check_dataset(root))
    assert ("values not finite", "fatal", "images/a.npy") in found


def test_id_in_train_and_test_is_fatal(root: Path) -> None:
    (root / "test.txt").write_text("d\r\n\r\ne\r\na.png\r\n")
    assert _found(check_dataset(root)) == {("in train and test", "fatal", "images/a.png")}


@pytest.mark.parametrize("line", ["../x", "/etc/passwd", "..\\x"])
def test_list_with_path_tricks_is_fatal(root: Path, line: str) -> None:
    (root / "train.txt").write_text(f"a\n{line}\n")
    assert ("bad split list", "fatal", "train.txt") in _found(check_dataset(root))


def test_set_without_lists_is_fatal_and_says_how_to_make_them(root: Path) -> None:
    (root / "train.txt").unlink()
    (root / "test.txt").unlink()
    (problem,) = check_dataset(root).problems
    assert problem.severity == "fatal"
    assert "samspl data split" in problem.detail


def test_folder_without_images_is_fatal_and_missing_folder_an_error(tmp_path: Path) -> None:
    assert _found(check_dataset(tmp_path)) == {("no images", "fatal", ".")}
    with pytest.raises(DatasetError, match="is no folder"):
        check_dataset(tmp_path / "absent")


def test_copies_across_splits_are_told_from_copies_within(root: Path) -> None:
    (root / "images/b.png").write_bytes((root / "images/a.png").read_bytes())
    (root / "images/d.png").write_bytes((root / "images/a.png").read_bytes())
    report = check_dataset(root)
    details = {p.kind: p.detail for p in report.problems}
    assert "same pixels as images/b.png" in details["exact duplicate"]
    assert "same pixels as images/d.png" in details["exact duplicate across splits"]
    assert all("masks differ" in detail for detail in details.values())
    assert not report.fatal
    assert "published sets have them" in details["exact duplicate across splits"]
    assert "published sets have them" not in details["exact duplicate"]
    assert "published sets have them" in report.to_text()


def test_noisy_copy_across_splits_is_a_near_duplicate(root: Path) -> None:
    scene = draw_scene(np.random.default_rng(2), (128, 128), target_count=1, background="buildings")
    noisy = scene.image.astype(float) + np.random.default_rng(0).normal(0, 1, scene.image.shape)
    for image_id, image in (("a", scene.image), ("e", np.clip(noisy, 0, 255).astype(np.uint8))):
        write_image(root / f"images/{image_id}.png", image)
        write_image(root / f"masks/{image_id}.png", scene.mask)
    assert _found(check_dataset(root)) == {("near duplicate across splits", "note", "images/a.png")}


def test_empty_masks_alone_leave_nothing_to_learn(root: Path) -> None:
    for path in (root / "masks").iterdir():
        write_image(path, np.zeros((64, 64), bool))
    report = check_dataset(root)
    assert ("no targets", "fatal", ".") in _found(report)
    assert [p.kind for p in report.problems].count("empty mask") == 5


def test_json_object_has_the_fields_of_the_contract(root: Path) -> None:
    (root / "images/b.png").write_bytes(b"")
    report = json.loads(json.dumps(check_dataset(root).to_dict()))
    assert set(report) == {"images", "targets", "fatal", "problems"}
    assert (report["images"], report["targets"], report["fatal"]) == (5, 5, True)
    assert set(report["problems"][0]) == {"kind", "severity", "file", "detail"}


def test_progress_is_told_of_every_pair(root: Path) -> None:
    seen = []
    check_dataset(root, progress=lambda items, total: (seen.append(total) or item for item in items))
    assert seen == [5] * 5


def test_one_thread_finds_the_same_as_four(root: Path) -> None:
    (root / "images/b.png").write_bytes(b"")
    assert check_dataset(root, threads=1).problems == check_dataset(root, threads=4).problems


def test_published_defects_of_nuaa_are_known_by_name(shared_dir: Path) -> None:
    report = check_dataset(shared_dir / "data" / "NUAA-SIRST")
    assert not report.fatal
    assert (report.images, report.targets) == (427, 533)
    details = {p.kind: p.detail for p in report.problems}
    assert "resized (nearest)" in details["mask of another size"]
    assert "172 of 214 test images of img_idx are training images of idx_427" in details["split sets differ"]


def test_frames_of_one_scene_in_nudt_are_found(shared_dir: Path) -> None:
    report = check_dataset(shared_dir / "data" / "NUDT-SIRST")
    pairs = {(p.file, p.detail.split()[-1]) for p in report.problems if p.kind == "near duplicate"}
    # looked at: one background with different targets
    assert {("images/000524.png", "images/000546.png"), ("images/000627.png", "images/000739.png")} <= pairs
    assert len(pairs) < 40
