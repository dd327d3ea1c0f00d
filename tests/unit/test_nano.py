"""The weights in the package: what they are, and what they find."""

import hashlib
import re

import numpy as np
import pytest

import samspl
from samspl.assets import bundled_weights
from samspl.data.dataset import open_dataset
from samspl.inference.detector import Detector
from samspl.metrics import score
from samspl.models.variants import VARIANTS
from samspl.web.scenes import RECIPES, draw

FILE = bundled_weights()["nano"]


@pytest.fixture
def card(project_dir) -> str:
    return (project_dir / "docs/nano.md").read_text()


@pytest.fixture(scope="module")
def detector() -> Detector:
    return samspl.Detector("nano", device="cpu")


def test_file_is_the_one_that_the_card_describes(card):
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in card


def test_network_is_the_variant_within_its_budget(card):
    model = samspl.load_model("nano")
    count = sum(p.numel() for p in model.parameters())
    assert model.config == VARIANTS["nano"]
    assert count <= 2_000_000
    assert f"{count:,}" in card
    assert FILE.stat().st_size <= 4_000_000


def test_sample_scenes_give_the_figures_of_the_card(detector, card):
    scenes = [draw(recipe) for recipe in RECIPES]
    found = score(
        [detector(scene.image).mask for scene in scenes], [scene.mask for scene in scenes], profile="strict"
    )
    line = re.search(r"sample scenes.*?(\d+)/(\d+) targets, (\d+) false pixels", card)
    assert line is not None
    hits, targets, false_pixels = map(int, line.groups())
    assert (found.hits, found.targets) == (hits, targets)
    pixels = sum(scene.mask.size for scene in scenes)
    assert found.fa * pixels == pytest.approx(false_pixels, abs=3)


def test_a_few_real_images_give_their_figures(detector, card, shared_dir):
    """The first eight of the field's NUAA-SIRST test list."""
    dataset = open_dataset("NUAA-SIRST", shared_dir / "data", "test")
    pairs = [dataset.pair(index) for index in range(8)]
    found = score([detector(p.image).mask for p in pairs], [p.mask for p in pairs], profile="strict")
    line = re.search(r"first eight.*?(\d+)/(\d+) targets, IoU ([\d.]+) %", card)
    assert line is not None
    assert (found.hits, found.targets) == (int(line[1]), int(line[2]))
    assert 100 * found.iou == pytest.approx(float(line[3]), abs=0.5)


def test_gain_offset_and_depth_do_not_matter(detector):
    frame = draw(RECIPES[0]).image
    assert frame.dtype == np.uint8
    plain = detector(frame).mask
    for same in (frame.astype(np.uint16) * 256, frame.astype(np.float32), frame * np.float32(0.01) - 40):
        np.testing.assert_array_equal(detector(same).mask, plain)


def test_a_constant_frame_holds_nothing(detector):
    assert not detector(np.full((200, 300), 7, np.uint16)).targets
