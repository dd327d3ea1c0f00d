"""Checkpoint files: whole or not at all, two kept."""

from pathlib import Path

import pytest
import torch

from samspl.errors import CheckpointError
from samspl.training.checkpoints import AtomicCheckpointIO, find_resume, read_last
from tests.unit.training.tiny import tiny_config


def stored(number: int) -> dict:
    return {
        "samspl": {"identity": {}, "epoch": number, "batches": 0},
        "weight": torch.full((3,), float(number)),
    }


def number_in(path: Path) -> int:
    return read_last(path)["samspl"]["epoch"]


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    files = AtomicCheckpointIO()
    for number in range(4):
        files.save_checkpoint(stored(number), tmp_path / "last.ckpt")
    assert number_in(tmp_path / "last.ckpt") == 3
    assert number_in(tmp_path / "previous.ckpt") == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_does_not_replace_the_good_one_before(tmp_path: Path) -> None:
    before = AtomicCheckpointIO()
    for number in range(2):
        before.save_checkpoint(stored(number), tmp_path / "last.ckpt")
    (tmp_path / "last.ckpt").write_bytes(b"broken")
    after = AtomicCheckpointIO()
    after.load_checkpoint(tmp_path / "previous.ckpt")
    after.save_checkpoint(stored(5), tmp_path / "last.ckpt")
    assert number_in(tmp_path / "previous.ckpt") == 0
    assert number_in(tmp_path / "last.ckpt") == 5


def test_file_that_goes_on_is_kept_as_the_one_before(tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(stored(1), tmp_path / "last.ckpt")
    files = AtomicCheckpointIO()
    torch.testing.assert_close(files.load_checkpoint(tmp_path / "last.ckpt")["weight"], torch.ones(3))
    files.save_checkpoint(stored(2), tmp_path / "last.ckpt")
    assert number_in(tmp_path / "previous.ckpt") == 1


def test_folder_that_is_gone_and_place_that_is_none_are_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="no checkpoint could be written"):
        AtomicCheckpointIO().save_checkpoint(stored(1), tmp_path / "file" / "last.ckpt")


def test_without_resume_an_empty_folder_starts_anew(tmp_path: Path) -> None:
    assert find_resume(tiny_config(tmp_path / "mine", tmp_path / "run"), {}, 1) is None


def test_resume_says_where_the_run_stood_and_free_settings_may_change(tmp_path: Path) -> None:
    from samspl.training.checkpoints import Checkpoints

    config = tiny_config(tmp_path / "mine", tmp_path / "run", save_every=7)
    identity = Checkpoints(config, {"mine/train": "ab"}, 1).identity
    content = {"samspl": {"identity": identity, "epoch": 4, "batches": 2}}
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "run" / "last.ckpt")
    changed = tiny_config(tmp_path / "mine", tmp_path / "run", workers=3, save_every=1, resume="last")
    found = find_resume(changed, {"mine/train": "ab"}, 1)
    assert found is not None
    assert (found.epoch, found.batches) == (4, 2)
    with pytest.raises(ValueError, match=r"checksum of mine/train 'ab' \(now 'cd'\)"):
        find_resume(changed, {"mine/train": "cd"}, 1)
    with pytest.raises(ValueError, match=r"processes 1 \(now 2\)"):
        find_resume(changed, {"mine/train": "ab"}, 2)
