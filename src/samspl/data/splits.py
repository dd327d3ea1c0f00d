"""Split lists: which images are trained on and which are tested, in every layout the field uses.

A result is worth nothing without its split: `Split` carries the name of the set of lists and a checksum of
the ids.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from samspl.data.duplicates import duplicate_groups
from samspl.data.specs import DatasetSpec
from samspl.errors import ConfigError, DatasetError
from samspl.imaging import IMAGE_SUFFIXES, read_image

VAL_FRACTION = 0.1
"""Part of the train list that split "val" is."""
VAL_SEED = 2727
"""Seed that chooses it; that of the published training."""

# Name of the set, its train list and its test list, below the data set's folder; {name} is any name of the
# data set. "set_configs" lies beside the folder.
_LAYOUTS = (
    ("root", "train.txt", "test.txt"),
    ("img_idx", "img_idx/train_{name}.txt", "img_idx/test_{name}.txt"),
    ("50_50", "50_50/train.txt", "50_50/test.txt"),
    ("idx_427", "idx_427/trainval.txt", "idx_427/test.txt"),
    ("set_configs", "../set_configs/{name}/train.txt", "../set_configs/{name}/test.txt"),
)


@dataclass(frozen=True)
class Split:
    """The ids of one split, in list order."""

    name: str
    """``train``, ``val``, ``test``, or the path of a list."""
    split_set: str | None
    """Which set of lists it is from, e.g. ``img_idx``; none for a list given by path."""
    path: Path
    """The list it was read from."""
    ids: tuple[str, ...]
    """Names of images without suffix."""

    @property
    def sha256(self) -> str:
        """Checksum over the ids in list order, joined by line feeds."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()


def _clean_id(line: str, path: Path) -> str:
    image_id = line
    for suffix in IMAGE_SUFFIXES:
        if line.lower().endswith(suffix):
            image_id = line[: -len(suffix)]
            break
    is_unsafe = (
        not image_id
        or "\\" in image_id
        or re.match(r"[A-Za-z]:", image_id) is not None
        or any(ord(letter) < 32 for letter in image_id)
        or PurePosixPath(image_id).is_absolute()
        or any(part in ("", ".", "..") for part in image_id.split("/"))
    )
    if is_unsafe:
        raise DatasetError(
            f"split list {path} holds {line!r}; expected the name of an image inside the data set's folder"
        )
    return image_id


def read_list(path: Path) -> tuple[str, ...]:
    """Read a split list, one id a line.

    Byte order mark, CR LF, blank lines, spaces around an id and the suffix of an image are taken off.

    Returns:
        Ids in list order.
    Raises:
        ConfigError: if there is no such file.
        DatasetError: if it cannot be read, is empty, repeats an id, or an id leads out of the data set's
            folder.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as err:
        raise ConfigError(
            f"split list {path} does not exist; give the path of a list, one id a line"
        ) from err
    except (OSError, UnicodeDecodeError) as err:
        raise DatasetError(f"split list {path} cannot be read ({err}); expected text, one id a line") from err
    ids = tuple(_clean_id(line.strip(), path) for line in text.splitlines() if line.strip())
    if not ids:
        raise DatasetError(f"split list {path} holds no ids; expected one a line")
    if repeated := [image_id for image_id, count in Counter(ids).items() if count > 1]:
        raise DatasetError(
            f"split list {path} holds {len(repeated)} ids more than once ({', '.join(repeated[:3])}); "
            "each image may stand in it once"
        )
    return ids


def _existing(root: Path, pattern: str, names: set[str]) -> Path | None:
    """The file a layout's pattern means; names in it are matched without regard to case."""
    folder = root.parent if pattern.startswith("../") else root
    parts = pattern.removeprefix("../").split("/")
    for part in parts:
        wanted = {part.replace("{name}", name).lower() for name in names}
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        match = next((entry for entry in entries if entry.name.lower() in wanted), None)
        if match is None:
            return None
        folder = match
    return folder if folder.is_file() else None


def split_sets(root: Path, spec: DatasetSpec) -> dict[str, tuple[Path | None, Path | None]]:
    """Sets of lists that are there: name to train list and test list (none where only the other is there)."""
    names = {name.lower() for name in (spec.name, *spec.aliases, root.resolve().name)}
    found = {}
    for set_name, *patterns in _LAYOUTS:
        train, test = (_existing(root.resolve(), pattern, names) for pattern in patterns)
        if train or test:
            found[set_name] = (train, test)
    return found


def hold_out(
    ids: Sequence[str], fraction: float, seed: int, groups: Iterable[Sequence[str]] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set a random part of some ids aside, groups of belonging ones always as a whole.

    Which ids are chosen depends on the set of ids, groups, fraction and seed alone, not on their order.

    Args:
        ids: At least two different ids.
        fraction: Part to set aside, between 0 and 1; at least one id is set aside and at least one kept.
        seed: Of the choice.
        groups: Ids that stay on one side, such as near duplicates; no id in two groups. A group that would make
            the part too large is kept. Where nothing but one group is there, it is divided all the same.
    Returns:
        Kept and set-aside ids, both in the order they came.
    Raises:
        ValueError: for fewer than two ids or a fraction outside 0..1.
    """
    if len(ids) < 2 or not 0 < fraction < 1:
        raise ValueError(
            f"{len(ids)} ids and fraction {fraction}; expected at least 2 ids and 0 < fraction < 1"
        )
    ordered = sorted(ids)
    count = min(max(round(len(ordered) * fraction), 1), len(ordered) - 1)
    group_of = {i: frozenset(group) & frozenset(ids) for group in groups for i in group}
    aside: set[str] = set()
    order = [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]
    for image_id in order:
        unit = group_of.get(image_id, frozenset((image_id,)))
        if image_id not in aside and len(aside) + len(unit) <= count:
            aside |= unit
    if not aside:  # every group is larger than the part: the smallest goes aside, unless it is all there is
        smallest = min((group_of[i] for i in order), key=len)
        aside = set(smallest) if len(smallest) < len(ids) else set(order[:count])
    return tuple(i for i in ids if i not in aside), tuple(i for i in ids if i in aside)


def find_split(root: Path, spec: DatasetSpec, split: str, split_set: str | None = None) -> Split:
    """Find and read the list of a split.

    Args:
        root: The data set's own folder.
        spec: Its specification; names the set of lists taken by default.
        split: ``train`` (the whole train list), ``test``, ``val`` (a seeded tenth of the train list, near
            duplicates all inside or all outside), or the path of a list.
        split_set: ``root``, ``img_idx``, ``50_50``, ``idx_427`` or ``set_configs``; none takes the data set's
            default, or the first that is there.
    Raises:
        ConfigError: for an unknown split, a list file that is not there, or an unknown set of lists.
        DatasetError: if the data set lacks the list; the sentence says what is there or how one is made.
    """
    if split not in ("train", "val", "test"):
        path = Path(split)
        if not path.is_file() and path.suffix.lower() != ".txt" and len(path.parts) == 1:
            raise ConfigError(f"split is {split!r}; expected train, val, test, or the path of a list")
        return Split(split, None, path, read_list(path))
    found = split_sets(root, spec)
    if not found:
        raise DatasetError(
            f"{root} has no split lists (looked for train.txt, img_idx/, 50_50/, idx_427/ and "
            f"../set_configs/); make them with: samspl data split {root}"
        )
    chosen = split_set or spec.split_set or next(iter(found))
    if chosen not in found:
        asked = "was asked for" if split_set else f"is the default of {spec.name}"
        error = ConfigError if split_set else DatasetError
        raise error(
            f"{root} has no split set {chosen!r}, which {asked}; there is: {', '.join(found)} "
            "(choose with --split-set)"
        )
    train, test = found[chosen]
    path_or_none = test if split == "test" else train
    if path_or_none is None:
        there = train or test
        raise DatasetError(f"split set {chosen!r} of {root} has no {split} list, only {there}; add the other")
    ids = read_list(path_or_none)
    if split == "val":
        ids = hold_out(ids, VAL_FRACTION, VAL_SEED, _near_duplicates(root, spec, ids))[1]
    return Split(split, chosen, path_or_none, ids)


def _near_duplicates(root: Path, spec: DatasetSpec, ids: Sequence[str]) -> list[list[str]]:
    """Groups of ids whose images show the same; images that are not there belong to none."""
    from samspl.data.dataset import find_files  # which itself needs this module

    files = find_files(root, spec.images)
    there = sorted(image_id for image_id in ids if image_id in files)
    groups = duplicate_groups(read_image(files[image_id]) for image_id in there)
    return [[there[index] for index in group] for group in groups]
