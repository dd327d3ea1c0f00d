"""`samspl predict --engine ray` on a local cluster of two actors. Needs the extra `bulk`."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.imaging import write_image
from samspl.inference.detector import Detector
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW

ray = pytest.importorskip("ray", reason="needs the extra `bulk` (Ray)")
pytest.importorskip("ray.data", reason="needs the extra `bulk` (Ray Data)")


def end_workers():
    """Runs in every worker: it dies at `kill_once*` the first time, at `kill_always*` every time."""
    from samspl.inference import sources  # imports no torch, as every idle worker runs this

    read = sources.read_frames

    def read_or_die(file, skip=()):
        marker = Path(f"{file.path}.died")
        if file.path.name.startswith("kill_always"):
            os._exit(1)
        if file.path.name.startswith("kill_once") and not marker.exists():
            marker.touch()
            os._exit(1)
        return read(file, skip)

    sources.read_frames = read_or_die


@pytest.fixture(scope="module")
def cluster():
    """Two CPUs, so two actors of one thread."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for attempt in range(3):
        try:
            ray.init(
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"worker_process_setup_hook": end_workers},
            )
            break
        except Exception:  # Ray gives its processes half a minute to start, which a busy machine may exceed
            ray.shutdown()
            if attempt == 2:
                raise
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Weights, and a folder with images, a stack of pages, a broken file and such that end their workers."""
    root = tmp_path_factory.mktemp("ray")
    checkpoint = Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), Preprocess((110.0,), (40.0,)))
    write_checkpoint(root / "w.safetensors", checkpoint)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "deeper/c.png", "kill_once.png", "kill_always.png"):
        write_image(root / "in" / name, rng.integers(0, 256, (64, 64), dtype=np.uint8))
    with tifffile.TiffWriter(root / "in" / "stack.tiff") as tiff:
        for shape in ((40, 64), (64, 33)):
            tiff.write(
                rng.integers(0, 60000, shape, dtype=np.uint16), photometric="minisblack", metadata=None
            )
    (root / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    threshold = float(np.quantile(Detector(root / "w.safetensors")(root / "in/a.png").prob, 0.9))
    return root, str(threshold)


def test_results_equal_those_of_the_local_run_and_dead_workers_are_replaced(cluster, scene, tmp_path, capsys):
    root, threshold = scene
    words = ["predict", str(root / "in"), "--recursive", "--weights", str(root / "w.safetensors"), "-q"]
    words += ["--threads", "1", "--threshold", threshold, "--save", "mask,overlay,prob,json,csv,coco"]
    assert main([*words, "--out", str(tmp_path / "ray"), "--engine", "ray", "--workers", "2"]) == 1
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 2
    assert "broken.png" in said.err
    assert "kill_always.png ended its worker 3 times; run it alone to see why" in said.err
    assert "in 6 images" in said.out
    assert "(2 unusable)" in said.out
    assert (root / "in" / "kill_once.png.died").exists()

    (root / "in" / "kill_always.png").unlink()
    assert main([*words, "--out", str(tmp_path / "local")]) == 1
    local = {p.relative_to(tmp_path / "local"): p.read_bytes() for p in (tmp_path / "local").rglob("*.*")}
    others = {p.relative_to(tmp_path / "ray"): p.read_bytes() for p in (tmp_path / "ray").rglob("*.*")}
    assert local.keys() == others.keys()
    assert [str(name) for name in local if local[name] != others[name]] == ["journal.jsonl"]
    content = json.loads((tmp_path / "ray" / "predictions.json").read_text())
    assert sum(len(entry["targets"]) for entry in content) > 0

    # what is left of a run on the cluster may be done here, and the other way round
    (tmp_path / "ray" / "mask" / "b.png").unlink()
    assert main([*words, "--out", str(tmp_path / "ray")]) == 1
    assert (tmp_path / "ray" / "mask" / "b.png").read_bytes() == others[Path("mask/b.png")]


def test_full_disk_stops_the_run_with_one_sentence(cluster, scene, tmp_path, capsys):
    root, _ = scene
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "mask").write_text("a file where a folder is needed")
    words = [
        "predict",
        str(root / "in" / "a.png"),
        "--weights",
        str(root / "w.safetensors"),
        "-q",
        "--save",
        "mask",
    ]
    assert main([*words, "--out", str(tmp_path / "o"), "--engine", "ray"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "mask/a.png cannot be written" in line


def test_more_workers_than_the_cluster_has_room_for_are_refused(cluster, scene, tmp_path, capsys):
    root, _ = scene
    words = ["predict", str(root / "in" / "a.png"), "--weights", str(root / "w.safetensors"), "-q"]
    assert main([*words, "--out", str(tmp_path / "o"), "--engine", "ray", "--workers", "3"]) == 2
    assert "3 workers of 1 threads were asked for; the Ray cluster has 2 CPUs" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.png"))
