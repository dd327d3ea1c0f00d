"""What the page shows of a visitor's results, as plain values; `static/results.js` turns them into a page.

Nothing here is HTML, so that a file's name is never taken for some.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from samspl.report import ImagePrediction, predictions_to_json
from samspl.web.files import shown_factor
from samspl.web.sessions import MAX_LISTED, Session

RESULTS = "/results"
"""Below it lie the visitors' pictures and downloads."""


def empty_view(problems: Sequence[str] = ()) -> dict[str, Any]:
    """Before anything was found, or instead."""
    return {"problems": list(problems), "images": []}


def results_view(session: Session, problems: Sequence[str] = ()) -> dict[str, Any]:
    """The image that is looked at, its targets, the other images and the downloads.

    Args:
        session: With at least one image.
        problems: Sentences on files that could not be used.
    """
    kept = session.kept[session.index]
    targets, total = kept.listed(session.threshold)
    height, width = kept.image.shape
    counts = [
        total if index == session.index else one.count(session.threshold)
        for index, one in enumerate(session.kept)
    ]
    scale = shown_factor(kept.image.shape)
    return {
        "problems": list(problems),
        "images": [
            {"name": one.name, "count": count} for one, count in zip(session.kept, counts, strict=True)
        ],
        "index": session.index,
        "image": {
            "name": kept.name,
            "width": width,
            "height": height,
            "depth": f"{8 * kept.image.dtype.itemsize}-bit{' float' if kept.image.dtype.kind == 'f' else ''}",
            "url": _url(session, f"{session.index}/image.png", stretch=session.stretch),
            "note": f"shown at 1/{scale} of its size" if scale > 1 else "",
        },
        "threshold": session.threshold,
        "weights": session.weights,
        "total": total,
        "note": f"The {MAX_LISTED} of highest score are listed; files hold all."
        if total > MAX_LISTED
        else "",
        "targets": [target.to_dict() for target in targets],
        "downloads": _downloads(session),
    }


def api_view(session: Session | None, problems: Sequence[str]) -> dict[str, Any]:
    """What `/detect` of the HTTP API gives: all targets of all images, and where the files are."""
    if session is None:
        return {"images": [], "problems": list(problems)}
    images = []
    for index, kept in enumerate(session.kept):
        size_hw = (kept.image.shape[0], kept.image.shape[1])
        prediction = ImagePrediction(kept.name, size_hw, tuple(kept.targets(session.threshold)))
        addresses = {
            kind: _url(session, f"{index}/{kind}.png", threshold=session.threshold)
            for kind in ("mask", "overlay")
        }
        images.append({**predictions_to_json([prediction])[0], **addresses})
    return {
        "images": images,
        "problems": list(problems),
        "weights": session.weights,
        "threshold": session.threshold,
        "csv": _url(session, "targets.csv", threshold=session.threshold),
        "zip": _url(session, "results.zip", threshold=session.threshold),
    }


def download_name(name: str, kind: str) -> str:
    """What a downloaded file of an image is called: `frame.tiff` gives `frame_mask.png`."""
    return f"{Path(name).stem}_{kind}.png"


def _downloads(session: Session) -> list[dict[str, str]]:
    """Label and address of each, with the threshold in it: what is seen is what comes."""
    threshold = session.threshold
    offered = [
        ("Mask (PNG)", f"{session.index}/mask.png"),
        ("Overlay (PNG)", f"{session.index}/overlay.png"),
        ("Targets (CSV)", "targets.csv"),
    ]
    if len(session.kept) > 1:
        offered.append((f"All {len(session.kept)} images (ZIP)", "results.zip"))
    return [{"label": label, "url": _url(session, path, threshold=threshold)} for label, path in offered]


def _url(session: Session, path: str, **query: Any) -> str:
    return f"{RESULTS}/{session.token}/{quote(path)}?{urlencode(query)}"
