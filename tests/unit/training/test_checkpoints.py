"""Checkpoint files: whole or not at all, two kept."""

from pathlib import Path

import pytest
import torch

from samspl.errors import CheckpointError, ConfigError
from samspl.training.checkpoints import (
    AtomicCheckpointIO,
    Checkpoints,
    Resume,
    check_same_run,
    find_resume,
    read_last,
)
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
    assert find_resume(tiny_config(tmp_path / "mine", tmp_path / "run")) is None


def test_resume_says_where_the_run_stood_and_free_settings_may_change(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "mine", tmp_path / "run", save_every=7)
    identity = Checkpoints(config, {"mine/train": "ab"}, 1, "frame").identity
    content = {"samspl": {"identity": identity, "epoch": 4, "batches": 2, "normalise": "frame"}}
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "run" / "last.ckpt")
    changed = tiny_config(tmp_path / "mine", tmp_path / "run", workers=3, save_every=1, resume="last")
    found = find_resume(changed)
    assert found is not None
    assert (found.epoch, found.batches, found.normalise) == (4, 2, "frame")
    check_same_run(found, changed, {"mine/train": "ab"}, 1)
    with pytest.raises(ConfigError, match=r"checksum of mine/train 'ab' \(now 'cd'\)"):
        check_same_run(found, changed, {"mine/train": "cd"}, 1)
    with pytest.raises(ConfigError, match=r"processes 1 \(now 2\)"):
        check_same_run(found, changed, {"mine/train": "ab"}, 2)


def test_settings_younger_than_a_checkpoint_had_their_defaults_effect(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "mine", tmp_path / "run", channels_last=True)
    identity = Checkpoints(config, {}, 1, "fixed").identity
    older = {name: value for name, value in identity.items() if name not in ("native_size", "augmentation")}
    resume = Resume(tmp_path / "last.ckpt", 0, 1, None, {**older, "channels_last": False})
    check_same_run(resume, config, {}, 1)
    changed = tiny_config(tmp_path / "mine", tmp_path / "run", native_size=True)
    with pytest.raises(ConfigError, match=r"with native_size False \(now True\);"):
        check_same_run(resume, changed, {}, 1)


def test_folder_of_another_run_is_not_gone_on_in(tmp_path: Path) -> None:
    content = {"samspl": {"identity": {}, "epoch": 0, "batches": 1}}
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "one" / "last.ckpt")
    file = str(tmp_path / "one" / "last.ckpt")
    assert find_resume(tiny_config(tmp_path / "mine", tmp_path / "two", resume=file)) is not None
    assert find_resume(tiny_config(tmp_path / "mine", tmp_path / "one", resume=file)) is not None
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "best.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="two holds another run than .*one/last.ckpt"):
        find_resume(tiny_config(tmp_path / "mine", tmp_path / "two", resume=file))


def test_weights_without_checkpoint_are_not_overwritten_and_resuming_is_not_advised(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_bytes(b"")  # the disk was full at the first checkpoint
    with pytest.raises(
        ConfigError, match="holds best.safetensors of a run that cannot be gone on with; move"
    ):
        find_resume(tiny_config(tmp_path / "mine", tmp_path))
