"""What a run writes for each frame, and at its end for all; plain values only, so that it travels to other machines."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from samspl.draw import draw_targets
from samspl.errors import ConfigError, ImageError
from samspl.inference.geo import Georeference, is_georeferenced, read_georeference, targets_to_geojson
from samspl.inference.result import IMAGE_OUTPUTS, Result
from samspl.inference.sources import BadFrame, Frame, SourceFile
from samspl.inference.video import OverlayVideo, video_rate
from samspl.report import (
    PREDICTION_COLUMNS,
    prediction_record,
    records_to_coco,
    records_to_json,
    records_to_rows,
    write_csv,
    write_json,
)
from samspl.targets import Target

TABLES = {"json": "predictions.json", "csv": "predictions.csv", "coco": "coco.json"}
"""Kinds that are one file for all frames."""
SUFFIXES = {"mask": ".png", "overlay": ".png", "prob": ".tiff", "geojson": ".geojson"}
"""Kinds that are one file a frame; the overlay of a video is one, `.mp4`."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileBegun:
    """A file for whose frames results are about to be written."""

    file: SourceFile
    """Which."""


@dataclass(frozen=True)
class FrameDone:
    """A frame whose results are written."""

    file: SourceFile
    """Which holds it."""
    record: Mapping[str, Any] = field(repr=False)
    """As of `report.prediction_record`; of one of several frames also its `source`, `frame` and `time_s`."""
    written: tuple[str, ...] = ()
    """Files of this frame, relative to the folder of the results."""
    count: int | None = 1
    """Frames of its file; None where a video does not say."""


@dataclass(frozen=True)
class FileDone:
    """A file all of whose frames are done."""

    file: SourceFile
    """Which."""
    written: tuple[str, ...] = ()
    """Files of the whole, as the overlay of a video."""


Outcome = FileBegun | FrameDone | FileDone | BadFrame
"""What a run reports."""


@dataclass(frozen=True)
class Outputs:
    """Where results go, and which."""

    folder: Path
    """Of all results."""
    kinds: tuple[str, ...]
    """Of `SUFFIXES` and `TABLES`."""

    def tables(self) -> list[Path]:
        """Files for all frames."""
        return [self.folder / TABLES[kind] for kind in self.kinds if kind in TABLES]

    def existing(self, file: SourceFile) -> Path | None:
        """A file that is there and that results of this source may replace; None if there is none."""
        for kind in self.kinds:
            if kind in TABLES:
                continue
            base = self.folder / kind / Path(file.name).with_suffix("")
            suffix = SUFFIXES[kind]
            if kind == "overlay" and file.is_video:
                candidates: Iterable[Path] = [base.with_name(base.name + ".mp4")]
            elif file.may_hold_many:
                number = len(file.name_of(0)) - len(file.name) - 1
                pattern = f"{_literal(base.name)}_{'[0-9]' * number}*{suffix}"
                candidates = [base.with_name(base.name + suffix), *base.parent.glob(pattern)]
            else:
                candidates = [base.with_name(base.name + suffix)]
            if there := next((path for path in candidates if path.exists()), None):
                return there
        return None

    def write_tables(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write the files for all frames.

        Raises:
            SamsplError: if one cannot be written.
        """
        if "json" in self.kinds:
            write_json(self.folder / TABLES["json"], records_to_json(records))
        if "csv" in self.kinds:
            write_csv(self.folder / TABLES["csv"], records_to_rows(records), PREDICTION_COLUMNS)
        if "coco" in self.kinds:
            write_json(self.folder / TABLES["coco"], records_to_coco(records))


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


class FileWriter:
    """Writes the results of the frames of one file; those of a video in order, by one thread."""

    def __init__(self, outputs: Outputs, file: SourceFile) -> None:
        """Nothing is written yet."""
        self.outputs, self.file = outputs, file
        self._video: OverlayVideo | None = None
        if file.is_video and "overlay" in outputs.kinds:
            path = outputs.folder / "overlay" / Path(file.name).with_suffix(".mp4")
            self._video = OverlayVideo(path, video_rate(file.path))

    @property
    def needs_all_frames(self) -> bool:
        """Whether frames are wanted even if their results are there."""
        return self._video is not None

    def write(self, frame: Frame, result: Result) -> FrameDone | BadFrame:
        """Write all results of a frame.

        Returns:
            What was written, or why not where that is the frame's fault.
        Raises:
            SamsplError: if something cannot be written.
        """
        try:
            where = self._place(frame)
        except ImageError as err:
            return BadFrame(self.file, str(err))
        kinds = [kind for kind in self.outputs.kinds if kind in IMAGE_OUTPUTS]
        if self._video is not None:
            kinds.remove("overlay")
            self._video.add(np.asarray(result.draw()), frame.index or 0)
        written = result.save(self.outputs.folder, kinds)
        record = prediction_record(result.prediction, with_segmentation="coco" in self.outputs.kinds)
        if frame.index is not None:
            record |= {"source": self.file.name, "frame": frame.index}
        if frame.time_s is not None:
            record["time_s"] = round(frame.time_s, 6)
        if where is not None:
            path = self.outputs.folder / "geojson" / Path(frame.name).with_suffix(".geojson")
            try:
                content = targets_to_geojson(record, where)
            except ImageError as err:
                return BadFrame(self.file, str(err))
            write_json(path, content)
            written.append(path)
        names = tuple(path.relative_to(self.outputs.folder).as_posix() for path in written)
        return FrameDone(self.file, record, names, frame.count)

    def redraw(self, frame: Frame, record: Mapping[str, Any]) -> None:
        """Add a frame whose results are there already to the overlay of its video.

        Raises:
            SamsplError: if it cannot be written.
        """
        if self._video is not None:
            targets = [Target(**{k: v for k, v in t.items() if k != "counts"}) for t in record["targets"]]
            self._video.add(np.asarray(draw_targets(frame.image, targets)), frame.index or 0)

    def close(self) -> FileDone:
        """Finish what belongs to the file as a whole.

        Raises:
            SamsplError: if it cannot be written.
        """
        if self._video is None:
            return FileDone(self.file)
        self._video.close()
        return FileDone(self.file, (self._video.path.relative_to(self.outputs.folder).as_posix(),))

    def discard(self) -> None:
        """Throw away what is not finished; harmless after `close`."""
        if self._video is not None:
            self._video.discard()

    def _place(self, frame: Frame) -> Georeference | None:
        """Where a frame lies, if that is wanted and known."""
        if "geojson" not in self.outputs.kinds or frame.index or not is_georeferenced(self.file.path):
            return None  # pages after the first may lie elsewhere, which GDAL does not tell
        try:
            return read_georeference(self.file.path)
        except ConfigError as err:  # without rasterio; who asked for GeoJSON was told at the start
            logger.warning("%s gets no GeoJSON: %s", self.file.path, err)
            return None
