"""`samspl predict` as a whole: killed and started again, videos, maps."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.imaging import read_image, write_image
from samspl.inference.detector import Detector
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW

SLOWLY = """
import sys, time
from samspl.inference.detector import Detector
detect_many = Detector.detect_many
def slowly(self, images, names):
    time.sleep(0.1)
    return detect_many(self, images, names)
Detector.detect_many = slowly
from samspl.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    # frame statistics, so that values may be of any depth
    checkpoint = Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), Preprocess(normalise="frame"))
    write_checkpoint(path, checkpoint)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    threshold = float(np.quantile(Detector(path)(noise).prob, 0.97))
    write_checkpoint(path, Checkpoint(NARROW, checkpoint.state, checkpoint.preprocess, threshold))
    return path


def noise(seed, dtype=np.uint8, largest=255):
    return np.random.default_rng(seed).integers(0, largest + 1, (48, 64), dtype=dtype)


def count_detections(monkeypatch):
    asked, detect_many = [], Detector.detect_many

    def counted(self, images, names):
        asked.extend(names)
        return detect_many(self, images, names)

    monkeypatch.setattr(Detector, "detect_many", counted)
    return asked


def test_killed_run_goes_on_where_it_stopped_and_ends_with_all_results(
    weights, tmp_path, monkeypatch, capsys
):
    for number in range(30):
        write_image(tmp_path / "in" / f"{number:02d}.png", noise(number))
    words = ["predict", str(tmp_path / "in"), "--weights", str(weights), "-q", "--save", "mask,json,csv,coco"]
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, *words, "--out", str(out)])
    journal = out / "journal.jsonl"
    for _ in range(1200):
        if journal.exists() and journal.read_bytes().count(b'"done"') >= 3:
            break
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    entries = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
    done = {entry["of"] for entry in entries if "done" in entry}
    assert 3 <= len(done) < 30
    assert not (out / "predictions.json").exists()  # nothing could be tidied up

    asked = count_detections(monkeypatch)
    assert main([*words, "--out", str(out)]) == 0
    assert {Path(name).name for name in asked} == {f"{number:02d}.png" for number in range(30)} - done
    assert f"({len(done)} done before)" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    for path in (tmp_path / "whole").rglob("*.*"):
        if path.name != "journal.jsonl":
            assert (out / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


class TestVideo:
    """Needs the extra `video`."""

    @pytest.fixture
    def clip(self, tmp_path):
        av = pytest.importorskip("av", reason="needs the extra `video` (PyAV)")
        (tmp_path / "in").mkdir()
        path = tmp_path / "in" / "clip.mkv"
        frames = [noise(number, np.uint16, 65535) for number in range(6)]
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "gray16le"
            for number, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="gray16le")
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path, frames

    def test_sixteen_bit_video_gives_targets_a_frame_and_an_overlay(self, weights, clip, tmp_path):
        path, frames = clip
        out = tmp_path / "out"
        kinds = "mask,overlay,prob,json,csv,coco"
        words = ["predict", str(path), "--weights", str(weights), "--out", str(out), "-q", "--save", kinds]
        assert main(words) == 0
        detector = Detector(weights)
        content = json.loads((out / "predictions.json").read_text())
        assert [(e["source"], e["frame"], e["time_s"]) for e in content] == [
            ("clip.mkv", number, number / 10) for number in range(6)
        ]
        for number, (image, entry) in enumerate(zip(frames, content, strict=True)):
            expected = detector(image)
            assert entry["targets"] == expected.to_dict()["targets"]  # with peaks above 255
            assert entry["file"] == f"clip_{number:06d}.mkv"
            mask = read_image(out / "mask" / f"clip_{number:06d}.png")
            assert np.array_equal(mask > 0, expected.mask)
        assert any(target["peak"] > 255 for entry in content for target in entry["targets"])
        coco = json.loads((out / "coco.json").read_text())
        assert len(coco["images"]) == 6
        assert [p.name for p in (out / "overlay").iterdir()] == ["clip.mp4"]

        from samspl.inference.video import read_video

        shots = list(read_video(out / "overlay" / "clip.mp4"))
        assert [shot.time_s for shot in shots] == pytest.approx([number / 10 for number in range(6)])
        drawn = np.asarray(detector(frames[3]).draw().convert("L")).astype(float)
        shown = shots[3].image[: drawn.shape[0], : drawn.shape[1]].astype(float)
        assert np.corrcoef(drawn.ravel(), shown.ravel())[0, 1] > 0.98  # the encoder is not without loss

    def test_interrupted_video_is_not_looked_through_twice_and_its_overlay_is_whole(
        self, weights, clip, tmp_path, monkeypatch
    ):
        path, _ = clip
        words = ["predict", str(path), "--weights", str(weights), "-q", "--save", "mask,overlay,json"]
        assert main([*words, "--out", str(tmp_path / "whole")]) == 0
        out, detect_many, asked = tmp_path / "out", Detector.detect_many, []

        def interrupted(self, images, names):
            if len(asked) == 4:
                raise KeyboardInterrupt
            asked.extend(names)
            return detect_many(self, images, names)

        with monkeypatch.context() as patch:
            patch.setattr(Detector, "detect_many", interrupted)
            assert main([*words, "--out", str(out)]) == 130
        assert not list((out / "overlay").glob("*"))  # half a video would look like a whole one
        again = count_detections(monkeypatch)
        assert main([*words, "--out", str(out)]) == 0
        assert len(asked) + len(again) == 6
        for name in ("predictions.json", "overlay/clip.mp4", "mask/clip_000005.png"):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    def test_broken_frame_is_reported_and_the_others_go_on(self, weights, tmp_path, capsys):
        av = pytest.importorskip("av", reason="needs the extra `video` (PyAV)")
        (tmp_path / "in").mkdir()
        path = tmp_path / "in" / "clip.avi"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg", rate=10)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
            for number in range(8):
                frame = av.VideoFrame.from_ndarray(noise(number), format="gray")
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with av.open(str(path)) as container:
            place = [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size][2]
        data = bytearray(path.read_bytes())
        data[place[0] : place[0] + place[1]] = bytes(place[1])
        path.write_bytes(data)
        write_image(tmp_path / "in" / "still.png", noise(9))
        out = tmp_path / "out"
        assert (
            main(["predict", str(tmp_path / "in"), "--weights", str(weights), "--out", str(out), "-q"]) == 1
        )
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert "clip.avi, frame 2 is broken" in line
        assert "in 8 images" in said.out
        assert "(1 unusable)" in said.out
        content = json.loads((out / "predictions.json").read_text())
        assert [entry.get("frame") for entry in content] == [0, 1, 3, 4, 5, 6, 7, None]
        assert (out / "overlay" / "clip.mp4").is_file()

    def test_existing_results_of_a_video_stay(self, weights, clip, tmp_path, capsys):
        path, _ = clip
        for there in ("overlay/clip.mp4", "mask/clip_000003.png"):
            out = tmp_path / there.replace("/", "-")
            (out / there).parent.mkdir(parents=True)
            (out / there).write_text("mine")
            assert main(["predict", str(path), "--weights", str(weights), "--out", str(out), "-q"]) == 2
            assert f"{there} is there already" in capsys.readouterr().err
            assert (out / there).read_text() == "mine"


class TestMap:
    """Needs the extra `geo`."""

    @pytest.fixture
    def map_file(self, tmp_path):
        rasterio = pytest.importorskip("rasterio", reason="needs the extra `geo` (rasterio)")
        path = tmp_path / "in" / "day" / "map.tif"
        path.parent.mkdir(parents=True)
        image = noise(0, np.uint16, 65535)
        size = {"height": 48, "width": 64, "count": 1, "dtype": "uint16"}
        transform = rasterio.transform.from_origin(500000, 5600000, 10, 10)
        with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", transform=transform, **size) as file:
            file.write(image, 1)
        write_image(tmp_path / "in" / "plain.tiff", image)
        return path, image

    @pytest.mark.parametrize("extra", [[], ["--save", "geojson,json"]])
    def test_targets_of_a_map_are_features_and_an_ordinary_tiff_has_none(
        self, weights, map_file, tmp_path, extra
    ):
        _, image = map_file
        out = tmp_path / "out"
        words = [
            "predict",
            str(tmp_path / "in"),
            "--recursive",
            "--weights",
            str(weights),
            "--out",
            str(out),
            "-q",
        ]
        assert main([*words, *extra]) == 0
        assert [p.relative_to(out).as_posix() for p in (out / "geojson").rglob("*.*")] == [
            "geojson/day/map.geojson"
        ]
        content = json.loads((out / "geojson" / "day" / "map.geojson").read_text())
        targets = Detector(weights)(image).targets
        assert len(content["features"]) == len(targets) > 0
        for feature, target in zip(content["features"], targets, strict=True):
            x, y = target.centroid_xy
            assert feature["properties"]["map_x"] == pytest.approx(500000 + 10 * (x + 0.5))
            assert feature["properties"]["map_y"] == pytest.approx(5600000 - 10 * (y + 0.5))
            lon, lat = feature["geometry"]["coordinates"]
            assert (lon, lat) == pytest.approx((15.0, 50.55), abs=0.02)
            assert feature["properties"]["score"] == pytest.approx(target.score)

    def test_missing_library_is_an_error_only_where_it_was_asked_for(
        self, weights, map_file, tmp_path, monkeypatch, capsys
    ):
        import importlib

        real = importlib.import_module

        def absent(name, package=None):
            if name.startswith("rasterio"):
                raise ImportError("No module named 'rasterio'")
            return real(name, package)

        monkeypatch.setattr(importlib, "import_module", absent)
        words = ["predict", str(map_file[0]), "--weights", str(weights), "-q"]
        assert main([*words, "--out", str(tmp_path / "1"), "--save", "geojson"]) == 2
        assert "pip install 'samspl[geo]'" in capsys.readouterr().err
        assert main([*words, "--out", str(tmp_path / "2")]) == 0
        assert "gets no GeoJSON" in capsys.readouterr().err
        assert (tmp_path / "2" / "predictions.json").exists()
