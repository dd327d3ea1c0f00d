"""Finding and reading split lists."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from samspl.data.dataset import find_files
from samspl.data.duplicates import duplicate_groups
from samspl.data.specs import DatasetSpec, get_spec
from samspl.data.splits import find_split, hold_out, read_list, split_sets
from samspl.errors import ConfigError, DatasetError
from samspl.imaging import read_image, write_image

NUAA = get_spec("NUAA-SIRST")
MINE = DatasetSpec(name="mine", aliases=("my-set",))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a\nb_1\nc/d\n",
        "a\r\nb_1\r\nc/d",
        "\ufeffa\nb_1\nc/d\n",
        "\n  a \n\n\nb_1\t\nc/d\n\n",
        "a.png\nb_1.PNG\nc/d.tiff\n",
    ],
    ids=["plain", "crlf", "bom", "blank lines", "suffixes"],
)
def test_list_is_read_in_any_spelling(tmp_path: Path, text: str) -> None:
    assert read_list(write(tmp_path / "l.txt", text)) == ("a", "b_1", "c/d")


def test_dots_that_are_no_image_suffix_belong_to_the_id(tmp_path: Path) -> None:
    assert read_list(write(tmp_path / "l.txt", "frame.1\nv2.0.png\n")) == ("frame.1", "v2.0")


@pytest.mark.parametrize(
    "line", ["../x", "a/../../x", "/etc/passwd", "..\\x", "C:\\x", "c:x", "a//b", "./a", "..", ".png", "a\0b"]
)
def test_line_that_leads_out_of_the_folder_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DatasetError, match=r"l\.txt.*inside the data set's folder"):
        read_list(write(tmp_path / "l.txt", f"good\n{line}\n"))


def test_repeated_ids_are_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"l\.txt holds 1 ids more than once \(b\)"):
        read_list(write(tmp_path / "l.txt", "a\nb\nb.png\n"))


def test_empty_missing_and_binary_lists_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"l\.txt holds no ids"):
        read_list(write(tmp_path / "l.txt", "\n \n"))
    with pytest.raises(ConfigError, match=r"gone\.txt does not exist"):
        read_list(tmp_path / "gone.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DatasetError, match=r"b\.txt cannot be read"):
        read_list(tmp_path / "b.txt")


@pytest.mark.parametrize(
    ("split_set", "train", "test"),
    [
        ("root", "mine/train.txt", "mine/test.txt"),
        ("img_idx", "mine/img_idx/train_mine.txt", "mine/img_idx/test_mine.txt"),
        ("img_idx", "mine/img_idx/train_MY-SET.txt", "mine/img_idx/test_Mine.txt"),
        ("50_50", "mine/50_50/train.txt", "mine/50_50/test.txt"),
        ("idx_427", "mine/idx_427/trainval.txt", "mine/idx_427/test.txt"),
        ("set_configs", "set_configs/mine/train.txt", "set_configs/mine/test.txt"),
        ("set_configs", "set_configs/My-Set/train.txt", "set_configs/My-Set/test.txt"),
    ],
)
def test_every_layout_of_the_protocol_is_found(tmp_path: Path, split_set: str, train: str, test: str) -> None:
    (tmp_path / "mine").mkdir()
    write(tmp_path / train, "a\nb\n")
    write(tmp_path / test, "c\n")
    found = find_split(tmp_path / "mine", MINE, "train")
    assert (found.name, found.split_set, found.ids) == ("train", split_set, ("a", "b"))
    assert find_split(tmp_path / "mine", MINE, "test").ids == ("c",)
    assert find_split(tmp_path / "mine", MINE, "test", split_set).path.samefile(tmp_path / test)


def test_lists_of_another_data_set_are_not_taken(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "img_idx" / "train_other.txt", "a\n")
    write(tmp_path / "set_configs" / "other" / "train.txt", "a\n")
    assert split_sets(tmp_path / "mine", MINE) == {}


def test_nuaa_takes_img_idx_by_default_whatever_else_is_there(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "r\n")
    write(tmp_path / "idx_427" / "trainval.txt", "o\n")
    write(tmp_path / "img_idx" / "train_NUAA-SIRST.txt", "f\n")
    assert find_split(tmp_path, NUAA, "train").ids == ("f",)
    assert find_split(tmp_path, NUAA, "train", "idx_427").ids == ("o",)


def test_another_set_is_never_taken_in_silence_for_the_default(tmp_path: Path) -> None:
    write(tmp_path / "idx_427" / "test.txt", "o\n")
    with pytest.raises(DatasetError, match=r"no split set 'img_idx'.*default of NUAA-SIRST.*idx_427"):
        find_split(tmp_path, NUAA, "test")
    with pytest.raises(ConfigError, match=r"no split set '50_50', which was asked for.*idx_427"):
        find_split(tmp_path, NUAA, "test", "50_50")


def test_without_lists_the_error_says_how_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"samspl data split {tmp_path}"):
        find_split(tmp_path, MINE, "train")


def test_missing_half_of_a_set_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "a\nb\n")
    with pytest.raises(DatasetError, match=r"has no test list.*train\.txt"):
        find_split(tmp_path, MINE, "test")


def test_a_list_may_be_given_by_path(tmp_path: Path) -> None:
    path = write(tmp_path / "hard.txt", "z\ny\n")
    split = find_split(tmp_path, MINE, str(path))
    assert (split.ids, split.split_set, split.path) == (("z", "y"), None, path)
    with pytest.raises(ConfigError, match="split is 'valid'; expected train, val, test"):
        find_split(tmp_path, MINE, "valid")
    with pytest.raises(ConfigError, match=r"gone\.txt does not exist"):
        find_split(tmp_path, MINE, "gone.txt")


def test_val_is_a_tenth_of_train_and_train_stays_whole(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "\n".join(f"i{n}" for n in range(40)))
    train, val = (find_split(tmp_path, MINE, name) for name in ("train", "val"))
    assert len(train.ids) == 40
    assert len(val.ids) == 4
    assert set(val.ids) < set(train.ids)
    assert find_split(tmp_path, MINE, "val") == val


def test_checksum_is_over_ids_in_list_order(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "b.png\r\na\r\n")
    split = find_split(tmp_path, MINE, "train")
    assert split.sha256 == hashlib.sha256(b"b\na").hexdigest()


def test_hold_out_depends_on_the_set_of_ids_and_not_on_their_order() -> None:
    ids = [f"img_{n}" for n in range(50)]
    kept, aside = hold_out(ids, 0.2, seed=1)
    assert (len(kept), len(aside)) == (40, 10)
    assert list(kept) == [i for i in ids if i in kept]
    assert sorted(kept + aside) == sorted(ids)
    assert set(hold_out(ids[::-1], 0.2, seed=1)[1]) == set(aside)
    assert set(hold_out(ids, 0.2, seed=2)[1]) != set(aside)


def test_hold_out_is_the_same_on_every_machine() -> None:
    assert hold_out(["a", "b", "c", "d", "e"], 0.4, seed=2727)[1] == ("b", "d")


def test_hold_out_leaves_something_on_both_sides() -> None:
    assert [len(part) for part in hold_out(["a", "b"], 0.01, 0)] == [1, 1]
    assert [len(part) for part in hold_out(["a", "b"], 0.99, 0)] == [1, 1]


@pytest.mark.parametrize(("ids", "fraction"), [(["a"], 0.5), (["a", "b"], 0.0), (["a", "b"], 1.0)])
def test_hold_out_refuses_what_cannot_be_divided(ids: list[str], fraction: float) -> None:
    with pytest.raises(ValueError, match="expected at least 2 ids"):
        hold_out(ids, fraction, 0)


def test_real_nuaa_lists_have_the_published_lengths(shared_dir: Path) -> None:
    root = shared_dir / "data" / "NUAA-SIRST"
    lengths = {
        name: [len(find_split(root, NUAA, part, name).ids) for part in ("train", "test")]
        for name in ("img_idx", "idx_427")
    }
    assert lengths == {"img_idx": [213, 214], "idx_427": [341, 86]}
    # 172 of the 214 test images of the one are training images of the other, says the protocol
    test = set(find_split(root, NUAA, "test", "img_idx").ids)
    assert len(test & set(find_split(root, NUAA, "train", "idx_427").ids)) == 172


def test_hold_out_keeps_groups_on_one_side() -> None:
    ids = [f"img_{n:02d}" for n in range(40)]
    groups = [ids[k : k + 3] for k in range(0, 30, 3)]
    for seed in range(20):
        kept, aside = hold_out(ids, 0.2, seed, groups)
        assert len(kept) + len(aside) == 40
        assert 6 <= len(aside) <= 8  # no id alone may be left that would fill the part
        assert all(len({image_id in aside for image_id in group}) == 1 for group in groups)
    assert set(hold_out(ids[::-1], 0.2, 3, groups[::-1])[1]) == set(hold_out(ids, 0.2, 3, groups)[1])


def test_hold_out_of_large_groups_takes_the_smallest_and_divides_only_what_is_one() -> None:
    groups = [["a", "b", "c"], ["d", "e"]]
    assert hold_out(list("abcde"), 0.2, 0, groups)[1] == ("d", "e")
    kept, aside = hold_out(list("abc"), 0.4, 0, [["a", "b", "c"]])
    assert (len(kept), len(aside)) == (2, 1)


def test_val_of_a_folder_keeps_near_duplicates_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n in range(10):
        scene = rng.integers(0, 200, (64, 64)).astype(np.uint8)
        write_image(tmp_path / "images" / f"{n}_a.png", scene)
        write_image(tmp_path / "images" / f"{n}_b.png", scene + 1)
    write(tmp_path / "train.txt", "\n".join(f"{n}_{k}" for n in range(10) for k in "ab"))
    val = find_split(tmp_path, MINE, "val").ids
    assert len(val) == 2
    assert val[0][0] == val[1][0]


def test_no_near_duplicates_of_the_real_train_list_straddle_its_validation_part(shared_dir: Path) -> None:
    root, spec = shared_dir / "data" / "NUDT-SIRST", get_spec("NUDT-SIRST")
    train = find_split(root, spec, "train").ids
    files = find_files(root, spec.images)
    groups = [{train[k] for k in group} for group in duplicate_groups(read_image(files[i]) for i in train)]
    assert len(groups) == 21

    def straddling(val: set[str]) -> int:
        return sum(0 < len(group & val) < len(group) for group in groups)

    assert straddling(set(hold_out(train, 0.1, 2727)[1])) == 5  # by chance alone
    val = set(find_split(root, spec, "val").ids)
    assert straddling(val) == 0
    assert len(val) == 66
