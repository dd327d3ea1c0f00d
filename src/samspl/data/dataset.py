"""Pairs of image and mask of a data set, checked when it is opened and kept decoded within a memory bound.

Nothing half-read gets through: a file that is missing, damaged or of the wrong size is an error that names
it. The one thing mended here, masks of the wrong size which the specification knows of, is noted in the pair.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samspl.data.specs import DatasetSpec, get_spec, list_specs
from samspl.data.splits import Split, find_split
from samspl.errors import ConfigError, DatasetError
from samspl.imaging import IMAGE_SUFFIXES, read_image, read_mask, resize

CACHE_BYTES = 2**30
"""Decoded images and masks kept in memory by one process (1 GiB) unless told otherwise."""


def find_files(root: Path, patterns: Sequence[str]) -> dict[str, Path]:
    """Files that match a specification's patterns.

    Args:
        root: The data set's folder.
        patterns: As ``images/{id}.*``; where two files have the same id, the earlier pattern wins, then the
            order
            of `IMAGE_SUFFIXES`. A file belongs to the first pattern it matches.
    Returns:
        Id to path, sorted by id. Folders are searched downwards: the id of ``images/a/b.png`` is ``a/b``.
    """
    found: dict[str, Path] = {}
    claimed: set[Path] = set()
    for pattern in patterns:
        folder, _, last = pattern.rpartition("/")
        before, after = last.split("{id}", 1)
        suffix = Path(f"x{after}").suffix  # the x, since Path(".png") has none
        suffixes = IMAGE_SUFFIXES if suffix == ".*" else (suffix.lower(),)
        ending = after.removesuffix(suffix)
        base = root / folder
        matches: list[tuple[str, int, Path]] = []
        for path in base.rglob("*") if base.is_dir() else ():
            if path in claimed or path.suffix.lower() not in suffixes or path.name.startswith("."):
                continue
            stem = path.name[: len(path.name) - len(path.suffix)]
            if len(stem) <= len(before) + len(ending) or not (
                stem.startswith(before) and stem.endswith(ending)
            ):
                continue
            name = stem[len(before) : len(stem) - len(ending)]
            image_id = (path.parent.relative_to(base) / name).as_posix()
            matches.append((image_id, suffixes.index(path.suffix.lower()), path))
        for image_id, _, path in sorted(matches):
            claimed.add(path)
            found.setdefault(image_id, path)
    return dict(sorted(found.items()))


def find_root(data_path: Path, spec: DatasetSpec) -> Path:
    """The data set's own folder.

    Args:
        data_path: Folder that holds one folder for each data set, or the data set's folder itself.
        spec: Its names are matched without regard to case; a root of its own goes before.
    Raises:
        ConfigError: if there is no such folder.
    """
    if spec.root is not None:
        if not spec.root.is_dir():
            raise ConfigError(f"folder {spec.root} of data set {spec.name} does not exist; correct its path")
        return spec.root
    names = [name.lower() for name in (spec.name, *spec.aliases)]
    if not data_path.is_dir():
        raise ConfigError(f"data path {data_path} does not exist; expected a folder that holds {spec.name}/")
    by_name = {entry.name.lower(): entry for entry in sorted(data_path.iterdir()) if entry.is_dir()}
    for name in names:
        if name in by_name:
            return by_name[name]
    folder = data_path.resolve().name.lower()
    others = {name.lower() for other in list_specs() for name in (other.name, *other.aliases)}
    has_images = any((data_path / pattern).parent.is_dir() for pattern in spec.images)
    if folder in names or (has_images and folder not in others):
        return data_path
    there = ", ".join(entry.name for entry in list(by_name.values())[:8]) or "no folder"
    raise ConfigError(f"data path {data_path} holds no folder {spec.name}; there is: {there}")


def _resolve(root: Path, patterns: Sequence[str], split: Split, what: str) -> list[Path]:
    files = find_files(root, patterns)
    if missing := [image_id for image_id in split.ids if image_id not in files]:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DatasetError(
            f"{len(missing)} of {len(split.ids)} {what}s listed in {split.path} are missing below {root}: "
            f"{', '.join(missing[:5])}{more} (looked for {', '.join(patterns)})"
        )
    return [files[image_id] for image_id in split.ids]


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"


@dataclass(frozen=True)
class Pair:
    """One image and its mask; the arrays are read-only."""

    id: str
    """Name in the split list."""
    image: np.ndarray
    """(H, W), type as stored."""
    mask: np.ndarray
    """(H, W) bool, true on targets."""
    image_path: Path
    """Where the image was read from."""
    mask_path: Path
    """Where the mask was read from."""
    notes: tuple[str, ...] = ()
    """What was mended on reading, a sentence each."""


def read_pair(spec: DatasetSpec, image_id: str, image_path: Path, mask_path: Path) -> Pair:
    """Read an image and its mask, which must have the same size or be a known defect.

    Raises:
        ImageError: if a file is damaged.
        DatasetError: if the sizes differ and the specification does not know of it.
    """
    image = read_image(image_path)
    grey_mask = read_mask(mask_path)
    notes: tuple[str, ...] = ()
    if grey_mask.shape != image.shape:
        sizes = f"mask {mask_path} is {_size(grey_mask)}, its image {_size(image)}"
        if spec.known_defect(image_id) is None:
            raise DatasetError(f"{sizes}; both must have the same size, correct the mask")
        grey_mask = resize(grey_mask, (image.shape[0], image.shape[1]), "nearest")
        notes = (f"{sizes}; resized (nearest) to the image",)
    mask = spec.binarise(grey_mask)
    image.setflags(write=False)
    mask.setflags(write=False)
    return Pair(image_id, image, mask, image_path, mask_path, notes)


class DecodeCache:
    """Pairs kept in memory, first come, until a number of bytes is reached.

    First come rather than least recently used: an epoch visits every image once in random order, where the
    latter would throw out each image just before it is needed. May be used from several threads; a copy sent
    to another process starts empty.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes is {max_bytes}; expected 0 (no cache) or more")
        self.max_bytes = max_bytes
        self._clear()

    @property
    def used_bytes(self) -> int:
        """Bytes of all arrays held, never more than `max_bytes`."""
        return self._used_bytes

    def get(self, index: int) -> Pair | None:
        """The pair at this index if it is held."""
        return self._pairs.get(index)

    def put(self, index: int, pair: Pair) -> None:
        """Hold a pair if it still fits."""
        size = pair.image.nbytes + pair.mask.nbytes
        with self._lock:
            if index not in self._pairs and self._used_bytes + size <= self.max_bytes:
                self._pairs[index] = pair
                self._used_bytes += size

    def _clear(self) -> None:
        self._pairs: dict[int, Pair] = {}
        self._used_bytes = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.max_bytes = state["max_bytes"]
        self._clear()


class InfraredDataset:
    """The pairs of one split of a data set.

    Args:
        spec: What is known of the data set.
        root: Its own folder.
        split: The ids.
        cache_bytes: Memory for decoded pairs, for each process that reads; 0 keeps none.
    Raises:
        DatasetError: if images or masks of the split are missing; the first few and the number are given.
    """

    def __init__(self, spec: DatasetSpec, root: Path, split: Split, cache_bytes: int = CACHE_BYTES) -> None:
        self.spec = spec
        self.root = Path(root)
        self.split = split
        self.cache = DecodeCache(cache_bytes)
        self._image_paths = _resolve(self.root, spec.images, split, "image")
        self._mask_paths = _resolve(self.root, spec.masks, split, "mask")

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in list order."""
        return self.split.ids

    def __len__(self) -> int:
        return len(self.split.ids)

    def pair(self, index: int) -> Pair:
        """One image and its mask, from the cache if they are there.

        Raises:
            ImageError: if a file is damaged; the sentence names it.
            DatasetError: if image and mask differ in size and the specification does not know of it.
        """
        if (cached := self.cache.get(index)) is not None:
            return cached
        pair = self.read(index)
        self.cache.put(index, pair)
        return pair

    def read(self, index: int) -> Pair:
        """As `pair`, past the cache: for callers that look at each image once or keep it in their own
        form."""
        return read_pair(self.spec, self.ids[index], self._image_paths[index], self._mask_paths[index])


def open_dataset(
    name: str,
    data_path: str | Path,
    split: str,
    split_set: str | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> InfraredDataset:
    """Open a split of a data set.

    Args:
        name: Known name, YAML specification or folder, see `samspl.data.specs.get_spec`.
        data_path: Folder that holds one folder for each data set, or the data set's folder itself.
        split: ``train``, ``val``, ``test`` or the path of a list.
        split_set: Which set of lists, see `samspl.data.splits.find_split`.
        cache_bytes: Memory for decoded pairs.
    Raises:
        ConfigError: for an unknown name, split or set of lists, or a folder or list file that is not there.
        DatasetError: if the data set lacks lists, images or masks.
    """
    spec = get_spec(name)
    root = find_root(Path(data_path), spec)
    return InfraredDataset(spec, root, find_split(root, spec, split, split_set), cache_bytes)
