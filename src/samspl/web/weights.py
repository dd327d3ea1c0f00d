"""Weights that the page offers: a fixed list, made when it starts, and the detectors that they become.

A request names an entry of the list; nothing in it is ever taken for a path.
"""

import json
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from samspl.assets import bundled_weights
from samspl.checkpoint import BEST_FILE, FORMAT
from samspl.errors import ConfigError
from samspl.inference.detector import Detector
from samspl.models.download import cache_dir

MAX_DEPTH = 5
"""Training folders are looked for in folders this deep below the working directory."""
MAX_FOLDERS = 5000
"""Looked into at most: the working directory may be somebody's whole disk."""
LOADED_AT_ONCE = 2
"""Networks kept in memory."""

logger = logging.getLogger(__name__)


def find_offered(given: str | None, folder: Path) -> dict[str, Path | str]:
    """The list of weights, the first being the one to begin with.

    Args:
        given: Weights file, bundled name or training folder to begin with, or a folder that holds training folders.
        folder: Below which training folders are looked for.
    Returns:
        What `Detector` takes, by the name shown: what was given, bundled weights, those in the cache, training folders.
    Raises:
        ConfigError: if there are none at all.
    """
    offered: dict[str, Path | str] = {}
    bundled = bundled_weights()
    if given in bundled:
        offered[given] = bundled[given]
    elif given is not None and Path(given).is_dir() and not (Path(given) / BEST_FILE).is_file():
        _add(offered, _training_folders(Path(given)), Path(given))
        if not offered:
            raise ConfigError(
                f"{given} holds no {BEST_FILE} of samspl, nor does a folder below it; give a weights file or a "
                "training folder with --weights"
            )
    elif given is not None:
        offered[Path(given).name or str(given)] = given  # Detector says what is wrong with it
    offered.update((name, path) for name, path in bundled.items() if name not in offered)
    cached = sorted(cache_dir().glob("*.safetensors")) if cache_dir().is_dir() else []
    _add(offered, (path for path in cached if _is_detector(path)), cache_dir())
    _add(offered, _training_folders(folder), folder)
    if not offered:
        raise ConfigError(
            "no weights were found: none are bundled, none in the cache, and no training folder lies below the "
            "working directory; give a file with --weights"
        )
    return offered


class Detectors:
    """The detectors of the list, loaded when first asked for; may be used from several threads."""

    def __init__(self, offered: Mapping[str, Path | str], device: str = "auto") -> None:
        """``offered`` is what `find_offered` gives."""
        self._offered = dict(offered)
        self._device = device
        self._loaded: OrderedDict[str, Detector] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Of the list; the first is the one to begin with."""
        return list(self._offered)

    def get(self, name: object) -> Detector:
        """The detector of an entry.

        Raises:
            ConfigError: for a name that is not in the list.
            SamsplError: if its weights cannot be used.
        """
        if not isinstance(name, str) or name not in self._offered:
            raise ConfigError(f"weights {name!r} are not offered; known: {', '.join(self.names)}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = Detector(self._offered[name], self._device)
            self._loaded.move_to_end(name)
            while len(self._loaded) > LOADED_AT_ONCE:
                self._loaded.popitem(last=False)
            return self._loaded[name]


def _add(offered: dict[str, Path | str], paths: Iterator[Path], folder: Path) -> None:
    """Add paths under their names relative to a folder, unless they are there already."""
    known = {Path(path).resolve() for path in offered.values()}
    for path in paths:
        file = path / BEST_FILE if path.is_dir() else path
        if known & {path.resolve(), file.resolve()}:
            continue
        name = path.relative_to(folder).as_posix() if path != folder else path.resolve().name
        unique, number = name, 2
        while unique in offered:
            unique, number = f"{name} ({number})", number + 1
        offered[unique] = path


def _training_folders(folder: Path) -> Iterator[Path]:
    for looked, (place, inner, files) in enumerate(os.walk(folder)):
        if looked == MAX_FOLDERS:
            logger.warning("looked for weights in %d folders below %s and stopped", MAX_FOLDERS, folder)
            return
        depth = len(Path(place).relative_to(folder).parts)
        inner[:] = sorted(name for name in inner if name[0] not in "._" and name != "site-packages")
        if depth >= MAX_DEPTH:
            inner.clear()
        if BEST_FILE in files and _is_detector(Path(place) / BEST_FILE):
            yield Path(place)


def _is_detector(path: Path) -> bool:
    """Whether a file is one of ours that says how images are prepared; only its header is read."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return metadata.get("format") == FORMAT and json.loads(metadata["preprocess"]) is not None
    except (OSError, SafetensorError, KeyError, ValueError) as err:
        logger.debug("%s is not offered: %s", path, err)
        return False
