"""Which weights the page offers, and that nothing else can be named."""

import shutil

import pytest

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.errors import CheckpointError, ConfigError
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from samspl.web import weights
from samspl.web.weights import Detectors, find_offered
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "best.safetensors"
    write_checkpoint(path, Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), Preprocess(), threshold=0.3))
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, with an empty cache, and no bundled weights."""
    monkeypatch.setenv("SAMSPL_CACHE", str(tmp_path / "cache"))
    bundled = tmp_path / "assets"
    monkeypatch.setattr(
        weights, "bundled_weights", lambda: {p.stem: p for p in bundled.glob("*.safetensors")}
    )
    for name in ("cache", "assets", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def put(best, *places):
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(best, place)


def test_bundled_cached_and_trained_weights_are_offered_under_short_names(folder, best):
    put(
        best,
        folder.parent / "assets" / "nano.safetensors",
        folder.parent / "cache" / "mine.safetensors",
    )
    put(best, folder / "runs" / "train" / "NUDT-SIRST" / "best.safetensors", folder / "best.safetensors")
    assert list(find_offered(None, folder)) == ["nano", "mine.safetensors", "work", "runs/train/NUDT-SIRST"]


def test_given_weights_come_first_and_once(folder, best):
    put(best, folder.parent / "assets" / "nano.safetensors", folder / "runs" / "a" / "best.safetensors")
    assert list(find_offered(str(folder / "runs" / "a"), folder)) == ["a", "nano"]
    assert list(find_offered("runs/a/best.safetensors", folder)) == ["best.safetensors", "nano"]
    assert list(find_offered("nano", folder)) == ["nano", "runs/a"]
    assert list(find_offered("runs", folder)) == ["a", "nano"]


def test_files_that_detect_nothing_are_not_offered(folder, best):
    put(best, folder / "good" / "best.safetensors", folder / ".venv" / "best.safetensors")
    (folder / "broken").mkdir()
    (folder / "broken" / "best.safetensors").write_bytes(b"no weights")
    put(best, folder.joinpath(*"abcdef") / "best.safetensors")  # too deep
    no_preprocessing = Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict())
    write_checkpoint(folder / "unknown" / "best.safetensors", no_preprocessing)
    (folder.parent / "cache" / "sam2.1_hiera_tiny.pt").write_bytes(b"of SAM 2")
    assert list(find_offered(None, folder)) == ["good"]


def test_two_of_a_name_are_told_apart(folder, best):
    other = folder.parent / "elsewhere" / "a" / "best.safetensors"
    put(best, other, folder / "a" / "best.safetensors")
    offered = find_offered(str(other.parent), folder)
    assert list(offered) == ["a", "a (2)"]
    assert offered["a"] == str(other.parent)


def test_no_weights_at_all_is_a_sentence(folder):
    with pytest.raises(ConfigError, match="no weights were found.*--weights"):
        find_offered(None, folder)
    with pytest.raises(ConfigError, match=r"holds no best\.safetensors.*give a weights file"):
        find_offered(str(folder), folder)


def test_search_of_a_huge_folder_ends(folder, best, monkeypatch, caplog):
    monkeypatch.setattr(weights, "MAX_FOLDERS", 3)
    put(best, folder / "a" / "best.safetensors", folder / "z" / "best.safetensors")
    for name in "bcdef":
        (folder / name).mkdir()
    with caplog.at_level("WARNING", "samspl.web.weights"):
        assert list(find_offered(None, folder)) == ["a"]


def test_detectors_are_loaded_when_asked_for_and_only_some_are_kept(folder, best):
    put(best, *(folder / name / "best.safetensors" for name in "abc"))
    detectors = Detectors(find_offered(None, folder), "cpu")
    first = detectors.get("a")
    assert first.threshold == 0.3
    assert detectors.get("a") is first
    detectors.get("b")
    assert detectors.get("a") is first
    detectors.get("c")  # b was used longest ago
    assert detectors.get("a") is first
    assert list(detectors._loaded) == ["c", "a"]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../best.safetensors", "a/best.safetensors", "", None, 3, ["a"], {"a": 1}]
)
def test_only_names_of_the_list_are_taken(folder, best, name):
    put(best, folder / "a" / "best.safetensors")
    detectors = Detectors(find_offered(None, folder), "cpu")
    with pytest.raises(ConfigError, match="are not offered; known: a"):
        detectors.get(name)
    assert not detectors._loaded


def test_weights_that_cannot_be_used_say_so(folder):
    (folder / "w.safetensors").write_bytes(b"no weights")
    detectors = Detectors(find_offered("w.safetensors", folder), "cpu")
    with pytest.raises(CheckpointError, match=r"w\.safetensors"):
        detectors.get("w.safetensors")
