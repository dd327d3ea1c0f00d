"""Files of paths, folders and patterns, and the frames in them: images, TIFF of many pages, videos.

Every frame has a relative name, from which the names of its results follow: that of its file, for one of several
frames with its number (`stack.tiff` holds `stack_0000.tiff`, `stack_0001.tiff`, ...).
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from samspl.errors import ConfigError, ImageError, SamsplError
from samspl.imaging import IMAGE_SUFFIXES, read_pages
from samspl.inference.video import VIDEO_SUFFIXES, read_video

logger = logging.getLogger(__name__)

PAGE_DIGITS = 4
"""Digits of a page's number in its name, at least."""
VIDEO_DIGITS = 6
"""Digits of a video frame's number, at least: nine hours at 30 frames a second keep their order by name."""


class Stamp(NamedTuple):
    """Tells a file from any other, and from itself once it has changed."""

    path: str
    """Absolute, symbolic links followed: files of two folders may be equal in all else."""
    size_bytes: int
    """Its length."""
    changed_ns: int
    """Time of its last change."""


@dataclass(frozen=True)
class SourceFile:
    """A file with one frame or more."""

    path: Path
    """Where it is."""
    name: str
    """Relative name of its results, with the suffix of the file, parts divided by `/`."""
    stamp: Stamp | None = field(default=None, compare=False)
    """What it was just before it was read; None if that is not known."""

    def stamped(self) -> "SourceFile":
        """The same with what the file is now.

        Raises:
            ImageError: if it is gone, or does not say.
        """
        try:
            status = self.path.stat()
            found = Stamp(str(self.path.resolve()), status.st_size, status.st_mtime_ns)
        except OSError as err:
            raise ImageError(
                f"{self.path} was found but cannot be read now: {err.strerror or err}; "
                "check whether it was moved or deleted"
            ) from err
        return dataclasses.replace(self, stamp=found)

    @property
    def is_video(self) -> bool:
        """Whether it is read as a video; its suffix decides."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def may_hold_many(self) -> bool:
        """Whether it may hold several frames."""
        return self.is_video or self.path.suffix.lower() in (".tif", ".tiff")

    def name_of(self, index: int | None) -> str:
        """Name of a frame; None for the one frame of its file."""
        if index is None:
            return self.name
        name = Path(self.name)
        digits = VIDEO_DIGITS if self.is_video else PAGE_DIGITS
        return name.with_name(f"{name.stem}_{index:0{digits}d}{name.suffix}").as_posix()


@dataclass(frozen=True, eq=False)
class Frame:
    """One image to look for targets in."""

    name: str
    """Relative name, unique among all frames."""
    image: np.ndarray = field(repr=False)
    """(H, W), grey, type as stored."""
    file: SourceFile
    """Which holds it."""
    index: int | None = None
    """Number within its file, from 0; None if the file holds one."""
    count: int | None = 1
    """Frames of its file; None where a video does not say."""
    time_s: float | None = None
    """When it is shown, in seconds from the start of its video; None for images and where the video does not say."""


@dataclass(frozen=True)
class BadFrame:
    """A frame, or a file, that could not be read."""

    file: SourceFile
    """Which holds it."""
    sentence: str
    """Why, naming file and frame."""


def _search(
    given: str, recursive: bool, common: Path | None, on_refused: Callable[[str], None]
) -> list[tuple[Path, str]]:
    """What one word of the command line stands for: files and the names of their results."""
    path = Path(given)
    if path.is_file():
        return [(path, path.resolve().relative_to(common).as_posix() if common else path.name)]
    if path.is_dir():
        inside = sorted(_list_deep(path, on_refused) if recursive else path.iterdir())
        found = [(file, file.relative_to(path).as_posix()) for file in inside if _is_known(file, path)]
        if not found:
            deeper = "" if recursive else " (--recursive looks into its folders)"
            raise ConfigError(f"folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)}) or video{deeper}")
        return found
    if not _is_pattern(given):
        raise ConfigError(f"{given} does not exist; give images, folders or a pattern")
    fixed, pattern = _split_pattern(path)
    matches = sorted(fixed.glob(pattern))
    found = [(file, file.relative_to(fixed).as_posix()) for file in matches if _is_known(file, fixed)]
    if not found:
        raise ConfigError(f"no image matches {given!r}; check the pattern")
    return found


def _list_deep(folder: Path, on_refused: Callable[[str], None]) -> Iterator[Path]:
    """Files of a folder and its folders; those below that cannot be looked into are told and left out.

    Raises:
        OSError: if the folder itself cannot be looked into.
    """

    def refuse(err: OSError) -> None:
        if Path(err.filename) == folder:
            raise err
        on_refused(f"folder {err.filename} cannot be searched: {err.strerror or err}; check its permission")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names)


def _is_pattern(given: str) -> bool:
    return any(c in given for c in "*?[")


def _split_pattern(path: Path) -> tuple[Path, str]:
    """The folder before the first part with a wildcard, and the rest."""
    first = next(i for i, part in enumerate(path.parts) if _is_pattern(part))
    return Path(*path.parts[:first]), Path(*path.parts[first:]).as_posix()


def _is_known(path: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    if is_hidden or path.suffix.lower() not in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES):
        return False
    try:
        return path.is_file()
    except PermissionError:  # of its folder; told when it is read
        return True


def _refuse_same_names(files: Sequence[SourceFile]) -> None:
    by_stem: dict[str, SourceFile] = {}
    for file in files:
        stem = Path(file.name).with_suffix("").as_posix()
        if stem in by_stem:
            raise ConfigError(
                f"{by_stem[stem].path} and {file.path} would have the same results; predict them apart"
            )
        by_stem[stem] = file
    for stem, file in by_stem.items():
        base, _, number = stem.rpartition("_")
        stack = by_stem.get(base)
        if stack is None or not number.isdecimal() or not stack.may_hold_many:
            continue
        if Path(stack.name_of(int(number))).with_suffix("") == Path(stem) and _holds_many(stack):
            raise ConfigError(
                f"{file.path} and frame {int(number)} of {stack.path} would have the same results; "
                "predict them apart"
            )


def _holds_many(file: SourceFile) -> bool:
    if file.is_video:
        return True
    try:
        return next(read_pages(file.path)).count > 1
    except (ImageError, StopIteration):
        return False


def find_files(
    paths: Sequence[str], recursive: bool = False, on_refused: Callable[[str], None] = logger.warning
) -> list[SourceFile]:
    """Files of paths, folders and patterns, each once, in order.

    In folders and for patterns the known suffixes are taken and hidden files left out; a file that is named itself is
    taken as it is.

    Args:
        paths: Files, folders and patterns.
        recursive: Whether to look into folders of folders.
        on_refused: Is told in a sentence of each folder below a given one that cannot be looked into.
    Raises:
        OSError: for a folder that is given and cannot be looked into.
        ConfigError: for a path that does not exist or holds no image or video, and for two files whose results
            would have the same name.
    """
    named = [Path(given) for given in paths if Path(given).is_file()]
    stems = {file.with_suffix("").name for file in named}
    # frames of several sequences often have the same names: then the folders tell them apart
    common = (
        Path(os.path.commonpath([f.resolve().parent for f in named])) if len(stems) < len(named) else None
    )
    seen: set[Path] = set()
    files = []
    for given in paths:
        for path, name in _search(given, recursive, common, on_refused):
            resolved = path.resolve()
            if resolved not in seen:
                seen.add(resolved)
                files.append(SourceFile(path, name))
    _refuse_same_names(files)
    return files


def is_searched(given: str, recursive: bool, folder: Path) -> bool:
    """Whether a word of the command line looks for images in a folder, or in folders below it.

    Args:
        given: File, folder or pattern.
        recursive: Whether folders are searched with all their folders.
        folder: Resolved; need not be there.
    """
    path = Path(given)
    if path.is_dir():
        return folder == path.resolve() or (recursive and path.resolve() in folder.parents)
    if path.is_file() or not _is_pattern(given):
        return folder == path.parent.resolve()
    fixed, pattern = _split_pattern(path)
    wanted = pattern.split("/")
    if not folder.is_relative_to(fixed.resolve()):
        return False
    parts = folder.relative_to(fixed.resolve()).parts
    matches = all(fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=False))
    return "**" in wanted or (len(wanted) > len(parts) and matches)


def read_frames(file: SourceFile, skip: Container[str] = ()) -> Iterator[Frame | BadFrame]:
    """Read the frames of a file, one after the other and only when they are asked for.

    Args:
        file: To read.
        skip: Names of frames that are not wanted.
    Yields:
        Frames in order; in place of one that is broken, why.
    """
    try:
        yield from _read_video(file, skip) if file.is_video else _read_image(file, skip)
    except SamsplError as err:
        yield BadFrame(file, str(err))


def _read_image(file: SourceFile, skip: Container[str]) -> Iterator[Frame | BadFrame]:
    for page in read_pages(file.path, _SkippedNumbers(file, skip)):
        index = None if page.count == 1 else page.index
        if isinstance(page.image, ImageError):
            yield BadFrame(file, str(page.image))
        elif (name := file.name_of(index)) not in skip:
            yield Frame(name, page.image, file, index, page.count)


def _read_video(file: SourceFile, skip: Container[str]) -> Iterator[Frame | BadFrame]:
    for shot in read_video(file.path):
        name = file.name_of(shot.index)
        if isinstance(shot.image, ImageError):
            yield BadFrame(file, str(shot.image))
        elif name not in skip:
            yield Frame(name, shot.image, file, shot.index, shot.count, shot.time_s)


class _SkippedNumbers:
    """Names that are not wanted, as numbers of pages."""

    def __init__(self, file: SourceFile, names: Container[str]) -> None:
        self.file, self.names = file, names

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self.file.name_of(index) in self.names
