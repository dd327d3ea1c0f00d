"""SAM 2.1 checkpoints from Meta's server, into a cache folder, checked before they get their name.

`pooch` downloads to a temporary name and renames only after the SHA-256 fits, so that an interrupted or wrong download
leaves nothing that looks valid.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

from samspl.config import nearest_name
from samspl.errors import CheckpointError, ConfigError

BASE_URL = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
TIMEOUT_S = 30


@dataclass(frozen=True)
class SamCheckpoint:
    """A published SAM 2.1 checkpoint."""

    file: str
    """Name of the file on the server and in the cache."""
    sha256: str
    """Of the whole file."""
    trunk: str
    """Name of its trunk in `samspl.models.variants.TRUNKS`."""


SAM_CHECKPOINTS: dict[str, SamCheckpoint] = {
    f"sam2.1_hiera_{trunk}": SamCheckpoint(f"sam2.1_hiera_{trunk}.pt", sha256, trunk)
    for trunk, sha256 in (
        ("tiny", "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
        ("small", "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
        ("base_plus", "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
        ("large", "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
    )
}
"""What `samspl weights fetch` knows."""


def cache_dir() -> Path:
    """Where fetched weights go: `SAMSPL_CACHE`, or the user's cache folder of the operating system."""
    return Path(os.environ.get("SAMSPL_CACHE") or pooch.os_cache("samspl"))


def base_url() -> str:
    """Where checkpoints come from: `SAMSPL_WEIGHTS_URL`, or Meta's server.

    Raises:
        ConfigError: if the variable holds no address of the web.
    """
    url = os.environ.get("SAMSPL_WEIGHTS_URL") or BASE_URL
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"SAMSPL_WEIGHTS_URL is {url!r}; expected http://... or https://...")
    return url.rstrip("/") + "/"


def is_offline() -> bool:
    """Whether `SAMSPL_OFFLINE` forbids the network."""
    return os.environ.get("SAMSPL_OFFLINE", "") not in ("", "0")


def sam_checkpoint(name: str) -> SamCheckpoint:
    """A known checkpoint by name, with or without `.pt`.

    Raises:
        ConfigError: for an unknown name.
    """
    key = name.removesuffix(".pt")
    if key not in SAM_CHECKPOINTS:
        raise ConfigError(f"unknown SAM 2.1 checkpoint {name!r}; {nearest_name(key, list(SAM_CHECKPOINTS))}")
    return SAM_CHECKPOINTS[key]


def cached_sam_weights(weights: str | Path) -> Path:
    """The file that a path or a checkpoint's name stands for; nothing is downloaded.

    Raises:
        ConfigError: if there is no such file, and the name is not in the cache.
    """
    path = Path(weights)
    if path.exists():
        return path
    key = str(weights).removesuffix(".pt")
    if key not in SAM_CHECKPOINTS:
        raise ConfigError(
            f"SAM weights {weights} do not exist; give a path, or {nearest_name(key, list(SAM_CHECKPOINTS))}"
        )
    cached = cache_dir() / SAM_CHECKPOINTS[key].file
    if not cached.is_file():
        raise ConfigError(f"{key} is not in {cache_dir()} yet; run: samspl weights fetch {key}")
    return cached


def fetch_sam_weights(name: str, progress: bool = False) -> Path:
    """Download a SAM 2.1 checkpoint unless the cache has it.

    Args:
        name: Key of `SAM_CHECKPOINTS`.
        progress: Show a bar on standard error.
    Returns:
        Path of the checked file.
    Raises:
        ConfigError: for an unknown name.
        CheckpointError: if it cannot be had, or is not the published file; nothing that looks valid is left.
    """
    checkpoint = sam_checkpoint(name)
    folder, url = cache_dir(), base_url() + checkpoint.file
    target = folder / checkpoint.file
    by_hand = (
        f"download {url} by any other means, check that its SHA-256 is {checkpoint.sha256}, "
        f"and put it at {target}"
    )
    if is_offline() and not target.is_file():
        raise CheckpointError(f"SAMSPL_OFFLINE is set, so nothing is downloaded; {by_hand}")
    if target.is_file() and pooch.file_hash(str(target)) != checkpoint.sha256:
        if is_offline():
            raise CheckpointError(f"{target} is not the published file (its SHA-256 differs); {by_hand}")
        target.unlink()  # pooch would replace it as well; without it no wrong file survives a failed download
    try:
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(
            url,
            known_hash=f"sha256:{checkpoint.sha256}",
            fname=checkpoint.file,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT_S),
        )
    except requests.RequestException as err:
        raise CheckpointError(f"downloading {url} failed ({_reason(err)}); try again, or {by_hand}") from err
    except ValueError as err:
        raise CheckpointError(
            f"what came from {url} is not the published file (its SHA-256 differs) and was deleted; {by_hand}"
        ) from err
    except OSError as err:
        raise CheckpointError(f"cannot write {target} ({err}); free space, or move SAMSPL_CACHE") from err
    return target


def _reason(err: requests.RequestException) -> str:
    if err.response is not None:
        return f"the server answered {err.response.status_code}"
    kinds = {
        requests.ConnectTimeout: "no answer from the server",
        requests.ReadTimeout: "the server stopped answering",
        requests.exceptions.ChunkedEncodingError: "the connection was cut",
        requests.ConnectionError: "no connection to the server",
    }
    return next((words for kind, words in kinds.items() if isinstance(err, kind)), type(err).__name__)
