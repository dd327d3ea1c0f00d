"""The server: visitors are kept apart and forgotten, and nothing is asked of other machines."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW
from tests.unit.web.server import call, encoded, found, send, spots

pytest.importorskip("gradio", reason="needs pip install 'samspl[ui]'")
import httpx  # comes with gradio

from samspl.web.app import _tidy


def test_equal_files_of_two_visitors_lie_apart_where_nobody_can_guess(http):
    content = encoded(spots())
    (first,), (second,) = send(http, ("a.png", content)), send(http, ("a.png", content))
    assert first["path"] != second["path"]
    assert len(first["path"].split("/")[-3]) >= 32
    for file in (first, second):
        assert call(http, [file], None, None)[1][0]["problems"] == []
    data = call(http, [first], None, None)[1]  # read, so gone
    assert "a.png is not here any more" in data[0]["problems"][0]


def test_names_with_paths_stay_in_their_folder(http, page):
    files = send(http, ("../../../evil.png", encoded(spots())))
    assert files[0]["path"].startswith(str(page.uploads))
    assert ".." not in files[0]["path"]
    assert call(http, files, None, None)[1][0]["images"][0]["file"] == "evil.png"


def test_uploads_that_nobody_asked_about_are_deleted(http, page):
    (file,) = send(http, ("a.png", encoded(spots())))
    folder = page.uploads / file["path"].removeprefix(str(page.uploads)).split("/")[1]
    long_ago = time.time() - 7200
    os.utime(folder, (long_ago, long_ago))
    send(http, ("b.png", encoded(spots())))
    assert not folder.exists()


def test_idle_visitors_and_stray_uploads_are_forgotten_without_anybody_coming(http, page, monkeypatch):
    result = found(http, ("a.png", encoded(spots())))
    (stray,) = send(http, ("b.png", encoded(spots())))
    assert len(page.app.state.sessions) > 0
    monkeypatch.setattr("samspl.web.sessions.IDLE_S", -1.0)
    monkeypatch.setattr("samspl.web.uploads.STRAY_S", -1.0)
    monkeypatch.setattr("samspl.web.app.TIDY_S", 0.01)
    is_over = threading.Event()
    tidying = threading.Thread(target=_tidy, args=(page.app, is_over))
    tidying.start()
    for _ in range(200):
        if not len(page.app.state.sessions) and not Path(stray["path"]).exists():
            break
        time.sleep(0.05)
    is_over.set()
    tidying.join(10)
    assert not tidying.is_alive()
    assert not Path(stray["path"]).exists()
    assert http.get(result["images"][0]["mask"]).status_code == 404


def test_results_are_gone_when_their_visitor_leaves(http, page):
    body = {"data": [send(http, ("a.png", encoded(spots()))), None, None], "session_hash": "visitor1"}
    with http.stream("GET", "/gradio_api/heartbeat/visitor1") as heartbeat:
        lines = heartbeat.iter_lines()  # kept: the stream ends with it
        next(lines)
        started = http.post("/gradio_api/call/detect", json=body).json()["event_id"]
        text = http.get(f"/gradio_api/call/detect/{started}").text
        address = json.loads(text.strip().splitlines()[-1].removeprefix("data: "))[0]["images"][0]["mask"]
        assert http.get(address).status_code == 200
    for _ in range(100):
        if http.get(address).status_code == 404:
            break
        time.sleep(0.1)
    answer = http.get(address)
    assert answer.status_code == 404
    assert "no longer kept" in answer.text


def test_answers_tell_the_browser_to_stay_here(http):
    answer = http.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "fonts.googleapis" not in answer.text
    config = http.get("/config").json()
    assert config["analytics_enabled"] is False
    assert config["stylesheets"] == []


def test_samples_are_shown(http):
    picture = np.asarray(Image.open(io.BytesIO(http.get("/scenes/sea16.png").content)))
    assert picture.shape == (256, 320)
    assert picture.dtype == np.uint8
    assert http.get("/scenes/none.png").status_code == 404


WATCHED = """
import socket, sys
def here(host):
    if host not in ("127.0.0.1", "::1", "localhost", None):
        print("asked for", host, file=sys.stderr, flush=True)
look_up, connect = socket.getaddrinfo, socket.socket.connect
def watched_look_up(host, *args, **kwargs):
    here(host)
    return look_up(host, *args, **kwargs)
def watched_connect(self, address):
    here(address[0] if isinstance(address, tuple) else None)
    return connect(self, address)
socket.getaddrinfo, socket.socket.connect = watched_look_up, watched_connect
from samspl.cli.main import main
sys.exit(main(["serve", "--port", "0", "--weights", sys.argv[1], "--threads", "1", "--device", "cpu"]))
"""


@pytest.mark.parametrize(("end", "status"), [(signal.SIGTERM, 128 + 15), (signal.SIGINT, 130)])
def test_command_serves_asks_no_other_machine_and_leaves_nothing_behind(tmp_path, end, status):
    weights = tmp_path / "w.safetensors"
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(weights, Checkpoint(NARROW, state, Preprocess((110.0,), (40.0,))))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "SAMSPL_CACHE": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(weights)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = process.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        (folder,) = [p for p in temporary.iterdir() if p.name.startswith("samspl-serve-")]
        assert folder.stat().st_mode & 0o077 == 0
        with httpx.Client(base_url=address, timeout=60) as http:
            assert http.get("/").status_code == 200
            result = found(http, ("a.png", encoded(spots(shape=(64, 64)))))
            assert result["problems"] == []
            assert result["images"][0]["size"] == [64, 64]
    finally:
        process.send_signal(end)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert "asked for" not in errors
    assert "interrupted" not in errors
    assert "Traceback" not in errors
    assert not folder.exists()
