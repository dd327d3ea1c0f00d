"""The folder where uploads lie until they are read: `TOKEN/HASH/NAME`, a folder for each upload.

Several threads use it, and any of them may delete what another looks at; so what is gone is never an error.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

STRAY_S = 3600.0
"""Uploads that nobody asked to be looked at are deleted after this time."""


class UploadFolder:
    """A folder of this server alone."""

    def __init__(self, path: Path) -> None:
        """``path`` is made with the first upload, if it is not there."""
        self.path = path

    def new(self) -> Path:
        """A folder for one upload, whose name nobody can guess; it is made by who fills it."""
        self.path.mkdir(exist_ok=True)
        return self.path / secrets.token_urlsafe(24)

    def waiting_bytes(self) -> int:
        """Of all files."""
        return sum(self._sizes())

    def holds(self, path: str) -> bool:
        """Whether a path is that of an upload, there or read already: exactly `TOKEN/HASH/NAME`."""
        if "\0" in path or not Path(path).is_absolute():
            return False
        try:
            resolved, own = Path(path).resolve(), self.path.resolve()
        except (OSError, RuntimeError):
            return False
        return own in resolved.parents and len(resolved.relative_to(own).parts) == 3

    def sweep(self) -> None:
        """Delete uploads that were left lying."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > STRAY_S:
                        delete(Path(entry.path))

    def _sizes(self) -> Iterator[int]:
        for folder, _, names in os.walk(self.path):  # passes over folders that vanish
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    yield Path(folder, name).stat().st_size


def delete(path: Path) -> None:
    """A folder or a file, if it is there."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def delete_upload(path: Path) -> None:
    """A file `TOKEN/HASH/NAME` and its folders, unless another file lies there still."""
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
        path.parent.parent.rmdir()
