"""One run over many files: what it does, what of it is done already, and that it replaces nothing of the user's."""

import dataclasses
import hashlib
from collections.abc import Container, Mapping, Sequence
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
            "--weights": {"sha256": digest.hexdigest()[:16], "name": str(self.weights)},
            "--threshold": self.threshold,
            "--min-area": self.min_area_px,
            "--tile": self.tile,
            "--backend": self.backend,
            "preprocessing": None if self.preprocess is None else self.preprocess.to_dict(),
        }


class Plan:
    """What a run has to do, and its journal once it has begun."""

    def __init__(
        self,
        files: Sequence[SourceFile],
        outputs: Outputs,
        state: State,
        is_new: bool,
        refused: Sequence[str] = (),
    ) -> None:
        """Nothing is written yet; ``refused`` says of each folder that could not be searched why."""
        self.files, self.outputs, self.state, self._is_new = files, outputs, state, is_new
        self.refused = tuple(refused)
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
    refused: list[str] = []
    files = find_files(paths, recursive, refused.append)
    _refuse_mixing(files, paths, recursive, outputs)
    require_writable(outputs.folder, "--out", is_folder=True)
    settings = {**job.settings(), "--save": sorted(outputs.kinds)}
    before = read_state(outputs.folder / JOURNAL_FILE)
    objection = None if before is None else _objection(before, settings, files)
    if before is not None and before.frames and objection and not overwrite:
        raise ConfigError(f"{outputs.folder} {objection}; {_ADVICE}")
    if before is None or objection or (overwrite and before.is_finished):
        is_new, state, own_kinds = True, State(settings, overwrite), []
        if before is not None and not (overwrite or before.may_replace):
            # no frame was done, so that nothing mixes; what that run had begun is ours
            state.stamps, own_kinds = before.stamps, before.settings.get("--save", [])
    else:
        is_new, state, own_kinds = False, before, settings["--save"]
    if not (overwrite or state.may_replace):
        _refuse_replacing(files, outputs, state.stamps, own_kinds)
    return Plan(files, outputs, state, is_new, refused)


def _objection(state: State, settings: Mapping[str, Any], files: Sequence[SourceFile]) -> str | None:
    """Why a run cannot go on where another one stopped, if so."""
    changed = [
        f"{name} was {_said(state.settings.get(name))}, now {_said(value)}"
        for name, value in settings.items()
        if _compared(state.settings.get(name)) != _compared(value)
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


def _compared(value: Any) -> Any:
    """What of a setting matters: the content of weights, whatever they are called."""
    return value["sha256"] if isinstance(value, dict) and "sha256" in value else value


def _said(value: Any) -> str:
    match value:
        case {"sha256": digest, "name": name}:
            return f"{name} ({digest})"
        case list():
            return ",".join(value)
        case None:
            return "the default"
    return str(value)


def _refuse_replacing(
    files: Sequence[SourceFile], outputs: Outputs, begun: Container[str], own_kinds: Container[str]
) -> None:
    """What no run of ours has written must stay: ours are the tables and the results of files begun, of its kinds."""
    others = dataclasses.replace(
        outputs, kinds=tuple(kind for kind in outputs.kinds if kind not in own_kinds)
    )
    there = next((path for path in others.tables() if path.exists()), None)
    for file in files:
        there = there or (others if file.name in begun else outputs).existing(file)
    if there:
        raise ConfigError(f"{there} is there already; {_ADVICE}")


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
