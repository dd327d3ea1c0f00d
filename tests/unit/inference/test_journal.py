"""The journal: what is written comes back, whatever a crash or a full disk leaves of it."""

import errno
import json
from pathlib import Path

import pytest

from samspl.errors import ConfigError, SamsplError
from samspl.inference.journal import JOURNAL_FILE, Journal, State, read_state
from samspl.inference.outputs import FileDone, FrameDone
from samspl.inference.sources import SourceFile, Stamp

RECORD = {"file": "a.png", "size": [4, 3], "targets": []}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "a.png").write_bytes(b"12345")
    return SourceFile(tmp_path / "a.png", "a.png").stamped()


def write_whole(folder, source):
    journal = Journal(folder, State({"--tile": "auto"}, may_replace=False), is_new=True)
    journal.begin(source)
    journal.done(FrameDone(source, RECORD, ("mask/a.png",)))
    journal.end(FileDone(source))
    journal.finish()
    journal.close()
    return folder / JOURNAL_FILE


def test_what_is_written_comes_back(tmp_path, source):
    path = write_whole(tmp_path / "o", source)
    state = read_state(path)
    assert state.settings == {"--tile": "auto"}
    assert not state.may_replace
    changed_ns = source.path.stat().st_mtime_ns
    assert state.stamps == {"a.png": Stamp(str(source.path.resolve()), 5, changed_ns)}
    assert state.frames["a.png"]["a.png"].record == RECORD
    assert state.frames["a.png"]["a.png"].written == ("mask/a.png",)
    assert state.whole == {"a.png": ()}
    assert state.is_finished
    assert state.length == path.stat().st_size


def test_every_cut_leaves_a_journal_that_can_be_gone_on_with(tmp_path, source):
    data = write_whole(tmp_path / "o", source).read_bytes()
    lines = data.splitlines(keepends=True)
    for cut in range(len(data) + 1):
        path = tmp_path / "cut" / JOURNAL_FILE
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data[:cut])
        state = read_state(path)
        whole = data[:cut].count(b"\n")
        assert (state is None) == (whole == 0)
        if state is not None:
            assert state.length == sum(len(line) for line in lines[:whole])
            journal = Journal(path.parent, state, is_new=False)
            journal.begin(SourceFile(source.path, "b.png").stamped())
            journal.close()
            for line in path.read_bytes().splitlines():
                json.loads(line)
            assert "b.png" in read_state(path).stamps
            assert not read_state(path).is_finished


def test_no_journal_is_none_and_another_file_is_refused(tmp_path):
    assert read_state(tmp_path / JOURNAL_FILE) is None
    header = '{"format": "samspl-predict-1"'
    whole = header + ', "settings": {}, "overwrite": false}\n'
    for content in (
        '{"format": "other"}\n',
        "[1]\n",
        "text\n",
        header + "}\n",
        header + ', "settings": 5, "overwrite": false}\n',
        whole + '{"begin": "a.png", "stamp": [5, 17]}\n',  # does not say which file it was
    ):
        (tmp_path / JOURNAL_FILE).write_text(content)
        with pytest.raises(ConfigError, match="is no journal of samspl predict"):
            read_state(tmp_path / JOURNAL_FILE)


def test_journal_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / JOURNAL_FILE).mkdir()
    with pytest.raises(ConfigError, match=r"journal\.jsonl cannot be read: .*; choose another --out"):
        read_state(tmp_path / JOURNAL_FILE)


def test_file_is_noted_as_it_was_before_reading_and_may_be_gone_by_then(tmp_path, source):
    source.path.unlink()
    journal = Journal(tmp_path / "o", State({}, may_replace=False), is_new=True)
    journal.begin(source)
    journal.close()
    assert read_state(journal.path).stamps == {"a.png": source.stamp}


def test_journal_begun_anew_keeps_what_its_state_holds_as_begun(tmp_path, source):
    Journal(tmp_path, State({}, may_replace=False, stamps={"a.png": source.stamp}), is_new=True).close()
    assert read_state(tmp_path / JOURNAL_FILE).stamps == {"a.png": source.stamp}


def test_full_disk_leaves_whole_lines(tmp_path, source):
    journal = Journal(tmp_path / "o", State({}, may_replace=True), is_new=True)
    journal.begin(source)
    file = journal._file

    class NearlyFull:
        """Takes ten bytes, then nothing."""

        taken = False

        def write(self, data):
            if self.taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.taken = True
            return file.write(data[:10])

        def __getattr__(self, name):
            return getattr(file, name)

    journal._file = NearlyFull()
    with pytest.raises(SamsplError, match=r"journal\.jsonl cannot be written: No space left on device"):
        journal.done(FrameDone(source, RECORD))
    journal._file = file
    journal.done(FrameDone(source, RECORD))  # there is room again
    journal.close()
    lines = Path(journal.path).read_bytes().splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["format", "begin", "done"]


def test_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SamsplError, match="cannot be written"):
        Journal(tmp_path / "file" / "o", State({}, may_replace=False), is_new=True)
