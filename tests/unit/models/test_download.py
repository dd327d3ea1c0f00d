"""Fetching from a local server: a good file, a wrong one, a cut connection, no server, no network allowed."""

import hashlib
import http.server
import threading
from collections.abc import Iterator

import pytest

from samspl.errors import CheckpointError, ConfigError
from samspl.models import download
from samspl.models.download import SamCheckpoint, cache_dir, fetch_sam_weights

CONTENT = bytes(range(256)) * 400
NAME = "sam2.1_hiera_tiny"
FILE = f"{NAME}.pt"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT, or part of it, and counts requests."""

    mode = "good"
    requests = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests += 1
        if self.server.mode == "absent" or self.path != f"/{FILE}":
            self.send_error(404)
            return
        body = CONTENT[::-1] if self.server.mode == "wrong" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:5000] if self.server.mode == "cut" else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SAMSPL_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("SAMSPL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SAMSPL_OFFLINE", raising=False)
    known = SamCheckpoint(FILE, hashlib.sha256(CONTENT).hexdigest(), "tiny")
    monkeypatch.setitem(download.SAM_CHECKPOINTS, NAME, known)
    yield server
    server.shutdown()
    server.server_close()


def left_in_cache() -> list[str]:
    return sorted(p.name for p in cache_dir().iterdir()) if cache_dir().exists() else []


def test_good_file_gets_its_name_and_is_not_fetched_twice(server):
    path = fetch_sam_weights(NAME)
    assert path == cache_dir() / FILE
    assert path.read_bytes() == CONTENT
    assert fetch_sam_weights(f"{NAME}.pt") == path
    assert server.requests == 1
    assert left_in_cache() == [FILE]


def test_progress_shows_on_standard_error(server, capfd):
    fetch_sam_weights(NAME, progress=True)
    assert "100%" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("wrong", "is not the published file .*was deleted"),
        ("cut", "connection was cut|not the published file|no connection"),
        ("absent", "the server answered 404"),
    ],
)
def test_bad_download_leaves_nothing_and_says_what_to_do(server, mode, words):
    server.mode = mode
    with pytest.raises(CheckpointError, match=words) as caught:
        fetch_sam_weights(NAME)
    assert str(cache_dir() / FILE) in str(caught.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert left_in_cache() == []


def test_no_server_is_a_sentence(server, monkeypatch):
    monkeypatch.setenv("SAMSPL_WEIGHTS_URL", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match=r"http://127\.0\.0\.1:9/.* failed \(no connection"):
        fetch_sam_weights(NAME)
    assert left_in_cache() == []


def test_damaged_file_in_the_cache_is_replaced(server):
    path = fetch_sam_weights(NAME)
    path.write_bytes(b"half")
    assert fetch_sam_weights(NAME).read_bytes() == CONTENT


def test_offline_fetches_nothing_but_uses_what_is_there(server, monkeypatch):
    monkeypatch.setenv("SAMSPL_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="SAMSPL_OFFLINE is set.* put it at"):
        fetch_sam_weights(NAME)
    assert server.requests == 0
    cache_dir().mkdir(parents=True)
    (cache_dir() / FILE).write_bytes(CONTENT)
    assert fetch_sam_weights(NAME).read_bytes() == CONTENT
    (cache_dir() / FILE).write_bytes(b"other")
    with pytest.raises(CheckpointError, match="is not the published file"):
        fetch_sam_weights(NAME)
    assert server.requests == 0


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="did you mean 'sam2.1_hiera_large'"):
        fetch_sam_weights("sam2.1_hiera_larg")


def test_published_sums_are_those_of_the_release():
    assert {name: c.sha256[:8] for name, c in download.SAM_CHECKPOINTS.items()} == {
        "sam2.1_hiera_tiny": "7402e0d8",
        "sam2.1_hiera_small": "6d1aa6f3",
        "sam2.1_hiera_base_plus": "a2345aed",
        "sam2.1_hiera_large": "2647878d",
    }


def test_meta_is_the_default_server(monkeypatch):
    monkeypatch.delenv("SAMSPL_WEIGHTS_URL", raising=False)
    assert download.base_url() == "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"


@pytest.mark.parametrize("url", ["127.0.0.1:9/", "file:///tmp/"])
def test_address_that_is_none_of_the_web_is_refused(monkeypatch, url):
    monkeypatch.setenv("SAMSPL_WEIGHTS_URL", url)
    with pytest.raises(ConfigError, match="SAMSPL_WEIGHTS_URL is .* expected http"):
        fetch_sam_weights(NAME)
