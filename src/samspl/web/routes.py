"""The addresses beside gradio's own: uploads, and each visitor's pictures and downloads."""

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from gradio.route_utils import upload_fn
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from samspl.draw import to_display
from samspl.imaging import read_image
from samspl.postprocess import check_threshold
from samspl.web import files
from samspl.web.scenes import RECIPES
from samspl.web.sessions import Kept, Session, Sessions
from samspl.web.uploads import UploadFolder, delete
from samspl.web.view import RESULTS, download_name

HELD_UPLOADS = 8
"""All files waiting to be read may be this many times as large as one may be."""


def build_routes(sessions: Sessions, uploads: UploadFolder, max_upload_bytes: int) -> APIRouter:
    """Make the routes.

    Args:
        sessions: The visitors.
        uploads: For files until they are read.
        max_upload_bytes: Of one file.
    """
    router = APIRouter()

    @router.post("/gradio_api/upload")
    async def upload(request: Request) -> Response:
        """Take files as gradio does, but into a folder whose name nobody can guess: gradio derives it from the content,
        so that equal files of two visitors would be one."""
        length = request.headers.get("content-length", "")
        if not length.isdecimal():  # else more could come than may wait here
            return PlainTextResponse("the upload does not say how long it is; send a content-length", 411)
        await asyncio.to_thread(uploads.sweep)
        waiting = await asyncio.to_thread(uploads.waiting_bytes)
        if waiting + int(length) > HELD_UPLOADS * max_upload_bytes:
            megabytes = HELD_UPLOADS * max_upload_bytes / 2**20
            return PlainTextResponse(
                f"more than {megabytes:g} MB at once; send fewer files, or try again in a minute", 413
            )
        folder = uploads.new()
        try:
            paths, _, _ = await upload_fn(request, folder, max_upload_bytes, None)
        except ClientDisconnect:  # a phone that lost its network: nobody is there to be told
            delete(folder)
            return Response(status_code=400)
        except MultiPartException as err:
            delete(folder)
            if "maximum allowed size" not in err.message:
                return PlainTextResponse(f"the upload cannot be read ({err.message}); send it again", 400)
            limit = f"{max_upload_bytes / 2**20:g}"
            return PlainTextResponse(
                f"file is larger than {limit} MB, which this page takes at most; start samspl serve with a larger "
                "--max-upload-mb, or use samspl predict",
                413,
            )
        except BaseException:
            delete(folder)
            raise
        return JSONResponse([str(path) for path in paths])

    @router.get("/gradio_api/upload_progress")
    def progress() -> Response:
        """gradio's page asks for it; an upload is short."""
        return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")

    @router.get("/scenes/{name}.png")
    def scene(name: str) -> Response:
        recipe = next((recipe for recipe in RECIPES if recipe.name == name), None)
        if recipe is None:
            raise HTTPException(404)
        return Response(files.shown_png(to_display(read_image(recipe.path)), None), media_type="image/png")

    def session_of(token: str) -> Session:
        session = sessions.by_token(token)
        if session is None:
            raise HTTPException(404, "these results are no longer kept; choose the images again")
        return session

    def kept_of(token: str, index: int) -> Kept:
        session = session_of(token)
        if not 0 <= index < len(session.kept):
            raise HTTPException(404, f"there is no image {index}; there are {len(session.kept)}")
        return session.kept[index]

    @router.get(RESULTS + "/{token}/{index}/image.png")
    def image(token: str, index: int, stretch: str = "Automatic") -> Response:
        if stretch not in files.STRETCHES:
            raise HTTPException(404, f"unknown stretch; known: {', '.join(files.STRETCHES)}")
        content = files.shown_png(kept_of(token, index).image, files.STRETCHES[stretch])
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})

    @router.get(RESULTS + "/{token}/{index}/{kind}.png")
    def picture(token: str, index: int, kind: str, threshold: float) -> Response:
        make: dict[str, Callable[[Kept, float], bytes]] = {
            "mask": files.mask_png,
            "overlay": files.overlay_png,
        }
        if kind not in make:
            raise HTTPException(404, f"unknown file; known: {', '.join(make)}")
        kept = kept_of(token, index)
        return _download(make[kind](kept, _checked(threshold)), download_name(kept.name, kind), "image/png")

    @router.get(RESULTS + "/{token}/targets.csv")
    def table(token: str, threshold: float) -> Response:
        kept = session_of(token).kept
        return _download(files.targets_csv(kept, _checked(threshold)), "targets.csv", "text/csv")

    @router.get(RESULTS + "/{token}/results.zip")
    def everything(token: str, threshold: float) -> Response:
        kept = session_of(token).kept
        return _download(files.results_zip(kept, _checked(threshold)), "results.zip", "application/zip")

    return router


def _checked(threshold: float) -> float:
    try:
        check_threshold(threshold)
    except ValueError as err:
        raise HTTPException(422, str(err)) from err
    return threshold


def _download(content: bytes, name: str, media_type: str) -> Response:
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "private, no-store",
    }
    return Response(content, media_type=media_type, headers=headers)
