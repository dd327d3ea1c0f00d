"""`tools/photo_frames.py`: frames without targets of photographs."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.data.dataset import open_dataset

photo_frames = pytest.importorskip("tools.photo_frames", reason="needs the project's folder")


def test_photographs_become_a_data_set_without_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (600, 900, 3), np.uint8)).save(tmp_path / "large.png")
    small = np.zeros((200, 250, 4), np.uint8)  # black where it is opaque
    small[:100, :, 3] = 255
    Image.fromarray(small).save(tmp_path / "small.png")
    listed = tmp_path / "photographs.txt"
    listed.write_text("# from nowhere\nlarge.png\n\nsmall.png  # half transparent\n")
    out = tmp_path / "Photographs"
    monkeypatch.setattr(sys, "argv", ["photo_frames.py", str(tmp_path), str(listed), "--out", str(out)])
    photo_frames.main()
    assert "6 frames of 2 photographs" in capsys.readouterr().out

    with pytest.raises(SystemExit):  # nothing is written over
        photo_frames.main()
    assert "exists" in capsys.readouterr().err

    dataset = open_dataset(str(out), out.parent, "train")
    pairs = {pair.id: pair for pair in (dataset.pair(index) for index in range(len(dataset)))}
    assert not any(pair.mask.any() for pair in pairs.values())
    sizes = {name: pair.image.shape for name, pair in pairs.items()}
    assert sizes == {
        "000_0": (300, 450),
        "000_1": (300, 450),
        "000_2": (540, 810),
        "000_3": (540, 810),
        "001_0": (200, 250),  # never enlarged
        "001_1": (200, 250),
    }
    for plain, inverted in (("000_0", "000_1"), ("000_2", "000_3"), ("001_0", "001_1")):
        np.testing.assert_array_equal(pairs[plain].image, 255 - pairs[inverted].image)
    assert pairs["001_0"].image[50, 0] == 0
    assert pairs["001_0"].image[150, 0] == 128


def test_frames_of_a_photograph_between_the_sizes_are_of_one_size() -> None:
    frames = photo_frames.frames_of(Image.new("L", (500, 350)))
    assert [frame.shape for frame in frames] == [(350, 500)] * 2


def test_photographs_that_are_missing_are_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (40, 40)).save(tmp_path / "there.png")
    listed = tmp_path / "photographs.txt"
    listed.write_text("there.png\nelsewhere.png\n")
    out = tmp_path / "Photographs"
    monkeypatch.setattr(sys, "argv", ["photo_frames.py", str(tmp_path), str(listed), "--out", str(out)])
    with pytest.raises(SystemExit):
        photo_frames.main()
    assert "1 of 2 photographs are not in" in capsys.readouterr().err
    assert not out.exists()
