"""The HTTP API: what it gives, and the examples of its documentation."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from samspl.draw import draw_targets
from samspl.imaging import write_image
from samspl.targets import find_targets
from tests.unit.web.server import FakeDetector, call, encoded, found, send, spots

pytest.importorskip("gradio", reason="needs pip install 'samspl[ui]'")
import httpx  # comes with gradio


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


def test_network_runs_once_an_image(http):
    before = FakeDetector.calls
    result = found(http, ("a.png", encoded(spots())), ("b.png", encoded(spots())))
    for address in (result["csv"], result["zip"], result["images"][1]["mask"].replace("0.5", "0.1")):
        assert http.get(address).status_code == 200
    assert FakeDetector.calls == before + 2
