"""What `run_ray` gives to its workers and reports, with a pipeline in the place of Ray; the real one: integration."""

import json
from types import SimpleNamespace

import numpy as np

from samspl.imaging import write_image
from samspl.inference import ray_engine
from samspl.inference.outputs import FileBegun, FileDone, Outputs
from samspl.inference.sources import BadFrame, find_files


class Pipeline:
    """Does the work of a Ray data set here, one file after the other."""

    def __init__(self, items):
        self.items = items

    def map_batches(self, *_, **__):
        return self

    def iter_rows(self):
        for item in self.items:
            file = json.loads(item["file"])
            yield {"said": json.dumps({"of": file["name"], "end": []})}


def fake_ray(given):
    def from_items(items, override_num_blocks):
        assert override_num_blocks >= 1
        given.extend(items)
        return Pipeline(items)

    data = SimpleNamespace(from_items=from_items, ActorPoolStrategy=lambda size: size)
    return SimpleNamespace(data=data, cluster_resources=lambda: {"CPU": 1})


def run(monkeypatch, files, tmp_path):
    given, outcomes = [], []
    job = SimpleNamespace(device="cpu", resolved=lambda: None)
    monkeypatch.setattr(ray_engine, "connect", lambda: fake_ray(given))
    ray_engine.run_ray(job, files, Outputs(tmp_path / "out", ("mask",)), outcomes.append)
    return [json.loads(item["file"])["name"] for item in given], outcomes


def test_file_that_vanished_is_told_and_the_others_are_given_away(tmp_path, monkeypatch):
    for name in "abc":
        write_image(tmp_path / "in" / f"{name}.png", np.zeros((4, 4), np.uint8))
    files = find_files([str(tmp_path / "in")])
    files[1].path.unlink()
    given, outcomes = run(monkeypatch, files, tmp_path)
    assert given == ["a.png", "c.png"]
    assert [o.file.name for o in outcomes if isinstance(o, FileBegun)] == given
    assert all(o.file.stamp is not None for o in outcomes if isinstance(o, FileBegun))
    assert [o.file.name for o in outcomes if isinstance(o, FileDone)] == given
    (bad,) = [outcome for outcome in outcomes if isinstance(outcome, BadFrame)]
    assert bad.file == files[1]
    assert "check whether it was moved or deleted" in bad.sentence


def test_all_files_gone_leaves_nothing_to_give_away(tmp_path, monkeypatch):
    write_image(tmp_path / "in" / "a.png", np.zeros((4, 4), np.uint8))
    files = find_files([str(tmp_path / "in")])
    files[0].path.unlink()
    given, outcomes = run(monkeypatch, files, tmp_path)
    assert given == []
    assert [type(outcome) for outcome in outcomes] == [BadFrame]
