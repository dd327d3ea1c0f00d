"""Opening data sets and reading pairs."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.data.dataset import DecodeCache, InfraredDataset, Pair, find_files, find_root, open_dataset
from samspl.data.specs import DatasetSpec, KnownDefect, get_spec
from samspl.data.splits import Split
from samspl.errors import ConfigError, DatasetError, ImageError
from samspl.imaging import write_image

SPEC = DatasetSpec(name="mine", aliases=("my-set",))


def make(root: Path, ids: tuple[str, ...] = ("a", "b", "c"), size_hw: tuple[int, int] = (4, 6)) -> None:
    """A data set whose k-th image holds the value k, its mask k pixels."""
    for k, image_id in enumerate(ids):
        mask = np.arange(size_hw[0] * size_hw[1]).reshape(size_hw) < k
        write_image(root / "images" / f"{image_id}.png", np.full(size_hw, k, np.uint8))
        write_image(root / "masks" / f"{image_id}.png", mask)
    (root / "train.txt").write_text("\n".join(ids))
    (root / "test.txt").write_text(ids[0])


def opened(root: Path, spec: DatasetSpec = SPEC, cache_bytes: int = 2**20) -> InfraredDataset:
    ids = tuple((root / "train.txt").read_text().split("\n"))
    return InfraredDataset(spec, root, Split("train", "root", root / "train.txt", ids), cache_bytes)


def test_pairs_come_in_list_order_with_their_own_masks(tmp_path: Path) -> None:
    make(tmp_path, ("c", "a", "b"))
    dataset = opened(tmp_path)
    assert (len(dataset), dataset.ids) == (3, ("c", "a", "b"))
    for k in range(3):
        pair = dataset.pair(k)
        assert (pair.id, pair.image[0, 0], pair.mask.sum()) == (dataset.ids[k], k, k)
        assert (pair.mask.dtype, pair.notes) == (np.bool_, ())
        assert pair.image_path == tmp_path / "images" / f"{pair.id}.png"


def test_arrays_of_a_pair_cannot_be_changed_by_mistake(tmp_path: Path) -> None:
    make(tmp_path)
    pair = opened(tmp_path).pair(1)
    with pytest.raises(ValueError, match="read-only"):
        pair.image[0, 0] = 9
    with pytest.raises(ValueError, match="read-only"):
        pair.mask[0, 0] = True


@pytest.mark.parametrize(("spec", "targets"), [("NUAA-SIRST", 1), ("NUDT-SIRST", 2)])
def test_mask_rule_of_the_specification_is_used(tmp_path: Path, spec: str, targets: int) -> None:
    make(tmp_path, ("a",))
    write_image(tmp_path / "masks" / "a.png", np.array([[0, 126, 127, 0, 0, 0]] + [[0] * 6] * 3, np.uint8))
    assert opened(tmp_path, get_spec(spec)).pair(0).mask.sum() == targets


def test_missing_images_are_counted_and_the_first_named_when_opened(tmp_path: Path) -> None:
    make(tmp_path, tuple(f"i{k}" for k in range(9)))
    for k in range(1, 9):
        (tmp_path / "images" / f"i{k}.png").unlink()
    with pytest.raises(DatasetError, match=r"8 of 9 images .* i1, i2, i3, i4, i5 and 3 more .*images/\{id\}"):
        opened(tmp_path)


def test_missing_mask_is_named_when_opened(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 3 masks .*: b \("):
        opened(tmp_path)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_truncated_file_is_an_error_and_never_cached(tmp_path: Path, folder: str) -> None:
    make(tmp_path, size_hw=(64, 64))
    path = tmp_path / folder / "b.png"
    path.write_bytes(path.read_bytes()[:60])
    dataset = opened(tmp_path)
    for _ in range(2):
        with pytest.raises(ImageError, match=rf"{folder}/b\.png"):
            dataset.pair(1)
    assert dataset.cache.used_bytes == 0


def test_mask_of_another_size_is_an_error(tmp_path: Path) -> None:
    make(tmp_path)
    write_image(tmp_path / "masks" / "b.png", np.zeros((8, 12), np.uint8))
    with pytest.raises(DatasetError, match=r"masks/b\.png is 12x8, its image 6x4"):
        opened(tmp_path).pair(1)


def test_mask_of_another_size_is_resized_and_noted_where_the_defect_is_known(tmp_path: Path) -> None:
    make(tmp_path)
    large = np.kron(np.arange(24).reshape(4, 6) % 5 == 0, np.ones((2, 2), bool))
    write_image(tmp_path / "masks" / "b.png", large)
    spec = DatasetSpec(name="mine", defects=(KnownDefect(("b",), "mask too large"),))
    pair = opened(tmp_path, spec).pair(1)
    np.testing.assert_array_equal(pair.mask, np.arange(24).reshape(4, 6) % 5 == 0)
    assert len(pair.notes) == 1
    assert "12x8" in pair.notes[0]


def test_folder_named_like_an_image_is_not_taken_for_one(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "images" / "b.png").unlink()
    (tmp_path / "images" / "b.png").mkdir()
    with pytest.raises(ImageError, match=r"images/b\.png is a folder"):
        opened(tmp_path).pair(1)


def test_files_are_found_by_pattern_with_any_suffix(tmp_path: Path) -> None:
    for name in (
        "images/a.PNG",
        "images/b.tif",
        "images/b.png",
        "images/n.txt",
        "images/sub/d.bmp",
        "x/e.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_files(tmp_path, ("images/{id}.*", "x/{id}.png", "gone/{id}.*"))
    assert {key: path.relative_to(tmp_path).as_posix() for key, path in found.items()} == {
        "a": "images/a.PNG",
        "b": "images/b.png",
        "e": "x/e.png",
        "sub/d": "images/sub/d.bmp",
    }


def test_file_of_one_pattern_is_not_found_again_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for name in ("a_pixels0.png", "b.png"):
        (tmp_path / "masks" / name).touch()
    assert set(find_files(tmp_path, ("masks/{id}_pixels0.*", "masks/{id}.*"))) == {"a", "b"}


def test_cache_keeps_first_come_within_its_bound(tmp_path: Path) -> None:
    make(tmp_path)  # 24 bytes of image and 24 of mask each
    dataset = opened(tmp_path, cache_bytes=100)
    pairs = [dataset.pair(k) for k in (2, 0, 1)]
    assert dataset.cache.used_bytes == 96
    assert [dataset.pair(k) is pair for k, pair in zip((2, 0, 1), pairs, strict=True)] == [True, True, False]
    assert dataset.cache.used_bytes == 96


def test_cache_of_no_bytes_keeps_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    dataset = opened(tmp_path, cache_bytes=0)
    assert dataset.pair(0) is not dataset.pair(0)
    with pytest.raises(ValueError, match="max_bytes is -1"):
        DecodeCache(-1)


def test_cache_counts_right_from_many_threads() -> None:
    cache = DecodeCache(1000)
    pair = Pair("a", np.zeros((2, 5), np.uint8), np.zeros((2, 5), bool), Path("a"), Path("a"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: cache.put(k % 200, pair), range(2000)))
    assert cache.used_bytes == 1000
    assert sum(cache.get(k) is not None for k in range(200)) == 50


def test_copy_for_another_process_starts_with_an_empty_cache(tmp_path: Path) -> None:
    make(tmp_path)
    dataset = opened(tmp_path)
    dataset.pair(0)
    copy = pickle.loads(pickle.dumps(dataset))
    assert (copy.cache.used_bytes, copy.cache.max_bytes) == (0, 2**20)
    np.testing.assert_array_equal(copy.pair(1).image, dataset.pair(1).image)


@pytest.mark.parametrize("folder", ["mine", "MINE", "My-Set"])
def test_folder_of_a_data_set_is_found_in_any_case(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    assert find_root(tmp_path, SPEC).samefile(tmp_path / folder)
    assert find_root(tmp_path / folder, SPEC).samefile(tmp_path / folder)


def test_data_path_with_images_is_the_data_set_unless_it_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "some" / "images").mkdir(parents=True)
    (tmp_path / "NUAA-SIRST" / "images").mkdir(parents=True)
    assert find_root(tmp_path / "some", SPEC) == tmp_path / "some"
    with pytest.raises(ConfigError, match=r"holds no folder mine; there is: images"):
        find_root(tmp_path / "NUAA-SIRST", SPEC)
    with pytest.raises(ConfigError, match="gone does not exist"):
        find_root(tmp_path / "gone", SPEC)


def test_data_set_given_by_folder_needs_no_data_path(tmp_path: Path) -> None:
    make(tmp_path / "frames")
    dataset = open_dataset(str(tmp_path / "frames"), tmp_path / "elsewhere", "test")
    assert (dataset.spec.name, dataset.ids) == ("frames", ("a",))


def test_yaml_data_set_is_opened_with_deep_frames(tmp_path: Path) -> None:
    make(tmp_path / "port")
    frame = np.arange(24, dtype=np.uint16).reshape(4, 6) * 1000
    write_image(tmp_path / "port" / "images" / "b.tiff", frame)
    (tmp_path / "port" / "images" / "b.png").unlink()
    (tmp_path / "port.yaml").write_text("image_size: 64\n")
    dataset = open_dataset(str(tmp_path / "port.yaml"), tmp_path, "train")
    np.testing.assert_array_equal(dataset.pair(1).image, frame)


@pytest.mark.parametrize("root", ["IRSTD-1k", "irstd1k"])
def test_other_folder_names_of_irstd_1k_are_known(tmp_path: Path, root: str) -> None:
    for folder in ("IRSTD1k_Img", "IRSTD1k_Label"):
        write_image(tmp_path / root / folder / "XDU0.png", np.zeros((8, 8), np.uint8))
    (tmp_path / root / "train.txt").write_text("XDU0.png\r\n")
    assert open_dataset("IRSTD-1k", tmp_path, "train").pair(0).image_path.parent.name == "IRSTD1k_Img"


def test_real_nuaa_is_read_whole_with_its_one_defect_mended(shared_dir: Path) -> None:
    dataset = open_dataset("nuaa", shared_dir / "data", "test")
    pairs = [dataset.pair(k) for k in range(len(dataset))]
    assert [pair.id for pair in pairs if pair.notes] == ["Misc_111"]
    assert all(pair.image.dtype == np.uint8 and pair.image.shape == pair.mask.shape for pair in pairs)
    assert all(pair.mask.any() for pair in pairs)
    for pair in pairs[::40]:
        with Image.open(pair.image_path) as file:
            grey = np.array(file.convert("RGB").convert("L"))
        np.testing.assert_array_equal(pair.image, grey)


def test_real_nudt_is_read_whole(shared_dir: Path) -> None:
    dataset = open_dataset("NUDT-SIRST", shared_dir / "data", "train")
    assert len(dataset) == 663
    assert {dataset.pair(k).image.shape for k in range(0, 663, 20)} == {(256, 256)}
