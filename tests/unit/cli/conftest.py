"""What the tests of the commands share."""

import dataclasses

import numpy as np
import pytest

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.imaging import write_image
from samspl.inference.detector import Detector
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    checkpoint = Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), Preprocess((110.0,), (40.0,)))
    write_checkpoint(path, checkpoint)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    # a threshold at which a network of made-up weights finds something
    threshold = float(np.quantile(Detector(path)(noise).prob, 0.9))
    write_checkpoint(path, dataclasses.replace(checkpoint, threshold=threshold))
    return path


@pytest.fixture
def frames(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "frames"
    write_image(folder / "a.png", rng.integers(0, 256, (40, 60), dtype=np.uint8))
    write_image(folder / "b.tiff", rng.integers(0, 60000, (33, 35), dtype=np.uint16))
    write_image(folder / "deeper" / "c.png", rng.integers(0, 256, (32, 32), dtype=np.uint8))
    (folder / "notes.txt").write_text("no image")
    return folder
