"""What the server refuses: foreign files, other addresses, requests without sense, large uploads."""

import os
import socket
import time

import pytest

from samspl.imaging import write_image
from tests.unit.web.server import encoded, found, spots

pytest.importorskip("gradio", reason="needs pip install 'samspl[ui]'")


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
