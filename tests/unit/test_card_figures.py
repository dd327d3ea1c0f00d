"""`tools/card_figures.py`: the measured parts of the model card."""

import numpy as np
import pytest

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.inference.detector import Detector
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW
from tests.unit.training.tiny import write_images

card_figures = pytest.importorskip("tools.card_figures", reason="needs the project's folder")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    write_checkpoint(
        path, Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), Preprocess(normalise="frame"))
    )
    return path


def test_tables_hold_what_the_evaluation_found(weights, tmp_path):
    data = write_images(tmp_path / "mine", 20)
    ((_, result),) = card_figures.score_splits(str(weights), [(str(data), "val")], str(tmp_path)).items()
    strict = result.profiles["strict"].scores
    lines = card_figures.main_table({("mine", "val"): result}).splitlines()
    assert len(lines) == 2 + len(result.profiles)
    (row,) = (line for line in lines if "`strict`" in line)
    assert row.startswith(f"| mine, validation ({strict.images}) |")
    assert f"| {100 * strict.iou:.2f} [" in row
    assert f"({strict.hits}/{strict.targets})" in row
    cells = card_figures.scr_table({("mine", "val"): result}).splitlines()[-1].split("|")[2:-1]
    known = int(np.isfinite(result.targets.scr).sum())
    assert sum(int(cell.split("/")[1]) for cell in cells) == known > 0


def test_false_alarms_on_empty_frames_are_counted(weights, monkeypatch):
    monkeypatch.setattr(card_figures, "EMPTY_FRAMES", 3)
    detector = Detector(weights, device="cpu")
    detector.threshold = 1 - 1e-6
    assert (
        "3 drawn scenes of 256 x 256: 0 false alarms, in 0 of the frames, Fa 0e-6"
        in card_figures.empty_line(detector)
    )
    detector.threshold = 1e-6  # all is target
    assert "3 false alarms, in 3 of the frames, Fa 1000000e-6" in card_figures.empty_line(detector)


def test_blocks_go_to_their_places_and_nothing_else_changes():
    card = "a\n<!-- measured: x -->\n\nold\nold\n\n<!-- end -->\nb\n<!-- measured: y -->\n\n1\n\n<!-- end -->\nc\n"
    filled = card_figures.fill(card, {"x": r"new \1"})
    assert filled == card.replace("old\nold", r"new \1")
    with pytest.raises(ValueError, match="no place for 'z'"):
        card_figures.fill(card, {"z": ""})


def test_the_card_has_all_places(project_dir):
    card = (project_dir / "docs/nano.md").read_text()
    card_figures.fill(card, dict.fromkeys(("figures", "scr", "empty", "checks"), ""))
