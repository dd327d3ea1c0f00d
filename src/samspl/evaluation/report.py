"""The folder that shows one evaluation: index.html, images.csv, targets.csv and curve.csv."""

import heapq
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from samspl.draw import draw_comparison
from samspl.evaluation.result import EvaluationResult
from samspl.html_report import Bin, Picture, render_page
from samspl.metrics.curves import Curve, PdBin
from samspl.metrics.suite import score
from samspl.predictions import Sample
from samspl.report import Ends, evaluation_cells, evaluation_facts, write_csv, write_text

WORST_IMAGES = 9
"""So many overlays does a report show."""
TARGET_COLUMNS = ("image", "x", "y", "area_px", "scr", "hit")
"""Columns of targets.csv."""
CURVE_COLUMNS = (
    "thresholds",
    "pd",
    "fa",
    "iou",
    "precision",
    "recall",
    "f1",
    "false_alarms_per_image",
)
"""Columns of curve.csv."""


class WorstImage(NamedTuple):
    """An overlay; the least is the worst image."""

    minus_errors: int
    """Misses and false alarms, negative."""
    iou: float
    """Of the image."""
    place: int
    """In the list."""
    picture: Picture
    """Overlay with its name and caption."""


class WorstImages:
    """Keeps the few worst of all images that it is shown; serves as `on_image` of an evaluation.

    Worst is most misses and false alarms (`strict`), then lowest IoU. Images without any fault are not kept.

    Args:
        places: Where in the list the images stand that come, in the order in which they come.
        keep: How many are kept; memory is needed for no more.
    """

    def __init__(self, places: Iterable[int], keep: int = WORST_IMAGES) -> None:
        self._places = iter(places)
        self._keep = keep
        # by how bad, so that the first is the first to go; places differ, so that arrays are never compared
        self._kept: list[tuple[int, float, int, Sample, np.ndarray, str]] = []

    def __call__(self, sample: Sample, prob: np.ndarray, mask: np.ndarray) -> None:
        """Look at one image with its predicted mask."""
        place = next(self._places)
        scores = score(mask, sample.mask)
        if scores.iou is None or scores.iou == 1.0:
            return
        misses = scores.targets - scores.hits
        caption = (
            f"{_number(scores.hits, 'hit', 'hits')}, {_number(misses, 'miss', 'misses')}, "
            f"{_number(scores.false_alarms, 'false alarm', 'false alarms')}, IoU {100 * scores.iou:.1f} %"
        )
        entry = (misses + scores.false_alarms, -scores.iou, -place, sample, mask, caption)
        if len(self._kept) < self._keep:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def draw(self) -> tuple[WorstImage, ...]:
        """Overlays of the images kept, worst first."""
        found = []
        for errors, minus_iou, minus_place, sample, mask, caption in self._kept:
            file = io.BytesIO()
            draw_comparison(sample.image, mask, sample.mask).save(file, "PNG")
            picture = Picture(sample.id, caption, file.getvalue())
            found.append(WorstImage(-errors, -minus_iou, -minus_place, picture))
        return tuple(sorted(found))


def worst_of(shares: Iterable[Sequence[WorstImage]], keep: int = WORST_IMAGES) -> list[Picture]:
    """The worst images of all processes, worst first."""
    return [image.picture for image in heapq.nsmallest(keep, (image for share in shares for image in share))]


def threshold_advice(curve: Curve, is_validation: bool) -> str:
    """Which threshold to use elsewhere, if the split is one to choose on; a test split must not choose."""
    if not is_validation:
        return (
            "No threshold is chosen here: that would be selection on the images that are scored. "
            "Choose it on a validation split (--split val)."
        )
    best = curve.best_threshold()
    if best is None:
        return "No threshold can be chosen: this split has no foreground at all."
    return (
        f"Best threshold on this validation split: {best:g} (highest IoU). It was chosen here and was not used "
        f"on the test split; score that with --threshold {best:g}."
    )


def write_report(
    folder: Path,
    values: Mapping[str, Any],
    intervals: Mapping[str, Mapping[str, Ends]],
    result: EvaluationResult,
    pictures: Sequence[Picture] = (),
    is_validation: bool = False,
) -> None:
    """Write the page and the tables.

    Args:
        folder: Made if it is not there; files of an earlier report are replaced.
        values: The object of `samspl test --json`.
        intervals: By profile and figure.
        result: What `values` were made from; with a curve.
        pictures: The worst images, worst first.
        is_validation: Whether a threshold may be chosen on these images.
    Raises:
        ValueError: for a result without curve.
        SamsplError: if a file cannot be written.
    """
    if result.curve is None:
        raise ValueError("the result has no curve; evaluate with curve_thresholds")
    strict = values["profiles"].get("strict")
    bins: dict[str, list[Bin]] = {}
    if strict is not None:
        bins["By size, pixels"] = _bins(result.targets.pd_by_size())
        if np.isfinite(result.targets.scr).any():
            bins["By signal-to-clutter ratio"] = _bins(result.targets.pd_by_scr())
    curve = result.curve.to_dict()
    page = render_page(
        _title(values),
        evaluation_facts(values),
        evaluation_cells(values, intervals),
        [threshold_advice(result.curve, is_validation)],
        curve,
        None if strict is None else {**strict, "threshold": values["threshold"]},
        bins,
        pictures,
    )
    images = result.image_rows()
    points = zip(*(curve[name] for name in CURVE_COLUMNS), strict=True)
    write_csv(folder / "images.csv", images, list(images[0]))
    write_csv(folder / "targets.csv", result.target_rows(), TARGET_COLUMNS)
    write_csv(
        folder / "curve.csv",
        [dict(zip(CURVE_COLUMNS, point, strict=True)) for point in points],
        CURVE_COLUMNS,
    )
    write_text(folder / "index.html", page)


def _title(values: Mapping[str, Any]) -> str:
    scored = values["weights"] or "predictions"
    data_set, split = values["dataset"], values["split"] or "images"
    return f"{scored} on {f'{data_set}, ' if data_set else ''}{split}"


def _bins(bins: Iterable[PdBin]) -> list[Bin]:
    return [Bin(b.low, b.high, b.hits, b.targets) for b in bins]


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
