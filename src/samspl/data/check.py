"""The data doctor: reads all of a data set and says what is wrong, what is mended, and if training can start.

Severities: ``fatal`` stops training or makes its result worthless, ``mended`` is put right on reading and
says how, ``note`` is worth knowing. A damaged file is fatal only if a split list names it, or if there is
no list. Duplicates across the train and test lists, exact ones too, are notes: published sets have them
(NUAA-SIRST one near pair), and figures are taken on the lists as published; who makes new lists takes them out.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from samspl.data.dataset import find_files
from samspl.data.duplicates import Duplicate, Fingerprint, find_duplicates, fingerprint
from samspl.data.specs import DatasetSpec, get_spec
from samspl.data.splits import read_list, split_sets
from samspl.errors import DatasetError, ImageError
from samspl.imaging import read_image, read_mask
from samspl.targets import find_components

Severity = Literal["fatal", "mended", "note"]
Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Wraps an iterable of known length, as ``lambda items, total: tqdm(items, total=total)`` does."""

NO_TARGETS = "no targets"
"""Kind of the one finding that is fatal to a data set alone, and not where others are trained on beside it."""
_SEVERITIES: tuple[Severity, ...] = ("fatal", "mended", "note")
_PNG_COLOURS = {2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


@dataclass(frozen=True)
class Problem:
    """One finding."""

    kind: str
    """What it is, e.g. ``unreadable image``; the same words for all files that have it."""
    severity: Severity
    """``fatal``, ``mended`` or ``note``."""
    file: str
    """File or folder, relative to the data set's folder, with ``/``."""
    detail: str
    """What was found, and what reading does about it or what to do."""


@dataclass(frozen=True)
class Report:
    """What a data set holds and what is wrong with it."""

    name: str
    """Of the data set."""
    images: int
    """Image files found."""
    target_area_px: np.ndarray
    """(N,) int64: pixels of every target of the masks that could be read and belong to an image."""
    problems: tuple[Problem, ...]
    """Fatal ones first, then by kind and file."""
    splits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Set of lists to its number of train and test ids."""

    @property
    def targets(self) -> int:
        """Targets in all masks."""
        return len(self.target_area_px)

    @property
    def fatal(self) -> bool:
        """Whether training cannot start."""
        return any(problem.severity == "fatal" for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """The object of ``samspl data check --json``."""
        return {
            "images": self.images,
            "targets": self.targets,
            "fatal": self.fatal,
            "problems": [vars(problem) for problem in self.problems],
        }

    def to_text(self) -> str:
        """A page for people: counts, target sizes and a table with one row for each kind of finding."""
        lines = [f"{self.name}: {self.images} images, {self.targets} targets"]
        if self.targets:
            low, q1, median, q3, high = np.percentile(self.target_area_px, (0, 25, 50, 75, 100))
            lines.append(
                f"target area: {low:.0f} to {high:.0f} px, median {median:.0f}, "
                f"middle half {q1:.0f} to {q3:.0f}; "
                f"{np.mean(self.target_area_px > 80):.0%} above 80 px"
            )
        lines += [
            f"split set {name}: {train} train, {test} test" for name, (train, test) in self.splits.items()
        ]
        if not self.problems:
            return "\n".join([*lines, "no problems: training can start"])
        kinds: dict[tuple[Severity, str], list[Problem]] = {}
        for problem in self.problems:
            kinds.setdefault((problem.severity, problem.kind), []).append(problem)
        width = max(len(kind) for _, kind in kinds)
        lines += ["", f"{'severity':<9} {'finding':<{width}} {'files':>6}  first of them"]
        for (severity, kind), found in kinds.items():
            lines.append(f"{severity:<9} {kind:<{width}} {len(found):>6}  {found[0].file}: {found[0].detail}")
        verdict = "training cannot start: mend what is fatal" if self.fatal else "training can start"
        return "\n".join([*lines, "", verdict])


def check_dataset(
    root: Path, spec: DatasetSpec | None = None, progress: Progress | None = None, threads: int | None = None
) -> Report:
    """Read every image, mask and split list of a data set and report on them.

    Args:
        root: The data set's own folder.
        spec: Its specification; None takes the one that `get_spec` gives for the folder.
        progress: Told of every file pair read.
        threads: That read at the same time; None takes the number of cores.
    Raises:
        DatasetError: if the folder does not exist.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; give the folder that holds images/ and masks/")
    spec = spec or get_spec(root)
    images, masks = find_files(root, spec.images), find_files(root, spec.masks)
    if not images:
        nothing = Problem("no images", "fatal", ".", f"looked for {', '.join(spec.images)}")
        return Report(spec.name, 0, np.zeros(0, np.int64), (nothing,))
    lists, problems = _read_lists(root, spec)
    chosen = spec.split_set if spec.split_set in lists else next(iter(lists), None)
    listed = {image_id for pair in lists.values() for ids in pair for image_id in ids}
    in_use = listed if chosen else set(images)
    problems += _check_lists(root, spec, lists, chosen, images)
    problems += _check_pairing(root, images, masks, in_use)

    paired = [image_id for image_id in images if image_id in masks]
    tasks = [
        (spec, root, image_id, images[image_id], masks[image_id], image_id in in_use) for image_id in paired
    ]
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        results: Iterable[_Reading] = pool.map(_read_pair, tasks)
        readings = list(progress(results, len(tasks)) if progress else results)
    problems += itertools.chain.from_iterable(reading.problems for reading in readings)
    problems += _check_duplicates(root, readings, images, lists)
    areas = np.concatenate([np.zeros(0, np.int64), *(reading.area_px for reading in readings)])
    if not len(areas):
        problems.append(
            Problem(NO_TARGETS, "fatal", ".", "not one mask holds a target; there is nothing to learn")
        )
    order = {severity: rank for rank, severity in enumerate(_SEVERITIES)}
    problems.sort(key=lambda problem: (order[problem.severity], problem.kind, problem.file, problem.detail))
    counts = {name: (len(train), len(test)) for name, (train, test) in lists.items()}
    return Report(spec.name, len(images), areas, tuple(problems), counts)


_Lists = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def _read_lists(root: Path, spec: DatasetSpec) -> tuple[_Lists, list[Problem]]:
    """Every set of lists that can be read: name to train and test ids (none where the list is not there)."""
    lists: _Lists = {}
    problems = []
    for name, paths in split_sets(root, spec).items():
        both: list[tuple[str, ...]] = []
        for split, path in zip(("train", "test"), paths, strict=True):
            both.append(())
            if path is None:
                problems.append(
                    Problem(
                        f"no {split} list", "note", ".", f"split set {name} has no {split} list of its own"
                    )
                )
                continue
            try:
                both[-1] = read_list(path)
            except DatasetError as err:
                problems.append(Problem("bad split list", "fatal", _relative(root, path), str(err)))
        lists[name] = (both[0], both[1])
    if not lists:
        advice = f"make train.txt and test.txt with: samspl data split {root}"
        problems.append(Problem("no split lists", "fatal", ".", advice))
    return lists, problems


def _check_lists(
    root: Path, spec: DatasetSpec, lists: _Lists, chosen: str | None, images: Mapping[str, Path]
) -> list[Problem]:
    problems = []
    for name, (train, test) in lists.items():
        # lists that are not used unless asked for do not stop training
        severity: Severity = "fatal" if name == chosen else "note"
        for split, ids in (("train", train), ("test", test)):
            for image_id in sorted(set(ids) - set(images)):
                detail = f"stands in the {split} list of split set {name}, but there is no such image"
                problems.append(Problem("listed but absent", severity, image_id, detail))
        for image_id in sorted(set(train) & set(test)):
            file = _relative(root, images[image_id]) if image_id in images else image_id
            detail = f"stands in both lists of split set {name}; take it out of one"
            problems.append(Problem("in train and test", severity, file, detail))
    for (first, (train_a, test_a)), (second, (train_b, test_b)) in itertools.combinations(lists.items(), 2):
        mixed = [
            f"{len(set(test) & set(train))} of {len(test)} test images of {a} are training images of {b}"
            for a, test, b, train in ((first, test_a, second, train_b), (second, test_b, first, train_a))
            if set(test) & set(train)
        ]
        if mixed:
            detail = f"{'; '.join(mixed)}: results of one cannot be compared with the other's"
            problems.append(Problem("split sets differ", "note", ".", detail))
    for defect in spec.defects:
        for image_id in defect.ids:
            if image_id in images:
                file = _relative(root, images[image_id])
                problems.append(Problem("known defect", "note", file, f"published so: {defect.sentence}"))
    return problems


def _check_pairing(
    root: Path, images: Mapping[str, Path], masks: Mapping[str, Path], in_use: set[str]
) -> list[Problem]:
    problems = []
    for image_id in sorted(set(images) - set(masks)):
        severity: Severity = "fatal" if image_id in in_use else "note"
        problems.append(
            Problem("image without mask", severity, _relative(root, images[image_id]), "no mask has its name")
        )
    for image_id in sorted(set(masks) - set(images)):
        file = _relative(root, masks[image_id])
        problems.append(Problem("mask without image", "note", file, "no image has its name; it is not used"))
    return problems


@dataclass(frozen=True)
class _Reading:
    """What is kept of one pair of files."""

    image_id: str
    problems: list[Problem]
    area_px: np.ndarray
    print_: Fingerprint | None
    mask_digest: bytes


def _read_pair(task: tuple[DatasetSpec, Path, str, Path, Path, bool]) -> _Reading:
    spec, root, image_id, image_path, mask_path, is_used = task
    severity: Severity = "fatal" if is_used else "note"
    problems: list[Problem] = []
    image, mask = None, None
    try:
        image = read_image(image_path)
    except ImageError as err:
        problems.append(Problem("unreadable image", severity, _relative(root, image_path), str(err)))
    try:
        mask = read_mask(mask_path)
    except ImageError as err:
        problems.append(Problem("unreadable mask", severity, _relative(root, mask_path), str(err)))
    is_finite = image is not None and (image.dtype.kind != "f" or bool(np.isfinite(image).all()))
    if image is not None:
        problems += _check_image(_relative(root, image_path), image_path, image, is_finite, severity)
    area_px, mask_digest = np.zeros(0, np.int64), b""
    if mask is not None:
        gt_mask = spec.binarise(mask)
        problems += _check_mask(spec, _relative(root, mask_path), mask, gt_mask, severity)
        area_px, mask_digest = find_components(gt_mask).area_px, fingerprint(gt_mask.view(np.uint8)).digest
    if image is not None and mask is not None and image.shape != mask.shape:
        sizes = f"mask {mask.shape[1]}x{mask.shape[0]}, image {image.shape[1]}x{image.shape[0]}"
        is_known = spec.known_defect(image_id) is not None
        action = "resized (nearest) to the image" if is_known else "correct the mask"
        problems.append(
            Problem(
                "mask of another size",
                "mended" if is_known else severity,
                _relative(root, mask_path),
                f"{sizes}; {action}",
            )
        )
    return _Reading(
        image_id,
        problems,
        area_px,
        fingerprint(image) if image is not None and is_finite else None,
        mask_digest,
    )


def _check_image(
    file: str, path: Path, image: np.ndarray, is_finite: bool, severity: Severity
) -> list[Problem]:
    problems = []
    if not is_finite:
        problems.append(
            Problem("values not finite", severity, file, "holds NaN or infinite values; replace them")
        )
    if colour := _png_colour(path):
        kind = "palette image" if colour == "palette" else "colour image"
        problems.append(Problem(kind, "mended", file, f"stored as {colour}; read as one grey channel"))
    if image.dtype != np.uint8:
        kind = "16-bit image" if image.dtype == np.uint16 else f"{image.dtype} image"
        detail = "mapped from its 0.1 and 99.9 percentiles to 0..255, or by each frame's own statistics"
        problems.append(Problem(kind, "mended", file, detail))
    if is_finite and image.min() == image.max():
        problems.append(Problem("constant image", "note", file, f"every pixel is {image.flat[0]}"))
    if min(image.shape) < 32:
        size = f"{image.shape[1]}x{image.shape[0]}"
        problems.append(Problem("tiny image", "note", file, f"{size} pixels; the network's stride is 32"))
    return problems


def _check_mask(
    spec: DatasetSpec, file: str, mask: np.ndarray, gt_mask: np.ndarray, severity: Severity
) -> list[Problem]:
    counts = np.bincount(mask.ravel(), minlength=256)
    is_empty = not gt_mask.any()
    if is_empty and counts[1:].any():
        top = int(np.flatnonzero(counts)[-1])
        detail = f"largest value {top}, target begins at {spec.mask_threshold}; rescale it to 0 and 255"
        return [Problem("mask below threshold", severity, file, detail)]
    problems = []
    if is_empty:
        problems.append(Problem("empty mask", "note", file, "no target"))
    if grey := int(counts[1:255].sum()):
        rule = (
            "every positive value is target"
            if spec.mask_resize == "bilinear_positive"
            else f"cut at {spec.mask_threshold}"
        )
        problems.append(Problem("mask not binary", "mended", file, f"{grey} grey pixels; {rule}"))
    return problems


def _png_colour(path: Path) -> str | None:
    """How a PNG stores its pixels, from its header; None for plain grey and for other formats."""
    with path.open("rb") as file:
        header = file.read(26)
    return _PNG_COLOURS.get(header[25]) if header.startswith(b"\x89PNG") and len(header) == 26 else None


def _check_duplicates(
    root: Path, readings: list[_Reading], images: Mapping[str, Path], lists: _Lists
) -> list[Problem]:
    readable = [reading for reading in readings if reading.print_ is not None]
    pairs = find_duplicates([reading.print_ for reading in readable if reading.print_ is not None])
    train = {name: set(ids) for name, (ids, _) in lists.items()}
    test = {name: set(ids) for name, (_, ids) in lists.items()}
    problems = []
    for pair in pairs:
        first, second = readable[pair.first], readable[pair.second]
        a, b = first.image_id, second.image_id
        across = [
            name
            for name in lists
            if (a in train[name] and b in test[name]) or (b in train[name] and a in test[name])
        ]
        kind = f"{'exact' if pair.is_exact else 'near'} duplicate{' across splits' if across else ''}"
        detail = f"{_likeness(pair)} {_relative(root, images[b])}"
        if across:
            detail += f"; one is for training, the other for testing in split set {', '.join(across)}"
            detail += " (a note, as published sets have them; figures come out too good)"
        if pair.is_exact and first.mask_digest != second.mask_digest:
            detail += "; their masks differ"
        problems.append(Problem(kind, "note", _relative(root, images[a]), detail))
    return problems


def _likeness(pair: Duplicate) -> str:
    return "same pixels as" if pair.is_exact else f"fine structure correlates {pair.correlation:.2f} with"


def _relative(root: Path, path: Path) -> str:
    # set_configs lies beside the folder
    return Path(os.path.relpath(path, root)).as_posix()
