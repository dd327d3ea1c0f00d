"""Reading, network and writing at the same time: order, bounds, batches, and what one bad frame may do."""

import sys
import threading

import numpy as np
import pytest

from samspl.errors import ImageError
from samspl.imaging import write_image
from samspl.inference import local_engine
from samspl.inference.local_engine import run_local
from samspl.inference.outputs import FileBegun, FileDone, FrameDone, Outputs
from samspl.inference.result import Result
from samspl.inference.sources import BadFrame, SourceFile, find_files, read_frames
from samspl.targets import find_targets


class Bright:
    """In the place of a detector: everything above 200 is target, a frame with the value 66 cannot be used."""

    def __init__(self, before=lambda names: None):
        self.batches, self.before = [], before

    def detect_many(self, images, names):
        self.before(names)
        self.batches.append([image.shape for image in images])
        if any((image == 66).any() for image in images):
            raise ImageError(f"{names[0]}: one of these is bad")
        masks = [image > 200 for image in images]
        probs = [mask.astype(np.float32) for mask in masks]
        return [
            Result(name, image, prob, mask, tuple(find_targets(mask, prob, image)))
            for name, image, prob, mask in zip(names, images, probs, masks, strict=True)
        ]


@pytest.fixture
def files(tmp_path):
    for number in range(8):
        image = np.zeros((20, 30), np.uint8)
        image[number, number] = 255
        write_image(tmp_path / "in" / f"{number}.png", image)
    return find_files([str(tmp_path / "in")])


def outputs_of(tmp_path, *kinds):
    return Outputs(tmp_path / "out", kinds)


def test_frames_are_reported_in_order_each_between_begin_and_end_of_its_file(files, tmp_path):
    outcomes = []
    run_local(Bright(), files, outputs_of(tmp_path, "mask", "json"), outcomes.append)
    assert [outcome.file for outcome in outcomes if isinstance(outcome, FrameDone)] == files
    for file in files:
        own = [outcome for outcome in outcomes if outcome.file == file]
        assert [type(outcome) for outcome in own] == [FileBegun, FrameDone, FileDone]
        assert own[1].record["file"] == file.name
        assert own[1].record["targets"][0]["centroid_xy"] == [int(file.name[0])] * 2
        assert own[1].written == (f"mask/{file.name}",)
        assert (tmp_path / "out" / own[1].written[0]).is_file()


def test_reading_goes_ahead_of_the_network_but_not_far(files, tmp_path, monkeypatch):
    monkeypatch.setattr(local_engine, "MAX_FRAMES", 3)
    read, ahead, go_on = [], threading.Event(), []

    def counted(file, skip=()):
        for frame in read_frames(file, skip):
            read.append(frame)
            if len(read) == 3:
                ahead.set()
            yield frame

    def wait(names):
        if not go_on:
            assert ahead.wait(10)  # the reader works while the network does
            go_on.append(True)
        assert len(read) <= len(detector.batches) + 3

    monkeypatch.setattr(local_engine, "read_frames", counted)
    detector = Bright(wait)
    run_local(detector, files, outputs_of(tmp_path, "mask"), lambda outcome: None)
    assert len(read) == 8


def test_huge_frame_is_alone_in_memory(files, tmp_path, monkeypatch):
    monkeypatch.setattr(local_engine, "MAX_PIXELS", 20 * 30)
    read, written = [], []

    def counted(file, skip=()):
        for frame in read_frames(file, skip):
            read.append(frame.name)
            assert len(read) == len(written) + 1
            yield frame

    monkeypatch.setattr(local_engine, "read_frames", counted)
    run_local(
        Bright(),
        files,
        outputs_of(tmp_path, "mask"),
        lambda outcome: written.append(outcome) if isinstance(outcome, FrameDone) else None,
    )
    assert len(written) == 8


def test_frames_of_equal_size_share_a_batch(files, tmp_path, monkeypatch):
    write_image(tmp_path / "in" / "3.png", np.zeros((9, 9), np.uint8))
    monkeypatch.setattr(local_engine, "BATCH_SIZE", 3)
    monkeypatch.setattr(local_engine, "POLL_S", 10)  # so that a batch waits for what is not read yet
    detector, outcomes = Bright(), []
    run_local(detector, files, outputs_of(tmp_path, "mask"), outcomes.append)
    assert [len(batch) for batch in detector.batches] == [3, 1, 3, 1]
    assert detector.batches[1] == [(9, 9)]
    assert [o.file for o in outcomes if isinstance(o, FrameDone)] == files


def test_bad_frame_spoils_neither_its_batch_nor_the_others(files, tmp_path, monkeypatch):
    write_image(tmp_path / "in" / "2.png", np.full((20, 30), 66, np.uint8))
    (tmp_path / "in" / "5.png").write_bytes(b"no image")
    monkeypatch.setattr(local_engine, "BATCH_SIZE", 4)
    monkeypatch.setattr(local_engine, "POLL_S", 10)
    outcomes = []
    run_local(Bright(), files, outputs_of(tmp_path, "mask"), outcomes.append)
    bad = [outcome for outcome in outcomes if isinstance(outcome, BadFrame)]
    assert [outcome.file.name for outcome in bad] == ["2.png", "5.png"]
    assert bad[0].sentence.startswith(str(tmp_path / "in" / "2.png"))
    assert [o.file.name[0] for o in outcomes if isinstance(o, FrameDone)] == list("013467")
    assert {o.file.name[0] for o in outcomes if isinstance(o, FileDone)} == set("013467")


def test_file_that_vanishes_before_it_is_read_spoils_no_other(files, tmp_path, monkeypatch):
    monkeypatch.setattr(
        local_engine, "MAX_FRAMES", 1
    )  # so that no file is opened before the one before is done
    outcomes = []

    def report(outcome):
        if isinstance(outcome, FrameDone) and outcome.file.name == "2.png":
            files[5].path.unlink()
        outcomes.append(outcome)

    run_local(Bright(), files, outputs_of(tmp_path, "mask"), report)
    (bad,) = [outcome for outcome in outcomes if isinstance(outcome, BadFrame)]
    assert str(files[5].path) in bad.sentence
    assert "check whether it was moved or deleted" in bad.sentence
    assert {o.file.name[0] for o in outcomes if isinstance(o, FileDone)} == set("0123467")


def test_file_that_vanishes_while_it_is_looked_through_is_reported_as_it_was(files, tmp_path):
    before = [file.stamped().stamp for file in files]
    for_each = {str(file.path): file.path for file in files}
    outcomes = []
    run_local(
        Bright(lambda names: for_each[names[0]].unlink()),
        files,
        outputs_of(tmp_path, "mask"),
        outcomes.append,
    )
    assert [o.file.stamp for o in outcomes if isinstance(o, FileBegun)] == before
    assert [o.file for o in outcomes if isinstance(o, FileDone)] == files


def test_frames_that_are_known_are_not_looked_through_again(files, tmp_path):
    known = {
        file.name: {file.name: FrameDone(file, {"file": file.name, "targets": []})} for file in files[:6]
    }
    detector, outcomes = Bright(), []
    run_local(detector, files, outputs_of(tmp_path, "mask"), outcomes.append, known)
    assert len(detector.batches) == 2
    assert [o.file for o in outcomes if isinstance(o, FrameDone)] == files[6:]
    assert [o.file for o in outcomes if isinstance(o, FileDone)] == files


def test_interrupt_keeps_what_was_handed_on_and_ends_all_threads(files, tmp_path):
    before, interval = threading.active_count(), sys.getswitchinterval()

    def interrupt(names):
        if len(detector.batches) == 3:
            raise KeyboardInterrupt

    detector, outcomes = Bright(interrupt), []
    with pytest.raises(KeyboardInterrupt):
        run_local(detector, files, outputs_of(tmp_path, "mask"), outcomes.append)
    assert [o.file for o in outcomes if isinstance(o, FrameDone)] == files[:3]
    assert threading.active_count() == before
    assert sys.getswitchinterval() == interval


def test_defect_in_the_reader_is_not_swallowed(files, tmp_path, monkeypatch):
    def broken(file, skip=()):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(local_engine, "read_frames", broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        run_local(Bright(), files, outputs_of(tmp_path, "mask"), lambda outcome: None)


def test_file_that_cannot_be_written_ends_the_run_and_is_not_called_done(files, tmp_path):
    (tmp_path / "out" / "mask" / "4.png").mkdir(parents=True)
    outcomes = []
    with pytest.raises(ImageError, match=r"4\.png cannot be written"):
        run_local(Bright(), files, outputs_of(tmp_path, "mask"), outcomes.append)
    done = [o.file.name[0] for o in outcomes if isinstance(o, FileDone)]
    assert done[:4] == list("0123")
    assert "4" not in done
    assert SourceFile(files[4].path, "4.png") not in [o.file for o in outcomes if isinstance(o, FrameDone)]
