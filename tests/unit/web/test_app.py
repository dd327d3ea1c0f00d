"""The server: its HTTP API, what it refuses, and that visitors are kept apart."""

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.draw import draw_targets
from samspl.imaging import write_image
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from samspl.targets import find_targets
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW
from tests.unit.web.server import FakeDetector, served, spots

pytest.importorskip("gradio", reason="needs pip install 'samspl[ui]'")
import httpx  # comes with gradio

from samspl.web.app import _tidy


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with served(tmp_path_factory.mktemp("uploads")) as one:
        yield one


@pytest.fixture
def http(page):
    with httpx.Client(base_url=page.url, timeout=30) as client:
        yield client


def encoded(array, suffix="png"):
    content = io.BytesIO()
    Image.fromarray(array).save(content, suffix.upper())
    return content.getvalue()


def send(http, *files):
    """Upload files given as name and content; what came of them as `/detect` takes it."""
    answer = http.post("/gradio_api/upload", files=[("files", file) for file in files])
    assert answer.status_code == 200, answer.text
    return [
        {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        for path, (name, _) in zip(answer.json(), files, strict=True)
    ]


def call(http, *data):
    """`/detect` as with curl: the event's kind and data."""
    started = http.post("/gradio_api/call/detect", json={"data": list(data)})
    assert started.status_code == 200, started.text
    text = http.get(f"/gradio_api/call/detect/{started.json()['event_id']}").text
    event, content = text.strip().splitlines()[-2:]
    return event.removeprefix("event: "), json.loads(content.removeprefix("data: "))


def found(http, *files, threshold=None, weights=None):
    event, data = call(http, send(http, *files), threshold, weights)
    assert event == "complete", data
    return data[0]


def test_api_gives_targets_and_files(http, page):
    image = spots(np.uint16)
    result = found(http, ("deep.png", encoded(image)), threshold=0.5)
    assert result["problems"] == []
    assert (result["weights"], result["threshold"]) == ("bright", 0.5)
    prob = (image / 62500).astype(np.float32)
    expected = find_targets(prob > 0.5, prob, image)
    (entry,) = result["images"]
    assert (entry["file"], entry["size"]) == ("deep.png", [60, 40])
    assert entry["targets"] == [json.loads(json.dumps(t.to_dict())) for t in expected]
    assert len(expected) == 2

    mask = http.get(entry["mask"])
    assert mask.headers["content-disposition"] == "attachment; filename*=UTF-8''deep_mask.png"
    assert "no-store" in mask.headers["cache-control"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask.content))) == 255, prob > 0.5)
    overlay = np.asarray(Image.open(io.BytesIO(http.get(entry["overlay"]).content)))
    assert np.array_equal(overlay, np.asarray(draw_targets(image, expected)))
    rows = list(csv.DictReader(io.StringIO(http.get(result["csv"]).text)))
    assert [float(row["x"]) for row in rows] == [t.centroid_xy[0] for t in expected]
    assert [p for p in page.uploads.rglob("*") if p.is_file()] == []


def test_api_takes_several_files_and_reports_the_bad_ones(http):
    files = [
        ("a.png", encoded(spots())),
        ("notes.txt", b"words"),
        ("a.tiff", encoded(spots(), "tiff")),
        ("e.png", b""),
    ]
    result = found(http, *files)
    assert [(entry["file"], len(entry["targets"])) for entry in result["images"]] == [
        ("a.png", 2),
        ("a (2).tiff", 2),
    ]
    assert [text.split(":")[0] for text in result["problems"]] == ["notes.txt", "e.png"]
    names = zipfile.ZipFile(io.BytesIO(http.get(result["zip"]).content)).namelist()
    assert "mask/a.png" in names
    assert "overlay/a (2).png" in names
    nothing = found(http, ("notes.txt", b"words"))
    assert nothing["images"] == []
    assert "no image that can be read" in nothing["problems"][0]


def test_threshold_and_weights_are_those_asked_for_or_the_first_ones(http):
    file = ("a.png", encoded(spots()))
    assert len(found(http, file, threshold=0.3)["images"][0]["targets"]) == 3
    dim = found(http, file, weights="dim")
    assert (dim["threshold"], len(dim["images"][0]["targets"])) == (0.2, 2)


@pytest.mark.parametrize(
    ("threshold", "weights", "words"),
    [
        (1.5, None, "threshold is 1.5"),
        ("much", None, "much"),
        (None, "/etc/passwd", "'/etc/passwd' are not offered; known: bright, dim, broken"),
        (None, "../../bright", "are not offered"),
        (None, "broken", "broken is damaged; copy it again"),
    ],
)
def test_wrong_argument_is_a_sentence(http, threshold, weights, words):
    event, data = call(http, send(http, ("a.png", encoded(spots()))), threshold, weights)
    assert event == "error"
    assert words in data["error"]


def test_call_without_files_says_so(http):
    event, data = call(http, [], None, None)
    assert (event, data["error"][:12]) == ("error", "no file came")
    assert call(http, None, None, None)[0] == "error"


def test_clients_of_gradio_work_as_in_the_docs(page, tmp_path):
    client_module = pytest.importorskip("gradio_client")
    write_image(tmp_path / "frame.tiff", spots(np.uint16))
    client = client_module.Client(page.url, verbose=False, download_files=False)
    result = client.predict(
        [client_module.handle_file(str(tmp_path / "frame.tiff"))], 0.7, api_name="/detect"
    )
    assert [t["centroid_xy"] for t in result["images"][0]["targets"]] == [[11.0, 5.5]]
    assert httpx.get(page.url + result["images"][0]["mask"]).status_code == 200
    client.close()


@pytest.mark.parametrize("language", ["python", "bash"])
def test_examples_of_the_docs_work(page, tmp_path, project_dir, language):
    if language == "bash" and not shutil.which("curl"):
        pytest.skip("needs curl")
    text = (project_dir / "docs" / "web.md").read_text()
    (script,) = (s for s in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S) if "7860" in s)
    script = script.replace("http://127.0.0.1:7860", page.url)
    write_image(tmp_path / "frame.tiff", spots(np.uint16))
    command = [sys.executable, "-c", script] if language == "python" else ["bash", "-euc", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if language == "python":
        assert "frame.tiff [[11.0, 5.5], [31.0, 20.5]]" in done.stdout
    else:
        result = json.loads(done.stdout.strip().splitlines()[-1].removeprefix("data: "))[0]
        assert (result["problems"], len(result["images"][0]["targets"])) == ([], 2)


def test_only_detect_is_offered_to_programs(http):
    assert list(http.get("/gradio_api/info").json()["named_endpoints"]) == ["/detect"]
    for name in ("upload", "threshold", "pick", "sample", "leave", "predict"):
        assert http.post(f"/gradio_api/call/{name}", json={"data": []}).status_code == 404


PASSWD = "/etc/passwd"


@pytest.mark.parametrize(
    "address",
    [
        f"/gradio_api/file={PASSWD}",
        f"/file={PASSWD}",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=https://huggingface.co/",
        "/static/..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/app.py",
        "/assets/..%2f..%2f..%2fapp.py",
        "/assets/%2fetc%2fpasswd",
        "/scenes/..%2f..%2fbest.png",
        "/results/../../etc/passwd",
        "/results/guess/0/mask.png?threshold=0.5",
        "/results/guess/results.zip?threshold=0.5",
        "/gradio_api/custom_component/x/y/component/z",
        "/gradio_api/runs",
        "/gradio_api/vibe-code/",
        "/gradio_api/deep_link",
        "/gradio_api/openapi.json",
        "/monitoring",
        "/docs",
        "/openapi.json",
        "/login",
    ],
)
def test_nothing_else_can_be_read(http, address):
    answer = http.get(address)
    assert answer.status_code == 404
    assert "root:" not in answer.text
    assert http.post(address, json={}).status_code in (404, 405)


def test_files_of_results_belong_to_an_image_and_a_kind(http):
    entry = found(http, ("a.png", encoded(spots())))
    good = entry["images"][0]["mask"]
    assert http.get(good).status_code == 200
    for wrong in (
        good.replace("/0/", "/1/"),
        good.replace("/0/", "/-1/"),
        good.replace("mask.png", "image.tiff"),
        good.replace("/mask", "/image") + "&stretch=/etc/passwd",
    ):
        assert http.get(wrong).status_code == 404
    for threshold in ("0", "1", "nan", "x", ""):
        assert http.get(good.split("?")[0], params={"threshold": threshold}).status_code == 422


def test_request_cannot_name_a_file_that_was_not_uploaded(http, page, tmp_path):
    secret = tmp_path / "secret.png"
    write_image(secret, spots())
    link = page.uploads / "link"
    link.symlink_to(tmp_path)
    inside = page.uploads / "token"
    inside.mkdir()
    paths = [
        PASSWD,
        str(secret),
        str(link / "secret.png"),
        f"{page.uploads}/token/../../{secret.name}",
        os.path.relpath(secret),
        "http://127.0.0.1:1/x.png",
        "https://example.com/x.png",
        f"file://{secret}",
        str(page.uploads),
        str(page.uploads / "gone"),
        str(page.uploads / "vibe_edit_history" / "gone"),
        "a\0b",
        "",
        7,
        ["/etc/passwd"],
    ]
    for path in paths:
        for file in (
            {"path": path, "meta": {"_type": "gradio.FileData"}},
            {"path": path},
            {"x": [{"path": path}]},
        ):
            for data in ([[file], None, None], [file, 0.5, None]):
                body = {"data": data, "session_hash": "abc", "fn_index": 0}
                for address in ("/gradio_api/call/detect", "/gradio_api/queue/join"):
                    assert http.post(address, json=body).status_code == 403, (path, file)
    link.unlink()
    inside.rmdir()
    assert found(http, ("a.png", encoded(spots())))["problems"] == []  # uploads still work


def test_gradio_itself_would_refuse_foreign_files_too(page):
    from gradio import processing_utils
    from gradio.context import LocalContext
    from gradio.exceptions import InvalidPathError

    blocks = next(route.app for route in page.app.routes if hasattr(route, "app")).get_blocks()
    LocalContext.blocks.set(blocks)
    try:
        with pytest.raises(InvalidPathError):
            processing_utils._check_allowed(PASSWD, True)
    finally:
        LocalContext.blocks.set(None)


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"\xff", 400), (b"[" * 100_000, 400), (b'"' + b"x" * 2**20 + b'"', 413)],
)
def test_requests_that_make_no_sense_are_refused(http, content, status):
    headers = {"content-type": "application/json"}
    assert http.post("/gradio_api/call/detect", content=content, headers=headers).status_code == status


def test_other_methods_are_refused(http):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert http.request(method, "/").status_code == 405


def test_upload_that_is_too_large_is_refused_in_words(http, page):
    answer = http.post("/gradio_api/upload", files={"files": ("big.png", bytes(2**20 + 1))})
    assert answer.status_code == 413
    assert "larger than 1 MB" in answer.text
    assert "--max-upload-mb" in answer.text
    many = [("files", (f"{i}.png", bytes(2**20 - 100))) for i in range(9)]
    answer = http.post("/gradio_api/upload", files=many)
    assert answer.status_code == 413
    assert "more than 8 MB at once" in answer.text
    assert not [p for p in page.uploads.rglob("*") if p.is_file() and p.stat().st_size > 2**19]
    assert (
        http.post("/gradio_api/upload", content=b"x", headers={"content-type": "text/plain"}).status_code
        == 400
    )


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


def test_upload_of_unknown_length_is_refused(http, page):
    def parts():
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        yield encoded(spots()) + b"\r\n--x--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = http.post("/gradio_api/upload", content=parts(), headers=kind)
    assert (answer.status_code, "content-length" in answer.text) == (411, True)


def test_upload_that_breaks_off_leaves_nothing(page, caplog):
    address = page.url.removeprefix("http://").split(":")
    before = set(page.uploads.iterdir())
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + bytes(100000)
        )
        time.sleep(0.2)
    for _ in range(100):
        if set(page.uploads.iterdir()) == before:
            break
        time.sleep(0.05)
    assert set(page.uploads.iterdir()) == before
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


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


def test_network_runs_once_an_image(http):
    before = FakeDetector.calls
    result = found(http, ("a.png", encoded(spots())), ("b.png", encoded(spots())))
    for address in (result["csv"], result["zip"], result["images"][1]["mask"].replace("0.5", "0.1")):
        assert http.get(address).status_code == 200
    assert FakeDetector.calls == before + 2


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
