"""`samspl serve`: gradio's page behind our gate, on a socket of its own."""

import errno
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samspl.errors import ConfigError, SamsplError
from samspl.inference.extras import require

logger = logging.getLogger(__name__)

TIDY_S = 60.0
"""Between two looks for what is to be forgotten."""
_NOT_OURS = (errno.EADDRNOTAVAIL, errno.EINVAL)
# read when gradio and what it uses are imported: nothing of them may ask the network for anything
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def build_app(offered: Any, uploads: Path, device: str = "auto", max_upload_mb: float = 64) -> Any:
    """Make the page as an ASGI application.

    Args:
        offered: What `samspl.web.weights.find_offered` gives; the first is loaded.
        uploads: Empty folder of this application alone, for files until they are read.
        device: `auto`, `cpu`, `cuda:N` or `mps`.
        max_upload_mb: Largest file that is taken, in MB of 2**20 bytes.
    Raises:
        ConfigError: if gradio is not installed.
        SamsplError: if the first weights cannot be used.
    """
    os.environ.update(QUIET)
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    gradio = require("gradio", "ui", "samspl serve")
    from fastapi import FastAPI

    from samspl.web.gate import Gate
    from samspl.web.page import STATIC, build_page
    from samspl.web.routes import build_routes
    from samspl.web.sessions import Sessions
    from samspl.web.uploads import UploadFolder
    from samspl.web.weights import Detectors

    sessions = Sessions()
    max_bytes = int(max_upload_mb * 2**20)
    page = build_page(Detectors(offered, device), sessions, max_bytes)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    folder = UploadFolder(uploads)
    app.state.sessions = sessions
    app.state.uploads = folder
    app.include_router(build_routes(sessions, folder, max_bytes))
    theme = gradio.themes.Default(
        primary_hue="sky",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],  # of the visitor's machine: named ones would be fetched
        font_mono=["ui-monospace", "monospace"],
    ).set(body_text_color_subdued="*neutral_600", block_info_text_color="*neutral_600")
    gradio.mount_gradio_app(
        app,
        page,
        "/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css_paths=STATIC / "page.css",
    )
    page.has_launched = True  # gradio refuses foreign paths only of pages it launched itself
    app.add_middleware(Gate, uploads=folder)
    return app


def open_socket(host: str, port: int) -> socket.socket:
    """Listen.

    Args:
        host: Name or address of this machine.
        port: 0 takes any that is free.
    Raises:
        ConfigError: for a host that is not this machine's, or a port out of range.
        SamsplError: for a port that is taken or not allowed.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port is {port}; expected 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        raise ConfigError(f"--host is {host!r}; expected a name or address of this machine") from err
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as err:
        listening.close()
        if isinstance(err, PermissionError):
            raise SamsplError(f"port {port} is not allowed to this user; choose another with --port") from err
        if err.errno in _NOT_OURS:
            raise ConfigError(f"--host is {host!r}; expected a name or address of this machine") from err
        raise SamsplError(
            f"port {port} of {host} is taken ({err.strerror}); end what uses it, or choose another with --port"
        ) from err
    return listening


def serve(
    offered: Any, host: str, port: int, device: str = "auto", max_upload_mb: float = 64, ready: Any = print
) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        offered: What `samspl.web.weights.find_offered` gives.
        host: See `open_socket`, as for `port`.
        device: See `build_app`, as for `max_upload_mb`.
        ready: Called with the address of the page once it can be opened.
    Raises:
        SamsplError: see `open_socket` and `build_app`.
    """
    with open_socket(host, port) as listening, _private_folder() as uploads:
        app = build_app(offered, uploads, device, max_upload_mb)
        signal.signal(
            signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
        )  # so that the folder is deleted
        is_over = threading.Event()
        threading.Thread(target=_tidy, args=(app, is_over), daemon=True).start()
        ready(address_of(listening))
        try:
            make_server(app).run(sockets=[listening])
        finally:
            is_over.set()


def _tidy(app: Any, is_over: threading.Event) -> None:
    """Forget idle visitors and stray uploads where nobody comes whose visit would."""
    while not is_over.wait(TIDY_S):
        app.state.sessions.forget_idle()
        app.state.uploads.sweep()


def make_server(app: Any) -> Any:
    """The `uvicorn.Server` of the page; open pages are cut off when it ends, which is no error to be told of."""
    uvicorn = require("uvicorn", "ui", "samspl serve")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    return server


def address_of(listening: socket.socket) -> str:
    """What to open in a browser on this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only this user can look into, deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="samspl-serve-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
