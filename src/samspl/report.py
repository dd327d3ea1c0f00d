"""Results -> JSON, CSV, COCO and Markdown; works on plain values, so that stored results read back are
treated alike."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samspl.errors import ConfigError, SamsplError
from samspl.imaging import write_bytes
from samspl.targets import Target, find_components, find_targets

PREDICTION_COLUMNS = (
    "file",
    "x",
    "y",
    "left",
    "top",
    "right",
    "bottom",
    "area_px",
    "score",
    "peak",
    "scr",
)
"""Columns of predictions.csv."""
FIGURE_ROWS = (
    ("IoU", "iou", 100.0, "{:.2f} %"),
    ("nIoU", "niou", 100.0, "{:.2f} %"),
    ("F1", "f1", 100.0, "{:.2f} %"),
    ("precision", "precision", 100.0, "{:.2f} %"),
    ("recall", "recall", 100.0, "{:.2f} %"),
    ("Pd", "pd", 100.0, "{:.2f} %"),
    ("Fa", "fa", 1e6, "{:.2f}e-6"),
)
"""Name shown, key, factor and format of the figures in tables."""
Ends = tuple[float | None, float | None]
"""Low and high end of a confidence interval."""


@dataclass(frozen=True)
class ImagePrediction:
    """What was found in one image."""

    file: str
    """Relative name of the image."""
    size_hw: tuple[int, int]
    """Height and width of the image."""
    targets: tuple[Target, ...]
    """Targets in scan order."""
    mask: np.ndarray | None = None
    """(H, W) bool, needed for COCO alone; may hold more components than targets are listed."""


def prediction_record(prediction: ImagePrediction, with_segmentation: bool = False) -> dict[str, Any]:
    """One image as plain values: `file`, `size` (width, height) and `targets`.

    Args:
        prediction: Of the image; its mask is needed for segmentations alone.
        with_segmentation: Also give the run lengths of each target's pixels, for `records_to_coco`: column by column,
            starting with background.
    Raises:
        ValueError: for segmentations without mask, or targets that the mask does not hold.
    """
    height, width = prediction.size_hw
    targets = [target.to_dict() for target in prediction.targets]
    if with_segmentation:
        pixels_of = _pixels_by_box(prediction)
        for target, values in zip(prediction.targets, targets, strict=True):
            if target.bbox_xyxy not in pixels_of:
                raise ValueError(
                    f"{prediction.file}: its mask holds no target at {target.bbox_xyxy}; expected them to agree"
                )
            values["counts"] = _run_lengths(pixels_of[target.bbox_xyxy], (height, width))
    return {"file": prediction.file, "size": [width, height], "targets": targets}


def records_to_json(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Content of predictions.json: the records, without segmentations."""
    return [
        {
            **record,
            "targets": [{k: v for k, v in target.items() if k != "counts"} for target in record["targets"]],
        }
        for record in records
    ]


def records_to_rows(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Content of predictions.csv: one row a target; images without targets have none."""
    rows = []
    for record in records:
        for t in record["targets"]:
            places = (*t["centroid_xy"], *t["bbox_xyxy"])
            values = (record["file"], *places, t["area_px"], t["score"], t["peak"], t["scr"])
            rows.append(dict(zip(PREDICTION_COLUMNS, values, strict=True)))
    return rows


def records_to_coco(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A COCO data set of records with segmentations, one category ``target``.

    Segmentations are uncompressed run lengths, which hold small targets exactly, where a polygon through
    pixel centres would lose half of them. Each annotation also has its `score`, so that the list of
    annotations serves as COCO results.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records, start=1):
        width, height = record["size"]
        images.append({"id": image_id, "file_name": record["file"], "width": width, "height": height})
        for target in record["targets"]:
            left, top, right, bottom = target["bbox_xyxy"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": target["area_px"],
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": target["counts"]},
                    "score": target["score"],
                }
            )
    return {
        "info": {"description": "Infrared small targets predicted by samspl"},
        "categories": [{"id": 1, "name": "target", "supercategory": "target"}],
        "images": images,
        "annotations": annotations,
    }


def predictions_to_json(predictions: Iterable[ImagePrediction]) -> list[dict[str, Any]]:
    """Content of predictions.json: one object an image, as `prediction_record` gives it."""
    return [prediction_record(p) for p in predictions]


def predictions_to_rows(predictions: Iterable[ImagePrediction]) -> list[dict[str, Any]]:
    """Content of predictions.csv, see `records_to_rows`."""
    return records_to_rows(map(prediction_record, predictions))


def predictions_to_coco(predictions: Iterable[ImagePrediction]) -> dict[str, Any]:
    """A COCO data set of the predictions, see `records_to_coco`.

    Raises:
        ValueError: for a prediction without mask, or targets that its mask does not hold.
    """
    return records_to_coco(prediction_record(p, with_segmentation=True) for p in predictions)


def evaluation_facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What makes the figures of one evaluation comparable, as names and values.

    Args:
        result: The object of `samspl test --json`.
    """
    split_set = f" of {result['split_set']}" if result.get("split_set") else ""
    return [
        ("data set", _or_dash(result.get("dataset"))),
        ("split", _or_dash(result.get("split")) + split_set),
        ("checksum", _or_dash(result.get("split_sha256"))),
        ("images", str(result["images"])),
        ("threshold", f"{result['threshold']:g}"),
        ("weights", _or_dash(result.get("weights"))),
    ]


def evaluation_cells(
    result: Mapping[str, Any], intervals: Mapping[str, Mapping[str, Ends]] | None = None
) -> list[list[str]]:
    """Rows of the table of one evaluation: a header with the profiles, then a row for each figure.

    Args:
        result: The object of `samspl test --json`.
        intervals: By profile and figure, low and high end of its confidence interval, shown behind it;
            None: none.
    """
    profiles: Mapping[str, Mapping[str, Any]] = result["profiles"]
    rows = [["", *profiles], ["size", *(_size(profile["image_size"]) for profile in profiles.values())]]
    for label, key, factor, form in FIGURE_ROWS:
        of = intervals or {}
        cells = (_figure_cell(p, of.get(name, {}), key, factor, form) for name, p in profiles.items())
        rows.append([label, *cells])
    rows.append(["targets", *(str(profile["targets"]) for profile in profiles.values())])
    if all("false_alarms" in profile for profile in profiles.values()):
        per_image = (_false_alarms_per_image(p, result["images"]) for p in profiles.values())
        rows.append(["false alarms per image", *per_image])
    if "empty_images" in profiles.get("strict", {}):
        left_out = (str(p["empty_images"]) if name == "strict" else "0" for name, p in profiles.items())
        rows.append(["images left out of nIoU", *left_out])
    return rows


def evaluation_table(
    result: Mapping[str, Any], intervals: Mapping[str, Mapping[str, Ends]] | None = None
) -> str:
    """Markdown of one evaluation: a line with all that makes its figures comparable, then the profiles side
    by side; for the arguments see `evaluation_cells`."""
    facts = [
        f"{name} {_short(value) if name == 'checksum' else value}" for name, value in evaluation_facts(result)
    ]
    header, *rows = evaluation_cells(result, intervals)
    return ", ".join(facts) + "\n\n" + _markdown(header, rows)


def comparison_table(results: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Markdown table of several evaluations, a row for each profile, with a warning where they differ.

    Args:
        results: Name and `samspl test --json` object of each; figures have their intervals behind them where
            the object holds them.
    Raises:
        ValueError: without results.
    """
    if not results:
        raise ValueError("no results to compare; expected at least one")
    header = ["result", "profile", "data set", "split", "size", "threshold", "images"]
    header += [*(label for label, *_ in FIGURE_ROWS), "false alarms per image"]
    rows = []
    for profile in dict.fromkeys(name for _, result in results for name in result["profiles"]):
        for name, result in results:
            scores = result["profiles"].get(profile)
            if scores is None:
                continue
            intervals = scores.get("intervals") or {}
            cells = [_figure_cell(scores, intervals, *row[1:]) for row in FIGURE_ROWS]
            cells.append(_false_alarms_per_image(scores, result["images"]))
            split = " ".join(str(result[key]) for key in ("split_set", "split") if result.get(key)) or "-"
            split += f" ({_short(result.get('split_sha256'))})"
            facts = [name, profile, _or_dash(result.get("dataset")), split, _size(scores["image_size"])]
            rows.append([*facts, f"{result['threshold']:g}", str(result["images"]), *cells])
    notes = [
        f"Not comparable: the results differ in {what}."
        for key, what in (("dataset", "data set"), ("split_sha256", "split"), ("threshold", "threshold"))
        if len({result.get(key) for _, result in results} - {None}) > 1  # what is unknown may be the same
    ]
    sizes = {r["profiles"]["published"]["image_size"] for _, r in results if "published" in r["profiles"]}
    if len(sizes) > 1:
        notes.append("Not comparable: the published figures were taken at different sizes.")
    return _markdown(header, rows) + "".join(f"\n{note}\n" for note in notes)


def read_result(path: Path) -> dict[str, Any]:
    """Read a `samspl test --json` file.

    Raises:
        SamsplError: naming the file, if it cannot be read or is none.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise SamsplError(
            f"{path} is no readable JSON ({err}); expected a file of `samspl test --json`"
        ) from err
    profiles = result.get("profiles") if isinstance(result, dict) else None
    needed = {"image_size", "hits", "targets", *(key for _, key, *_ in FIGURE_ROWS)}
    is_whole = isinstance(profiles, dict) and all(
        isinstance(profile, dict) and needed <= profile.keys() for profile in profiles.values()
    )
    if not is_whole or not {"images", "threshold"} <= result.keys():
        raise SamsplError(f"{path} is no evaluation result; expected a file of `samspl test --json`")
    return result


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; NaN is refused, since it is no JSON.

    Raises:
        ValueError: for NaN or infinity.
        SamsplError: if the file cannot be written.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a CSV file with a header, whole or not at all; None becomes an empty cell.

    Raises:
        ValueError: for a row with other columns.
        SamsplError: if the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write UTF-8, whole or not at all.

    Raises:
        SamsplError: if the file cannot be written.
    """
    write_bytes(path, text.encode())


def require_writable(path: Path, option: str, is_folder: bool = False) -> None:
    """Try whether a result may be written, before hours of work are spent on it; nothing is left behind.

    Args:
        path: File, or folder, that will be written; missing folders on the way are no obstacle.
        option: That named it, for the error.
        is_folder: Whether it is a folder.
    Raises:
        ConfigError: naming what is in the way.
    """
    folder = path if is_folder else path.parent
    try:
        if path.exists() and path.is_dir() != is_folder:
            is_what, expected = ("a file", "a folder") if is_folder else ("a folder", "a file")
            raise ConfigError(f"{option} {path} is {is_what}; give the path of {expected}")
        folder = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise ConfigError(
            f"{option} {path} cannot be written ({folder}: {err.strerror or err}); give another path"
        ) from err


def _pixels_by_box(prediction: ImagePrediction) -> dict[tuple[int, int, int, int], np.ndarray]:
    """Flat pixel indices of each component; no two components share a box, since they would have to cross."""
    if prediction.mask is None or prediction.mask.shape != prediction.size_hw:
        raise ValueError(f"{prediction.file}: COCO needs the mask, of the image's size {prediction.size_hw}")
    found = find_components(prediction.mask)
    order = np.argsort(found.labels, kind="stable")
    groups = np.split(found.pixels[order], np.cumsum(found.area_px)[:-1])
    return {t.bbox_xyxy: pixels for t, pixels in zip(find_targets(prediction.mask), groups, strict=False)}


def _run_lengths(pixels: np.ndarray, shape: tuple[int, int]) -> list[int]:
    height, width = shape
    rows, columns = np.divmod(pixels, width)
    position = np.sort(columns * height + rows)  # column by column
    starts = position[np.diff(position, prepend=-2) > 1]
    ends = position[np.diff(position, append=height * width + 1) > 1] + 1
    edges = np.stack([starts, ends], axis=1).ravel()
    lengths = np.diff(edges, prepend=0, append=height * width)
    return lengths[:-1].tolist() if lengths[-1] == 0 else lengths.tolist()


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = [list(header), *(list(row) for row in rows)]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in table]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines) + "\n"


def _figure(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None else form.format(value * factor)


def _figure_cell(
    scores: Mapping[str, Any], intervals: Mapping[str, Ends], key: str, factor: float, form: str
) -> str:
    """A figure, with the numbers behind Pd, and its interval if that is known."""
    cell = _figure(scores[key], factor, form)
    if key == "pd":
        cell += f" ({scores['hits']}/{scores['targets']})"
    if key in intervals:
        low, high = (_figure(end, factor, form) for end in intervals[key])
        cell += f" [{low}, {high}]"
    return cell


def _false_alarms_per_image(scores: Mapping[str, Any], images: int) -> str:
    is_known = "false_alarms" in scores and images > 0
    return _figure(scores["false_alarms"] / images if is_known else None, 1.0, "{:.3f}")


def _size(image_size: int | None) -> str:
    return "native" if image_size is None else f"{image_size} x {image_size}"


def _short(checksum: str | None) -> str:
    return _or_dash(checksum)[:12]


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)
