"""What stands before gradio: only the addresses that the page needs, only files that were uploaded, no other machine.

gradio serves more than this page wants to offer: files by path, proxies to other servers, pages for developers. What is
not listed here does not exist, so that a newer gradio cannot add to it.
"""

import json
import re
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from samspl.web.uploads import UploadFolder

MAX_BODY_BYTES = 2**20
"""Of a request that is no upload; the page's are a few hundred."""

_READ = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/assets/\w[\w.-]*|/static(/\w[\w.-]*)+"
    r"|/gradio_api/(info/?|app_id/?|startup-events|heartbeat/[\w-]+|queue/(data|status)|upload_progress"
    r"|call/detect/\w+)"
    r"|/scenes/\w+\.png|/results/[\w-]+/(\d+/(image|mask|overlay)\.png|targets\.csv|results\.zip)"
)
_WRITE = re.compile(r"/gradio_api/(queue/join|upload|cancel|reset/?|call/detect/?)")
_UPLOAD = "/gradio_api/upload"

# the page's scripts build functions from text, as gradio's components do; nothing may come from, or go, elsewhere
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
        b"form-action 'self'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, uploads: UploadFolder) -> None:
        """``uploads`` holds the only files that a request may name."""
        self.app = app
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"unexpected {scope['type']} connection")  # closes it

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        refusal = _refuse_address(scope["method"], scope["path"])
        if refusal is None and scope["method"] == "POST" and scope["path"] != _UPLOAD:
            body = await _read(receive)
            refusal = self._refuse_body(body)
            receive = _replay(body or b"", receive)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    def _refuse_body(self, body: bytes | None) -> PlainTextResponse | None:
        if body is None:
            return PlainTextResponse(f"request is larger than {MAX_BODY_BYTES} bytes", 413)
        try:
            content = json.loads(body or b"null")
        except (ValueError, RecursionError):
            return PlainTextResponse("request is no JSON", 400)
        if not all(isinstance(path, str) and self.uploads.holds(path) for path in _paths_in(content)):
            return PlainTextResponse("request names a file that was not uploaded to this page", 403)
        return None


def _refuse_address(method: str, path: str) -> PlainTextResponse | None:
    allowed = {"GET": _READ, "HEAD": _READ, "POST": _WRITE}.get(method)
    if allowed is None:
        return PlainTextResponse("this page takes GET and POST", 405)
    if not allowed.fullmatch(path):
        return PlainTextResponse("there is nothing at this address", 404)
    return None


def _paths_in(content: Any) -> list[Any]:
    """Whatever gradio would take for the path of a file, at any depth."""
    found, waiting = [], [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            found += [value["path"]] if value.get("path") is not None else []
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more; then whatever follows."""
    is_sent = False

    async def again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
