"""What a visitor looks at and downloads, made when asked for: picture, mask, overlay, table, everything in a zip."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from samspl.draw import draw_targets, to_display
from samspl.imaging import resize
from samspl.report import PREDICTION_COLUMNS, ImagePrediction, predictions_to_json, predictions_to_rows
from samspl.web.sessions import Kept

SHOWN_SIDE_PX = 4096
"""Larger images are shown smaller, by a whole factor; results are of all pixels."""
STRETCHES: dict[str, float | None] = {
    "Automatic": None,
    "Least to largest": 0.0,
    "Cut 1 %": 1.0,
    "Cut 5 %": 5.0,
}
"""Percentiles cut off at both ends for display, by the name shown; None: 8-bit values as they are, others cut by
0.1."""


def shown_factor(size_hw: tuple[int, ...]) -> int:
    """By how much an image is shown smaller."""
    return max(1, -(-max(size_hw) // SHOWN_SIDE_PX))


def shown_png(image: np.ndarray, cut: float | None) -> bytes:
    """The image for the screen as PNG; (H, W) of any type, cut as by `samspl.draw.to_display`."""
    grey = to_display(image, cut)
    factor = shown_factor(grey.shape)
    if factor > 1:
        grey = resize(grey, (max(1, grey.shape[0] // factor), max(1, grey.shape[1] // factor)), "bilinear")
    return _png(Image.fromarray(np.ascontiguousarray(grey)))


def mask_png(kept: Kept, threshold: float) -> bytes:
    """The mask as PNG of 0 and 255, at the size of the image."""
    return _png(Image.fromarray(np.where(kept.mask(threshold), np.uint8(255), np.uint8(0))))


def overlay_png(kept: Kept, threshold: float) -> bytes:
    """The image with its targets marked, as PNG."""
    return _png(draw_targets(kept.image, kept.targets(threshold)))


def targets_csv(kept: Iterable[Kept], threshold: float) -> bytes:
    """The targets of all images, as `predictions.csv` of `samspl predict`."""
    return _csv(_predictions(kept, threshold))


def results_zip(kept: Iterable[Kept], threshold: float) -> bytes:
    """Masks, overlays, CSV and JSON of all images, in the folders of `samspl predict`."""
    kept = list(kept)
    predictions = _predictions(kept, threshold)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:  # not compressed: PNG is already
        for one, prediction in zip(kept, predictions, strict=True):
            name = PurePosixPath(one.name).with_suffix(".png")
            archive.writestr(f"mask/{name}", mask_png(one, threshold))
            archive.writestr(f"overlay/{name}", _png(draw_targets(one.image, prediction.targets)))
        archive.writestr("predictions.csv", _csv(predictions))
        archive.writestr("predictions.json", json.dumps(predictions_to_json(predictions), indent=1) + "\n")
    return packed.getvalue()


def unique_names(names: Iterable[str]) -> list[str]:
    """File names whose stems differ, so that the results of `a.png` and `a.tiff` do too: `a.png`, `a (2).tiff`."""
    taken: set[str] = set()
    unique = []
    for name in names:
        path = PurePosixPath(PurePosixPath(name.replace("\\", "/")).name.strip(". ") or "image")
        stem, number = path.stem, 2
        while stem.lower() in taken:
            stem, number = f"{path.stem} ({number})", number + 1
        taken.add(stem.lower())
        unique.append(stem + path.suffix)
    return unique


def _predictions(kept: Iterable[Kept], threshold: float) -> list[ImagePrediction]:
    return [
        ImagePrediction(k.name, (k.image.shape[0], k.image.shape[1]), tuple(k.targets(threshold)))
        for k in kept
    ]


def _csv(predictions: Iterable[ImagePrediction]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, PREDICTION_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(predictions_to_rows(predictions))
    return text.getvalue().encode()


def _png(picture: Image.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()
