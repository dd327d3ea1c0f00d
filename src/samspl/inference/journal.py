"""What a run has done so far, a JSON line each, so that it can be stopped at any moment and started again.

The first line says with which settings. A file is begun before anything is written for it: what is there without being
begun is not ours and is never replaced. A line that a crash has cut off counts as not written.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samspl.errors import ConfigError, SamsplError
from samspl.inference.outputs import FileDone, FrameDone
from samspl.inference.sources import SourceFile, Stamp

JOURNAL_FILE = "journal.jsonl"
FORMAT = "samspl-predict-1"


@dataclass
class State:
    """What a journal says."""

    settings: dict[str, Any]
    """Options that results depend on."""
    may_replace: bool
    """Whether the run was told to overwrite."""
    stamps: dict[str, Stamp] = field(default_factory=dict)
    """Of each file begun, by name."""
    frames: dict[str, dict[str, FrameDone]] = field(default_factory=dict)
    """By file and frame."""
    whole: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Files done to the end, with what was written for them as a whole."""
    is_finished: bool = False
    """Whether the run came to its end."""
    length: int = 0
    """Bytes up to the last whole line."""


def read_state(path: Path) -> State | None:
    """Read a journal.

    Returns:
        None where there is none, or nothing of it was written yet.
    Raises:
        ConfigError: if the file is something else, or cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise ConfigError(f"{path} cannot be read: {err.strerror or err}; choose another --out") from err
    lines = data.split(b"\n")[:-1]  # behind the last line end: nothing, or what a crash has left
    state = None
    try:
        for line in lines:
            entry = json.loads(line)
            if state is None:
                if entry["format"] != FORMAT:
                    raise ValueError(f"format {entry['format']!r}")
                state = State(dict(entry["settings"]), bool(entry["overwrite"]))
            else:
                _apply(state, entry)
            state.length += len(line) + 1
    except (ValueError, KeyError, TypeError) as err:
        raise ConfigError(f"{path} is no journal of samspl predict ({err}); choose another --out") from err
    return state


def _apply(state: State, entry: Mapping[str, Any]) -> None:
    match entry:
        case {"begin": name, "stamp": [str(path), int(size_bytes), int(changed_ns)]}:
            state.stamps[name] = Stamp(path, size_bytes, changed_ns)
        case {"done": {"file": frame} as record, "of": name, "written": [*written]}:
            file = SourceFile(Path(name), name)
            state.frames.setdefault(name, {})[frame] = FrameDone(file, record, tuple(written))
        case {"end": name, "written": [*written]}:
            state.whole[name] = tuple(written)
        case {"finished": bool(value)}:
            state.is_finished = value
        case _:
            raise ValueError(f"unknown entry {str(entry)[:60]}")


class Journal:
    """A journal that is written on."""

    def __init__(self, folder: Path, state: State, is_new: bool) -> None:
        """Open it, or begin a new one in place of what is there.

        Raises:
            SamsplError: if it cannot be written.
        """
        self.path, self.state = folder / JOURNAL_FILE, state
        self._length = 0 if is_new else state.length
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # without a buffer, so that a crash loses nothing and closing cannot fail
            self._file = self.path.open("wb" if is_new else "r+b", buffering=0)
            self._file.truncate(self._length)
        except OSError as err:
            raise self._refusal(err) from err
        if is_new:
            self._write({"format": FORMAT, "settings": state.settings, "overwrite": state.may_replace})
            for name, stamp in state.stamps.items():
                self._write({"begin": name, "stamp": stamp})
        else:
            self._write({"finished": False})

    def begin(self, file: SourceFile) -> None:
        """Note that results of a file, as it was when it was read, are about to be written."""
        assert file.stamp is not None, "taken before reading: by now the file may be another, or gone"
        if self.state.stamps.get(file.name) != file.stamp:
            self.state.stamps[file.name] = file.stamp
            self._write({"begin": file.name, "stamp": file.stamp})

    def done(self, frame: FrameDone) -> None:
        """Note that the results of a frame are there."""
        self.state.frames.setdefault(frame.file.name, {})[frame.record["file"]] = frame
        self._write({"done": frame.record, "of": frame.file.name, "written": frame.written})

    def end(self, file: FileDone) -> None:
        """Note that all frames of a file are done."""
        self.state.whole[file.file.name] = file.written
        self._write({"end": file.file.name, "written": file.written})

    def finish(self) -> None:
        """Note that the run came to its end."""
        self._write({"finished": True})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        try:
            self._file.seek(self._length)
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as err:
            with contextlib.suppress(OSError):  # half a line must not be followed by another
                self._file.truncate(self._length)
            raise self._refusal(err) from err
        self._length += len(line)

    def _refusal(self, err: OSError) -> SamsplError:
        return SamsplError(
            f"{self.path} cannot be written: {err.strerror or err}; check space and permission"
        )


def missing(folder: Path, written: Iterable[str]) -> bool:
    """Whether one of the files that were written is gone."""
    return any(not (folder / name).exists() for name in written)
