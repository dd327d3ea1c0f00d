"""`samspl serve`: every way in which it cannot start is a sentence."""

import socket
import sys

import pytest

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from samspl.web import weights as offered
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory without any weights; nothing is bundled, nothing cached."""
    monkeypatch.setenv("SAMSPL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(offered, "bundled_weights", dict)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def weights(folder):
    path = folder / "w.safetensors"
    write_checkpoint(path, Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), Preprocess()))
    return str(path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--max-upload-mb", "0"], "--max-upload-mb is 0"),
        (["--max-upload-mb=-3"], "--max-upload-mb is -3"),
        (["--port", "70000", "--weights", "W"], "--port is 70000; expected 0 to 65535"),
        (["--host", "192.0.2.1", "--weights", "W"], "--host is '192.0.2.1'"),
        (["--host", "no such host", "--weights", "W"], "--host is 'no such host'"),
        (["--port", "many"], "--port is 'many'; expected a whole number"),
        ([], "no weights were found"),
    ],
)
def test_wrong_value_is_a_sentence(folder, weights, capsys, words, sentence):
    assert main(["serve", *(weights if word == "W" else word for word in words)]) == 2
    assert sentence in capsys.readouterr().err


def test_port_that_is_taken_is_a_sentence(weights, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port), "--weights", weights]) == 1
    words = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is taken" in words
    assert "choose another with --port" in words


def test_weights_that_cannot_be_used_are_a_sentence(folder, capsys):
    pytest.importorskip("gradio", reason="needs pip install 'samspl[ui]'")
    (folder / "bad.safetensors").write_bytes(b"no weights")
    assert main(["serve", "--port", "0", "--weights", "bad.safetensors"]) == 1
    assert "bad.safetensors" in capsys.readouterr().err
    assert main(["serve", "--port", "0", "--weights", "absent.safetensors"]) == 2
    assert "absent.safetensors" in capsys.readouterr().err


def test_missing_extra_is_a_sentence(weights, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["serve", "--port", "0", "--weights", weights]) == 2
    assert "pip install 'samspl[ui]'" in capsys.readouterr().err


def test_help_needs_no_extra_and_has_an_example(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["serve", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "samspl serve --weights" in words
    assert "127.0.0.1" in words
