"""Controls that are moved while the network runs: what was set last counts."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs pip install 'samspl[ui]'")

from samspl.imaging import write_image
from samspl.web.page import Handlers
from samspl.web.sessions import MAX_LOOKS, Sessions
from tests.unit.web.server import spots

VISITOR = SimpleNamespace(session_hash="visitor")


class Detectors:
    """Of every name the same one, which lets something happen while it runs."""

    threshold = 0.5

    def __init__(self):
        self.meanwhile = lambda: None

    def get(self, name):
        return self

    def detect(self, image, name):
        self.meanwhile()
        return SimpleNamespace(prob=(image / 250).astype(np.float32))


@pytest.fixture
def detectors():
    return Detectors()


@pytest.fixture
def handlers(detectors):
    return Handlers(detectors, Sessions())


def upload(handlers, folder, threshold=0.5, stretch="Automatic"):
    """What an upload finds, with the controls as they were when it began."""
    path = folder / "token" / "hash" / "frame.png"
    write_image(path, spots())
    handlers.upload([{"path": str(path)}], "bright", threshold, stretch, VISITOR, None)
    return handlers.sessions.of("visitor")


def test_controls_moved_while_the_network_runs_are_those_that_count(handlers, detectors, tmp_path):
    detectors.meanwhile = lambda: (handlers.threshold(0.3, VISITOR), handlers.stretch("Cut 5 %", VISITOR))
    session = upload(handlers, tmp_path)
    assert (session.threshold, session.stretch) == (0.3, "Cut 5 %")


def test_controls_moved_before_an_upload_count_though_it_was_sent_earlier(handlers, tmp_path):
    upload(handlers, tmp_path)
    handlers.threshold(0.7, VISITOR)
    assert upload(handlers, tmp_path, threshold=0.5).threshold == 0.7


def test_other_visitors_have_controls_of_their_own(handlers, detectors, tmp_path):
    detectors.meanwhile = lambda: handlers.threshold(0.3, SimpleNamespace(session_hash="other"))
    assert upload(handlers, tmp_path, threshold=0.6).threshold == 0.6


def test_other_weights_bring_their_threshold_unless_it_is_moved_meanwhile(handlers, detectors, tmp_path):
    upload(handlers, tmp_path, threshold=0.4)
    _, shown = handlers.weights("dim", VISITOR)
    assert shown == handlers.sessions.of("visitor").threshold == 0.5
    detectors.meanwhile = lambda: handlers.threshold(0.9, VISITOR)
    _, shown = handlers.weights("bright", VISITOR)
    assert shown == handlers.sessions.of("visitor").threshold == 0.9


def test_who_leaves_takes_the_controls_along(handlers, tmp_path):
    handlers.threshold(0.3, VISITOR)
    handlers.leave(VISITOR)
    assert upload(handlers, tmp_path, threshold=0.6).threshold == 0.6


def test_controls_of_strangers_do_not_pile_up(handlers):
    for number in range(MAX_LOOKS + 5):
        handlers.threshold(0.3, SimpleNamespace(session_hash=str(number)))
    assert len(handlers.sessions._looks) == MAX_LOOKS
