"""`samspl serve`: the page in the browser."""

import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from samspl.errors import ConfigError

NAME = "serve"
HELP = "a page in the browser: drop images, see targets"
EXAMPLE = "samspl serve --weights best.safetensors"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl serve``."""
    parser.add_argument(
        "--host", type=str, default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in"
    )
    parser.add_argument("--port", type=int, default=7860, help="0 takes one that is free")
    parser.add_argument(
        "--weights",
        type=str | None,
        default=None,
        help="weights file, bundled name or training folder to begin with, or a folder that holds some; others "
        "below the working directory and in the cache are offered, too",
    )
    parser.add_argument("--max-upload-mb", type=float, default=64.0, help="largest file that is taken")


def run(args: Any) -> int:
    """Serve until Ctrl-C.

    Returns:
        130, as every command after Ctrl-C.
    Raises:
        ConfigError: for values out of range, or without weights or gradio.
        SamsplError: if weights cannot be used, or the port is taken.
    """
    if not 0 < args.max_upload_mb < float("inf"):
        raise ConfigError(f"--max-upload-mb is {args.max_upload_mb}; expected a positive number")

    from samspl.cli.common import INTERRUPTED, use_threads
    from samspl.web.app import serve
    from samspl.web.weights import find_offered

    use_threads(args)
    offered = find_offered(args.weights, Path.cwd())

    is_ready = False

    def ready(address: str) -> None:
        nonlocal is_ready
        is_ready = True
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if args.host not in ("127.0.0.1", "localhost", "::1"):
            print(f"warning: whoever reaches {args.host} over the network can use this page", file=sys.stderr)

    try:
        serve(offered, args.host, args.port, args.device, args.max_upload_mb, ready)
    except KeyboardInterrupt:
        if not is_ready:
            raise
        return INTERRUPTED  # without a word: that is how it ends
    return 0
