"""One run over many files: what it does, what of it is done already, and that it replaces nothing of the user's."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from samspl.checkpoint import find_weights
from samspl.errors import ConfigError, ImageError
from samspl.inference.detector import Detector
from samspl.inference.journal import JOURNAL_FILE, Journal, State, missing, read_state
from samspl.inference.outputs import SUFFIXES, FileBegun, FileDone, FrameDone, Outcome, Outputs
from samspl.inference.sources import BadFrame, SourceFile, find_files, is_searched
from samspl.inference.tiling import Tile
from samspl.preprocess import Preprocess
from samspl.report import require_writable

_ADVICE = "choose another --out, or add --overwrite"


@dataclass(frozen=True)
class Job:
    """How frames are looked through; plain values, so that it travels to other machines."""

    weights: str
    """As of `Detector`, and so are all that follow."""
    device: str = "auto"
    backend: str = "torch"
    threshold: float | None = None
    preprocess: Preprocess | None = None
    min_area_px: int = 1
    tile: Tile = "auto"

    def detector(self) -> Detector:
        """Load the network.

        Raises:
            SamsplError: if that is not possible.
        """
        return Detector(
            self.weights,
            self.device,
            self.backend,
            self.threshold,
            self.preprocess,
            self.min_area_px,
            self.tile,
        )

    def resolved(self) -> "Job":
        """The same job for processes with another working directory."""
        return dataclasses.replace(self, weights=str(find_weights(self.weights).resolve()))

    def settings(self) -> dict[str, Any]:
        """What results depend on, as plain values by the names of the command line.

        Raises:
            ConfigError: for weights that are not there.
        """
        path = find_weights(self.weights)
        digest = hashlib.sha256()
        for part in (path, path.with_suffix(".bin") if path.suffix == ".xml" else None):
            if part is not None and part.is_file():
                with part.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return {
            "--weights": digest.hexdigest()[:16],
            "--threshold": self.threshold,
            "--min-area": self.min_area_px,
            "--tile": self.tile,
            "--backend": self.backend,
            "preprocessing": None if self.preprocess is None else self.preprocess.to_dict(),
        }


class Plan:
    """What a run has to do, and its journal once it has begun."""

    def __init__(self, files: Sequence[SourceFile], outputs: Outputs, state: State, is_new: bool) -> None:
        """Nothing is written yet."""
        self.files, self.outputs, self.state, self._is_new = files, outputs, state, is_new
        self._journal: Journal | None = None
        self.todo: list[SourceFile] = []
        self.known: dict[str, Mapping[str, FrameDone]] = {}
        for file in files:
            frames = state.frames.get(file.name, {})
            for name in [name for name, done in frames.items() if missing(outputs.folder, done.written)]:
                del frames[name]
                state.whole.pop(file.name, None)
            if file.name not in state.whole or missing(outputs.folder, state.whole[file.name]):
                self.todo.append(file)
                self.known[file.name] = dict(frames)
        self.done_before = sum(len(frames) for frames in state.frames.values())

    @property
    def is_nothing_left(self) -> bool:
        """Whether all results are there."""
        return (
            not self.todo and self.state.is_finished and all(path.exists() for path in self.outputs.tables())
        )

    def records(self) -> list[Mapping[str, Any]]:
        """Of all frames done so far, in the order of the files and of the frames within them."""
        found = []
        for file in self.files:
            frames = self.state.frames.get(file.name, {}).values()
            found += sorted((frame.record for frame in frames), key=lambda record: record.get("frame", 0))
        return found

    def start(self) -> None:
        """Open the journal.

        Raises:
            SamsplError: if it cannot be written.
        """
        self._journal = Journal(self.outputs.folder, self.state, self._is_new)

    def note(self, outcome: Outcome) -> None:
        """Write down what happened.

        Raises:
            SamsplError: if it cannot be written.
        """
        assert self._journal is not None
        match outcome:
            case FileBegun(file):
                self._journal.begin(file)
            case FrameDone():
                self._journal.done(outcome)
            case FileDone():
                self._journal.end(outcome)
            case BadFrame():
                pass  # the next run tries it again

    def finish(self, is_end: bool) -> None:
        """Write the tables of all frames done so far.

        Args:
            is_end: Whether the run came to its end.
        Raises:
            SamsplError: if they cannot be written.
        """
        assert self._journal is not None
        try:
            self.outputs.write_tables(self.records())
            if is_end:
                self._journal.finish()
        finally:
            self._journal.close()


def make_plan(job: Job, paths: Sequence[str], recursive: bool, outputs: Outputs, overwrite: bool) -> Plan:
    """Find files, and what of them is to do; nothing is written.

    Args:
        job: How frames are looked through.
        paths: Files, folders and patterns.
        recursive: Whether to look into folders of folders.
        outputs: What is written, and where.
        overwrite: Whether results that are there may be replaced; a run with the same settings that was broken off
            goes on all the same.
    Raises:
        ConfigError: where there is nothing to do, or results would replace something.
    """
    files = find_files(paths, recursive)
    _refuse_mixing(files, paths, recursive, outputs)
    require_writable(outputs.folder, "--out", is_folder=True)
    settings = {**job.settings(), "--save": sorted(outputs.kinds)}
    state = read_state(outputs.folder / JOURNAL_FILE)
    if state is not None:
        objection = _objection(state, settings, files)
        if objection and not overwrite:
            raise ConfigError(f"{outputs.folder} {objection}; {_ADVICE}")
        if overwrite and (objection or state.is_finished):
            state = None
    is_new = state is None
    if state is None:
        state = State(settings, overwrite)
        if not overwrite and (there := next((path for path in outputs.tables() if path.exists()), None)):
            raise ConfigError(f"{there} is there already; {_ADVICE}")
    if not (overwrite or state.may_replace):
        for file in files:
            if file.name not in state.stamps and (found := outputs.existing(file)):
                raise ConfigError(f"{found} is there already; {_ADVICE}")
    return Plan(files, outputs, state, is_new)


def _objection(state: State, settings: Mapping[str, Any], files: Sequence[SourceFile]) -> str | None:
    """Why a run cannot go on where another one stopped, if so."""
    changed = [
        f"{name} was {_said(state.settings.get(name))}, now {_said(value)}"
        for name, value in settings.items()
        if state.settings.get(name) != value
    ]
    if changed:
        return f"holds results of a run with other settings ({'; '.join(changed)})"
    by_name = {file.name: file for file in files}
    for name, before in state.stamps.items():
        if not state.frames.get(name):
            continue  # begun, but nothing came of it: the user may have repaired or removed it
        if name not in by_name:
            return f"holds results of other images ({name}, which is not among these)"
        try:
            now = by_name[name].stamped().stamp
        except ImageError:
            continue  # gone since it was found, which the run will tell
        if now is not None and now.path != before.path:
            return f"holds results of {before.path}, which is another file than {by_name[name].path}"
        if now != before:
            return f"holds results of {by_name[name].path}, which has changed since"
    return None


def _said(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else "the default" if value is None else str(value)


def _refuse_mixing(
    files: Sequence[SourceFile], paths: Sequence[str], recursive: bool, outputs: Outputs
) -> None:
    """Results must not replace images, nor be taken for images by the next run."""
    out = outputs.folder.resolve()
    for given in paths:
        if is_searched(given, recursive, out):
            raise ConfigError(
                f"--out {outputs.folder} is where {given} looks for images; choose another folder for results"
            )
    places = [out / kind for kind in outputs.kinds if kind in SUFFIXES]
    for file in files:
        path = file.path.resolve()
        if any(place in path.parents for place in places):
            raise ConfigError(
                f"{file.path} is one of the images and lies where results go; choose another --out"
            )
