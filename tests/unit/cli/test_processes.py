"""Of several processes one tells of an error they share, and one that only another has is not lost."""

from itertools import pairwise

import pytest

from samspl.cli import processes
from samspl.cli.main import main
from samspl.errors import SamsplError


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(processes.time, "sleep", seconds.append)
    return seconds


def turn(monkeypatch: pytest.MonkeyPatch, waited: list[float], local_rank: int, error: Exception) -> float:
    """How long a process of two waits before it tells of an error."""

    def failing(args: object) -> int:
        raise error

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    monkeypatch.setattr("samspl.cli.info.run", failing)
    waited.clear()
    assert main(["info"]) == 1
    return sum(waited)


def test_those_speak_first_who_know_better(
    monkeypatch: pytest.MonkeyPatch, waited: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    known, echo = SamsplError("loss is nan"), ConnectionResetError(104, "Connection reset by peer")
    turns = [
        turn(monkeypatch, waited, rank, error)
        for rank, error in ((0, known), (1, known), (0, echo), (1, RuntimeError("x")))
    ]
    assert turns[0] == 0
    assert all(later - sooner >= 2 for sooner, later in pairwise(turns))
    assert capsys.readouterr().err.count("samspl: error: ") == 4  # who still runs at its turn speaks


def test_a_process_alone_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, waited: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert main(["info", "--threads", "0"]) == 2
    assert not waited


def test_interruption_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("samspl.cli.info.run", interrupted)
    for rank, told in (("0", 1), ("1", 0)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main(["info"]) == 130
        assert capsys.readouterr().err.count("interrupted") == told
