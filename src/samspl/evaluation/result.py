"""What an evaluation found: figures, a row for each image, every true target, curves.

The parts that several processes found are put together here, to exactly what one process would have found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from samspl.errors import DatasetError
from samspl.metrics.curves import Curve, Interval, PdBin, bootstrap_intervals, pd_by
from samspl.metrics.pixel import Profile, or_none, pixel_figures
from samspl.metrics.suite import COUNT_FIELDS, Scores, scores_from_counts

SIZE_EDGES_PX = (1, 5, 10, 20, 40, 80)
"""Bins of Pd by target size."""
SCR_EDGES = (0, 1, 2, 3, 5, 10)
"""Bins of Pd by signal-to-clutter ratio."""


class ImageRow(NamedTuple):
    """Figures of one image under one profile."""

    id: str
    """Name of the image."""
    iou: float | None
    """None where neither mask has foreground."""
    hits: int
    """Targets hit."""
    targets: int
    """True targets."""
    false_alarms: int
    """False predicted components."""
    false_px: int
    """Their pixels."""


@dataclass(frozen=True, eq=False)
class ProfileResult:
    """What one profile says."""

    scores: Scores
    """Over all images."""
    image_size: int | None
    """Side of the square that the masks were compared at; None: each image's own size."""
    ids: tuple[str, ...]
    """Images in order."""
    counts: np.ndarray
    """(N, 11) int64, `COUNT_FIELDS` of each image."""

    def rows(self) -> list[ImageRow]:
        """One row an image, in order."""
        ious = pixel_figures(self.counts[:, :6])["iou"]
        return [
            ImageRow(name, or_none(iou), c["hits"], c["targets"], c["false_alarms"], c["false_px"])
            for name, iou, c in zip(
                self.ids,
                ious,
                (dict(zip(COUNT_FIELDS, row, strict=True)) for row in self.counts.tolist()),
                strict=True,
            )
        ]

    def intervals(self, seed: int = 2727) -> dict[str, Interval]:
        """95 % bootstrap intervals over images of every headline figure."""
        return bootstrap_intervals(self.counts, self.scores.profile, seed=seed)


@dataclass(frozen=True, eq=False)
class TargetTable:
    """The true targets of all images at native size, and whether the strict profile saw them hit."""

    image: np.ndarray
    """(T,) int64, index of the image."""
    centroid_xy: np.ndarray
    """(T, 2) float64, column and row; the centre of the top-left pixel is (0, 0)."""
    area_px: np.ndarray
    """(T,) int64."""
    scr: np.ndarray
    """(T,) float64, NaN where undefined, or without images."""
    is_hit: np.ndarray
    """(T,) bool."""

    def pd_by_size(self, edges_px: Sequence[float] = SIZE_EDGES_PX) -> tuple[PdBin, ...]:
        """Pd in ranges of target area."""
        return pd_by(self.area_px, self.is_hit, edges_px)

    def pd_by_scr(self, edges: Sequence[float] = SCR_EDGES) -> tuple[PdBin, ...]:
        """Pd in ranges of signal-to-clutter ratio; targets without one are left out."""
        return pd_by(self.scr, self.is_hit, edges)


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """All that one evaluation found; about 300 bytes an image and 41 a target, whatever the image size."""

    threshold: float
    """Foreground is where the probability exceeds this."""
    profiles: dict[Profile, ProfileResult]
    """By name, in the order asked for."""
    targets: TargetTable
    """Every true target; empty if `strict` was not asked for."""
    curve: Curve | None
    """Over thresholds, at native size; None unless asked for."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Images in order."""
        return next(iter(self.profiles.values())).ids

    def image_rows(self) -> list[dict[str, Any]]:
        """Content of images.csv: one row an image with the figures of each profile, `strict_iou` and so on."""
        rows: list[dict[str, Any]] = [{"image": name} for name in self.ids]
        for profile, result in self.profiles.items():
            for row, figures in zip(rows, result.rows(), strict=True):
                row |= {f"{profile}_{key}": value for key, value in figures._asdict().items() if key != "id"}
        return rows

    def target_rows(self) -> list[dict[str, Any]]:
        """Content of targets.csv: one row a true target, in image and scan order; empty without `strict`."""
        table = self.targets
        columns = (table.image, table.centroid_xy, table.area_px, table.scr, table.is_hit)
        return [
            {
                "image": self.ids[i],
                "x": xy[0],
                "y": xy[1],
                "area_px": area,
                "scr": or_none(scr),
                "hit": int(hit),
            }
            for i, xy, area, scr, hit in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def to_dict(
        self,
        dataset: str | None = None,
        split: str | None = None,
        split_set: str | None = None,
        split_sha256: str | None = None,
        weights: str | None = None,
    ) -> dict[str, Any]:
        """The object that `samspl test --json` writes.

        Beyond the keys of the contract each profile has `false_alarms` (components) and `empty_images`
        (left out of the nIoU of `strict`). `image_size` is null for the images' own size.
        """
        profiles: dict[str, dict[str, Any]] = {}
        for name, result in self.profiles.items():
            scores = result.scores.to_dict()
            del scores["profile"], scores["images"]
            profiles[name] = {"image_size": result.image_size, **scores}
        return {
            "dataset": dataset,
            "split": split,
            "split_set": split_set,
            "split_sha256": split_sha256,
            "images": len(self.ids),
            "threshold": self.threshold,
            "weights": weights,
            "profiles": profiles,
        }


def merge_results(parts: Sequence[EvaluationResult | None]) -> EvaluationResult:
    """Put together what processes found that shared the images of one list.

    Counts are integers and rows go back to list order, so that the whole is what one process finds, to the
    last bit.

    Args:
        parts: One for each process; process r of n scored images r, r + n, r + 2n ... of the list. None for
            a process that had no image.
    Raises:
        DatasetError: if no process had an image.
        ValueError: if the parts are not shares of one list.
    """
    known = [part for part in parts if part is not None]
    if not known:
        raise DatasetError("there is no image to evaluate; expected at least one pair of image and mask")
    sizes = [0 if part is None else len(part.ids) for part in parts]
    places = [np.arange(rank, sum(sizes), len(parts)) for rank in range(len(parts))]
    if [len(place) for place in places] != sizes:
        raise ValueError(f"the parts have {sizes} images; expected the images of one list dealt out in turn")
    place_of = [place for place, part in zip(places, parts, strict=True) if part is not None]
    order = np.argsort(np.concatenate(place_of))
    ids = tuple(np.concatenate([np.array(part.ids, object) for part in known])[order].tolist())
    profiles = {}
    for name, first in known[0].profiles.items():
        counts = np.concatenate([part.profiles[name].counts for part in known])[order]
        scores = scores_from_counts(counts.sum(axis=0), name)
        profiles[name] = ProfileResult(scores, first.image_size, ids, counts)
    image = np.concatenate([at[part.targets.image] for at, part in zip(place_of, known, strict=True)])
    by_image = np.argsort(image, kind="stable")
    targets = TargetTable(
        image[by_image],
        *(
            np.concatenate([getattr(part.targets, column) for part in known])[by_image]
            for column in ("centroid_xy", "area_px", "scr", "is_hit")
        ),
    )
    curves = [part.curve for part in known if part.curve is not None]
    curve = None
    if curves:
        totals = np.sum([own.counts for own in curves], axis=0)
        curve = Curve(curves[0].thresholds, totals, sum(own.images for own in curves))
    return EvaluationResult(known[0].threshold, profiles, targets, curve)
