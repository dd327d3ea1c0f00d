"""What is kept for visitors: each their own, for as long as they stay."""

import numpy as np
import pytest

from samspl.targets import find_targets
from samspl.web import sessions
from samspl.web.sessions import Kept, Session, Sessions


def kept(prob, name="a.png"):
    prob = np.asarray(prob, np.float32)
    return Kept(name, (prob * 200).astype(np.uint8), prob)


def session(pixels=16):
    return Session([kept(np.zeros((1, pixels)))], "nano", 0.5, "Automatic")


def test_any_threshold_can_be_applied_to_what_is_kept():
    one = kept([[0.9, 0.0, 0.4, 0.0, 0.6]])
    assert [one.count(t) for t in (0.1, 0.5, 0.7, 0.95)] == [3, 2, 1, 0]
    assert one.mask(0.5).tolist() == [[True, False, False, False, True]]
    assert [round(t.score, 1) for t in one.targets(0.3)] == [0.9, 0.4, 0.6]


def test_of_very_many_targets_the_strongest_are_listed_in_scan_order(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_LISTED", 2)
    one = kept([[0.6, 0, 0.9, 0.2, 0, 0.7, 0, 0.8]])
    listed, total = one.listed(0.5)
    assert total == 4
    assert [t.centroid_xy[0] for t in listed] == [2.0, 7.0]
    assert [round(t.score, 1) for t in listed] == [0.9, 0.8]


def test_a_listed_image_of_few_targets_has_exactly_those_of_the_mask():
    rng = np.random.default_rng(0)
    one = kept(rng.random((20, 30)) ** 4)
    listed, total = one.listed(0.7)
    assert listed == find_targets(one.prob > 0.7, one.prob, one.image)
    assert total == len(listed) > 3


def test_visitors_have_addresses_of_their_own_and_leave_nothing():
    store = Sessions()
    first, second = session(), session()
    store.open("anna", first)
    store.open("bert", second)
    assert first.token != second.token
    assert len(first.token) >= 32
    assert store.by_token(first.token) is first
    assert store.of("bert") is second
    store.close("anna")
    assert store.by_token(first.token) is None
    assert store.of("anna") is None
    assert store.by_token(second.token) is second
    assert store.by_token("é") is None
    store.close("nobody")
    assert [store.was_forgotten(v) for v in ("anna", "bert", "nobody")] == [True, False, False]
    store.open("anna", session())
    assert not store.was_forgotten("anna")


def test_new_images_take_the_place_of_those_before():
    store = Sessions()
    old, new = session(), session()
    store.open("anna", old)
    store.open("anna", new)
    assert store.by_token(old.token) is None
    assert store.of("anna") is new
    assert len(store) == 1


def test_who_is_away_for_long_is_forgotten(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(sessions.time, "monotonic", lambda: clock[0])
    store = Sessions()
    store.open("anna", session())
    clock[0] += 3500
    store.open("bert", session())
    assert store.of("anna") is not None
    clock[0] += 3500
    assert store.of("anna") is not None  # was here in between
    clock[0] += 200
    assert store.of("bert") is None
    assert store.was_forgotten("bert")
    assert len(store) == 1


def test_full_memory_forgets_who_was_away_longest(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_HELD_PIXELS", 100)
    store = Sessions()
    for visitor in ("anna", "bert"):
        store.open(visitor, session(45))
    store.of("anna")
    store.open("carl", session(45))
    assert [store.of(v) is not None for v in ("anna", "bert", "carl")] == [True, False, True]
    store.open("dora", session(500))  # larger than all memory: the newest is kept
    assert [store.of(v) is not None for v in ("anna", "carl", "dora")] == [False, False, True]


def test_threshold_out_of_range_is_refused():
    with pytest.raises(ValueError, match="threshold is 1.0"):
        kept([[0.5]]).mask(1.0)
