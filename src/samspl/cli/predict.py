"""`samspl predict`: find targets in image files."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from samspl.errors import ConfigError, ImageError

NAME = "predict"
HELP = "find targets in images"
EXAMPLE = "samspl predict frames/ --weights best.safetensors --save mask,overlay,csv"

KINDS = ("mask", "overlay", "prob", "json", "csv", "coco")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl predict``."""
    parser.add_argument(
        "paths", type=str, nargs="+", help="images, folders or patterns such as 'frames/*.png'"
    )
    parser.add_argument("--weights", type=str, required=True, help="weights file or training folder")
    parser.add_argument("--out", type=str, default="runs/predict", help="folder for the results")
    parser.add_argument("--save", type=str, default="mask,overlay,json,csv", help=f"any of {','.join(KINDS)}")
    parser.add_argument("--threshold", type=float | None, default=None, help="default: the checkpoint's, 0.5")
    parser.add_argument("--min-area", type=int, default=1, help="smallest target, in pixels")
    parser.add_argument(
        "--dataset", type=str | None, default=None, help="whose preprocessing, for files without"
    )
    parser.add_argument("--recursive", action="store_true", help="look into folders of folders")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")


def run(args: Any) -> int:
    """Predict every image; one bad file does not stop the others.

    Returns:
        0, or 1 if an image could not be used.
    Raises:
        ConfigError: for missing paths or values out of range.
        SamsplError: if weights cannot be used or results not be written.
    """
    kinds = _kinds(args.save)
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise ConfigError(f"--threshold is {args.threshold}; expected a probability between 0 and 1")
    if args.min_area < 1:
        raise ConfigError(f"--min-area is {args.min_area}; expected at least 1 pixel")
    images = list(find_images(args.paths, args.recursive))
    out = Path(args.out)
    _refuse_overwriting(images, out, kinds, args.overwrite)

    from samspl.cli.common import progress_bar, use_threads
    from samspl.data.specs import get_spec
    from samspl.inference.detector import IMAGE_OUTPUTS, Detector
    from samspl.report import (
        PREDICTION_COLUMNS,
        ImagePrediction,
        predictions_to_coco,
        predictions_to_json,
        predictions_to_rows,
        write_csv,
        write_json,
    )

    use_threads(args)
    preprocess = get_spec(args.dataset).preprocess() if args.dataset else None
    detector = Detector(
        args.weights, args.device, threshold=args.threshold, preprocess=preprocess, min_area_px=args.min_area
    )
    predictions: list[ImagePrediction] = []
    bad: list[str] = []
    pictures = [kind for kind in kinds if kind in IMAGE_OUTPUTS]
    try:
        for path, name in progress_bar(args.quiet)(images, len(images)):
            try:
                result = detector.detect(path, name)
            except ImageError as err:
                bad.append(str(err))
                continue
            result.save(out, pictures)
            predictions.append(result.prediction)
    finally:  # what an interrupted run has found is kept too
        if "json" in kinds:
            write_json(out / "predictions.json", predictions_to_json(predictions))
        if "csv" in kinds:
            write_csv(out / "predictions.csv", predictions_to_rows(predictions), PREDICTION_COLUMNS)
        if "coco" in kinds:
            write_json(out / "coco.json", predictions_to_coco(predictions))
    for sentence in bad:
        print(f"samspl: error: {sentence}", file=sys.stderr)
    count = sum(len(p.targets) for p in predictions)
    unusable = f" ({len(bad)} unusable)" if bad else ""
    print(f"{count} targets in {len(predictions)} images -> {out}{unusable}")
    return 1 if bad else 0


def find_images(paths: list[str], recursive: bool) -> Iterator[tuple[Path, str]]:
    """Image files of paths, folders and patterns, each once, with the relative name of its results.

    Raises:
        ConfigError: for a path that does not exist or holds no image.
    """
    from samspl.imaging import IMAGE_SUFFIXES

    files = [Path(given) for given in paths if Path(given).is_file()]
    stems = {file.with_suffix("").name for file in files}
    # frames of several sequences often have the same names: then the folders tell them apart
    common = (
        Path(os.path.commonpath([f.resolve().parent for f in files])) if len(stems) < len(files) else None
    )
    seen: set[Path] = set()
    for given in paths:
        path = Path(given)
        if path.is_file():
            found = [(path, path.resolve().relative_to(common).as_posix() if common else path.name)]
        elif path.is_dir():
            inside = sorted(path.rglob("*") if recursive else path.iterdir())
            found = [(f, f.relative_to(path).as_posix()) for f in inside if _is_image(f, IMAGE_SUFFIXES)]
            if not found:
                deeper = "" if recursive else " (--recursive looks into its folders)"
                raise ConfigError(f"folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)}){deeper}")
        elif any(c in given for c in "*?["):
            fixed, pattern = _split_pattern(path)
            matches = sorted(fixed.glob(pattern))
            found = [(f, f.relative_to(fixed).as_posix()) for f in matches if _is_image(f, IMAGE_SUFFIXES)]
            if not found:
                raise ConfigError(f"no image matches {given!r}; check the pattern")
        else:
            raise ConfigError(f"{given} does not exist; give images, folders or a pattern")
        for file, name in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file, name


def _split_pattern(path: Path) -> tuple[Path, str]:
    """The folder before the first part with a wildcard, and the rest."""
    first = next(i for i, part in enumerate(path.parts) if any(c in part for c in "*?["))
    return Path(*path.parts[:first]), Path(*path.parts[first:]).as_posix()


def _is_image(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def _kinds(text: str) -> list[str]:
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    if not kinds or (unknown := [kind for kind in kinds if kind not in KINDS]):
        raise ConfigError(
            f"--save is {text!r}; expected any of {','.join(KINDS)}"
            + (f", not {unknown[0]!r}" if kinds else "")
        )
    return kinds


def _refuse_overwriting(images: list[tuple[Path, str]], out: Path, kinds: list[str], overwrite: bool) -> None:
    """Raises ConfigError where results would replace files, or each other."""
    results: dict[Path, str] = {}
    for path, name in images:
        stem = Path(name).with_suffix("")
        if stem in results:
            raise ConfigError(f"{results[stem]} and {path} would have the same results; predict them apart")
        results[stem] = str(path)
    inputs = {path.resolve() for path, _ in images}
    files = {"json": ["predictions.json"], "csv": ["predictions.csv"], "coco": ["coco.json"]}
    for kind in kinds:
        suffix = ".tiff" if kind == "prob" else ".png"
        for name in files.get(kind) or [f"{kind}/{stem}{suffix}" for stem in results]:
            target = out / name
            if target.resolve() in inputs:
                raise ConfigError(f"{target} is one of the images; choose another --out")
            if target.exists() and not overwrite:
                raise ConfigError(f"{target} is there already; choose another --out, or add --overwrite")
