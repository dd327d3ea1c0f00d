"""The page served in this process, with a detector whose probabilities are brightness and which counts its calls, and
what a client asks of it.
"""

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from samspl.errors import CheckpointError

NAMES = {"bright": "bright", "dim": "dim", "broken": "broken"}


class FakeDetector:
    """`bright`: probability is value / 250; `dim`: half of that, threshold 0.2; `broken` cannot be loaded."""

    calls = 0
    may_go_on = threading.Event()
    """Cleared, it holds every detector up."""
    may_go_on.set()

    def __init__(self, weights: str, device: str) -> None:
        if weights == "broken":
            raise CheckpointError("broken is damaged; copy it again")
        self.threshold = 0.5 if weights == "bright" else 0.2
        self.factor = 1.0 if weights == "bright" else 0.5

    def detect(self, image: np.ndarray, name: str) -> Any:
        FakeDetector.calls += 1
        assert FakeDetector.may_go_on.wait(60)
        largest = 250.0 if image.dtype == np.uint8 else 62500.0
        prob = np.clip(image / largest * self.factor, 0, 1).astype(np.float32)
        return type("Result", (), {"prob": prob})


@dataclass
class Served:
    """A page that can be opened."""

    url: str
    app: Any
    uploads: Path


@contextmanager
def served(uploads: Path, max_upload_mb: float = 1.0) -> Iterator[Served]:
    """Serve the page in a thread."""
    from samspl.web.app import address_of, build_app, make_server, open_socket

    with mock.patch("samspl.web.weights.Detector", FakeDetector), open_socket("127.0.0.1", 0) as listening:
        app = build_app(NAMES, uploads, "cpu", max_upload_mb)
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield Served(address_of(listening), app, uploads)
        finally:
            server.should_exit = True
            thread.join(10)


def spots(dtype: type = np.uint8, shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Three spots, found by `bright` below 0.8, 0.6 and 0.4."""
    image = np.zeros(shape, dtype)
    unit = 1 if dtype == np.uint8 else 250
    for row, column, value in ((5, 10, 200), (20, 30, 150), (30, 50, 100)):
        image[row : row + 2, column : column + 3] = value * unit
    return image


def encoded(array: np.ndarray, suffix: str = "png") -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, suffix.upper())
    return content.getvalue()


def send(http: Any, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    """Upload files given as name and content; what came of them as `/detect` takes it."""
    answer = http.post("/gradio_api/upload", files=[("files", file) for file in files])
    assert answer.status_code == 200, answer.text
    return [
        {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        for path, (name, _) in zip(answer.json(), files, strict=True)
    ]


def call(http: Any, *data: Any) -> tuple[str, Any]:
    """`/detect` as with curl: the event's kind and data."""
    started = http.post("/gradio_api/call/detect", json={"data": list(data)})
    assert started.status_code == 200, started.text
    text = http.get(f"/gradio_api/call/detect/{started.json()['event_id']}").text
    event, content = text.strip().splitlines()[-2:]
    return event.removeprefix("event: "), json.loads(content.removeprefix("data: "))


def found(
    http: Any, *files: tuple[str, bytes], threshold: Any = None, weights: str | None = None
) -> dict[str, Any]:
    event, data = call(http, send(http, *files), threshold, weights)
    assert event == "complete", data
    return data[0]
