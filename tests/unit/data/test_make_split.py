"""Split lists: complete, repeatable, balanced by target size, with duplicates on one side."""

from pathlib import Path

import numpy as np
import pytest

from samspl.data.make_split import make_split, write_split
from samspl.data.specs import DatasetSpec
from samspl.data.splits import find_split
from samspl.errors import ConfigError, DatasetError
from samspl.imaging import write_image

SPEC = DatasetSpec(name="mine")


def _write(root: Path, image_id: str, side: int, image: np.ndarray) -> None:
    mask = np.zeros(image.shape, bool)
    mask[4 : 4 + side, 4 : 4 + side] = True
    write_image(root / f"images/{image_id}.png", image)
    write_image(root / f"masks/{image_id}.png", mask)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """40 noise images: ten each without target, of 2 x 2, 4 x 4 and 10 x 10 pixels."""
    rng = np.random.default_rng(0)
    for k in range(40):
        _write(tmp_path, f"i{k:02d}", (0, 2, 4, 10)[k % 4], rng.integers(0, 256, (48, 48), np.uint8))
    return tmp_path


def test_every_image_stands_in_one_list(root: Path) -> None:
    train, test = make_split(root, SPEC, 0.25, seed=1)
    assert sorted(train + test) == [f"i{k:02d}" for k in range(40)]
    assert len(test) == 10


def test_target_sizes_are_balanced(root: Path) -> None:
    _, test = make_split(root, SPEC, 0.2, seed=3)
    assert np.bincount([int(image_id[1:]) % 4 for image_id in test]).tolist() == [2, 2, 2, 2]


def test_same_seed_gives_the_same_lists_and_another_seed_others(root: Path) -> None:
    assert make_split(root, SPEC, 0.2, seed=1) == make_split(root, SPEC, 0.2, seed=1)
    assert make_split(root, SPEC, 0.2, seed=1) != make_split(root, SPEC, 0.2, seed=2)


def test_duplicates_stay_together_whatever_the_seed(root: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (48, 48), np.uint8)
    for image_id, side in (("x", 2), ("y", 4), ("z", 10)):
        _write(root, image_id, side, noise)
    for seed in range(12):
        train, test = make_split(root, SPEC, 0.5, seed)
        assert set("xyz") <= set(train) or set("xyz") <= set(test)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_neither_list_is_empty(root: Path, fraction: float) -> None:
    train, test = make_split(root, SPEC, fraction)
    assert train
    assert test


def test_written_lists_are_found_and_not_replaced_unless_told(root: Path) -> None:
    train, test = make_split(root, SPEC)
    write_split(root, train, test)
    assert find_split(root, SPEC, "train").ids == train
    assert find_split(root, SPEC, "test").ids == test
    with pytest.raises(ConfigError, match=r"train\.txt and .*test\.txt would be replaced"):
        write_split(root, test, train)
    assert find_split(root, SPEC, "train").ids == train
    write_split(root, test, train, overwrite=True)
    assert find_split(root, SPEC, "train").ids == test


def test_one_list_that_is_there_stops_both(root: Path) -> None:
    (root / "test.txt").write_text("i00\n")
    with pytest.raises(ConfigError, match="would be replaced"):
        write_split(root, ["i01"], ["i02"])
    assert not (root / "train.txt").exists()


def test_image_without_mask_and_lone_images_are_refused(root: Path, tmp_path: Path) -> None:
    (root / "masks/i00.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 40 images .* no mask \(i00\)"):
        make_split(root, SPEC)
    lone = tmp_path / "lone"
    _write(lone, "a", 2, np.zeros((48, 48), np.uint8))
    with pytest.raises(DatasetError, match="expected at least 2"):
        make_split(lone, SPEC)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_fraction_outside_zero_to_one_is_refused(root: Path, fraction: float) -> None:
    with pytest.raises(ValueError, match="test_fraction"):
        make_split(root, SPEC, fraction)
