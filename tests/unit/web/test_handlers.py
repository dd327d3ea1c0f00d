"""Controls that are moved while the network runs: what was set last counts."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs pip install 'samspl[ui]'")

from samspl.errors import ImageError
from samspl.imaging import write_image
from samspl.web.page import Handlers
from samspl.web.sessions import MAX_LOOKS, Kept, Sessions
from tests.unit.web.server import spots

VISITOR = SimpleNamespace(session_hash="visitor")
SECOND = SimpleNamespace(_data={"index": 1})


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
    assert handlers.choose_weights("dim", VISITOR) == 0.5
    _, shown = handlers.weights("dim", VISITOR)
    assert shown == handlers.sessions.of("visitor").threshold == 0.5
    handlers.choose_weights("bright", VISITOR)
    handlers.threshold(0.3, VISITOR)  # before they run: others may be waiting
    _, shown = handlers.weights("bright", VISITOR)
    assert shown == handlers.sessions.of("visitor").threshold == 0.3
    detectors.meanwhile = lambda: handlers.threshold(0.9, VISITOR)
    handlers.choose_weights("bright", VISITOR)
    _, shown = handlers.weights("bright", VISITOR)
    assert shown == handlers.sessions.of("visitor").threshold == 0.9


def test_image_that_is_turned_to_while_other_weights_run_stays(handlers, detectors, tmp_path):
    paths = [tmp_path / "token" / str(number) / f"{number}.png" for number in range(3)]
    for path in paths:
        write_image(path, spots())
    handlers.upload([{"path": str(path)} for path in paths], "bright", 0.5, "Automatic", VISITOR, None)
    third = SimpleNamespace(_data={"index": 2})
    detectors.meanwhile = lambda: handlers.pick(third, VISITOR)
    view, _ = handlers.weights("dim", VISITOR)
    assert (view["index"], view["image"]["name"]) == (2, "2.png")


def test_results_before_keep_their_threshold_where_other_weights_find_nothing_usable(
    handlers, detectors, tmp_path
):
    upload(handlers, tmp_path, threshold=0.4)

    def fail():
        raise ImageError("frame.png: values are too large")

    detectors.meanwhile = fail
    assert handlers.choose_weights("dim", VISITOR) == 0.5
    view, shown = handlers.weights("dim", VISITOR)
    assert (view["threshold"], shown, handlers.sessions.looks_of("visitor").threshold) == (0.4, 0.4, 0.4)
    assert view["problems"] == ["frame.png: values are too large"]


def test_nothing_is_kept_of_who_leaves_while_the_network_runs(handlers, detectors, tmp_path):
    detectors.meanwhile = lambda: handlers.leave(VISITOR)
    assert upload(handlers, tmp_path) is None
    assert len(handlers.sessions) == 0
    detectors.meanwhile = lambda: None
    assert upload(handlers, tmp_path) is not None  # who comes back is welcome


def test_view_never_mixes_two_images(handlers, tmp_path, monkeypatch):
    paths = [tmp_path / "token" / str(number) / f"{number}.png" for number in range(2)]
    for path in paths:
        write_image(path, spots())
    handlers.upload([{"path": str(path)} for path in paths], "bright", 0.5, "Automatic", VISITOR, None)
    listed, turned = Kept.listed, threading.Thread(target=handlers.pick, args=(SECOND, VISITOR))

    def slow(kept, threshold):
        if not turned.ident:
            turned.start()
            turned.join(0.2)  # it must wait; without the lock it would be done by now
        return listed(kept, threshold)

    monkeypatch.setattr(Kept, "listed", slow)
    view = handlers.threshold(0.3, VISITOR)
    turned.join()
    assert (view["index"], view["image"]["name"]) == (0, "0.png")
    assert "/0/image.png" in view["image"]["url"]
    assert handlers.sessions.of("visitor").index == 1


def test_who_leaves_takes_the_controls_along(handlers, tmp_path):
    handlers.threshold(0.3, VISITOR)
    handlers.leave(VISITOR)
    assert upload(handlers, tmp_path, threshold=0.6).threshold == 0.6


def test_controls_of_strangers_do_not_pile_up(handlers):
    for number in range(MAX_LOOKS + 5):
        handlers.threshold(0.3, SimpleNamespace(session_hash=str(number)))
    assert len(handlers.sessions._looks) == MAX_LOOKS
