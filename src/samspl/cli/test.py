"""`samspl test`: score weights on a split of a data set, or prediction files of any program."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from samspl.errors import ConfigError

NAME = "test"
HELP = "score weights or prediction files under both profiles"
EXAMPLE = "samspl test --dataset NUAA-SIRST --data-path datasets --weights runs/train/NUAA-SIRST"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl test``."""
    parser.add_argument("--dataset", type=str | None, default=None, help="known name, YAML specification or folder")
    parser.add_argument("--data-path", type=str, default=".", help="folder that holds the data set's folder")
    parser.add_argument("--weights", type=str | None, default=None, help="weights file or training folder")
    parser.add_argument("--image-size", type=int | None, default=None, help="default: the checkpoint's")
    parser.add_argument("--split", type=str, default="test", help="test, train, val, or a list file")
    parser.add_argument("--split-set", type=str | None, default=None, help="which split lists, such as img_idx")
    parser.add_argument("--profile", type=str, default="both", help="published, strict or both")
    parser.add_argument("--threshold", type=float | None, default=None, help="default: the checkpoint's, 0.5")
    parser.add_argument("--overlays", type=str | None, default=None, help="folder for pictures of hits and misses")
    parser.add_argument("--json", type=str | None, default=None, help="file to write the result to")
    parser.add_argument("--predictions", type=str | None, default=None, help="folder of masks or probabilities to score")
    parser.add_argument("--masks", type=str | None, default=None, help="folder of true masks for --predictions")
    parser.add_argument("--compare", type=list[str] | None, nargs="+", default=None, help="result files to tabulate")


def run(args: Any) -> int:
    """Score and print a table.

    Raises:
        ConfigError: for options that do not go together, or missing paths.
        SamsplError: if data or weights cannot be used.
    """
    from samspl.report import evaluation_table, write_json

    if args.compare:
        return _compare(args.compare)
    if args.profile not in ("both", "published", "strict"):
        raise ConfigError(f"--profile is {args.profile!r}; known: both, published, strict")
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise ConfigError(f"--threshold is {args.threshold}; expected a probability between 0 and 1")
    profiles = ("published", "strict") if args.profile == "both" else (args.profile,)
    if args.predictions or args.masks:
        result = _score_files(args, profiles)
    else:
        result = _score_weights(args, profiles)
    print(evaluation_table(result))
    if args.json:
        write_json(Path(args.json), result)
    return 0


def _compare(files: list[str]) -> int:
    from samspl.cli.common import existing
    from samspl.report import comparison_table, read_result

    paths = [existing(file, "result") for file in files]
    print(comparison_table([(path.stem, read_result(path)) for path in paths]))
    return 0


def _score_files(args: Any, profiles: Any) -> dict[str, Any]:
    from samspl.cli.common import existing, progress_bar
    from samspl.evaluation import evaluate_predictions
    from samspl.postprocess import DEFAULT_THRESHOLD
    from samspl.predictions import read_predictions

    if not (args.predictions and args.masks):
        raise ConfigError("--predictions and --masks go together; give both folders")
    samples = list(read_predictions(existing(args.predictions, "folder"), existing(args.masks, "folder")))
    bar = progress_bar(args.quiet)
    threshold = DEFAULT_THRESHOLD if args.threshold is None else args.threshold
    return evaluate_predictions(bar(samples, len(samples)), threshold, profiles).to_dict(weights=args.predictions)


def _score_weights(args: Any, profiles: Any) -> dict[str, Any]:
    if args.dataset is None or args.weights is None:
        raise ConfigError(f"samspl test needs --dataset and --weights (or --predictions and --masks); as in: {EXAMPLE}")
    from samspl.backends import TorchBackend
    from samspl.checkpoint import build_model, read_checkpoint
    from samspl.cli.common import progress_bar, use_threads
    from samspl.data.dataset import open_dataset
    from samspl.evaluation import evaluate

    use_threads(args)
    dataset = open_dataset(args.dataset, args.data_path, args.split, args.split_set, cache_bytes=0)
    checkpoint = read_checkpoint(args.weights)
    preprocess = checkpoint.preprocess
    if preprocess is None:
        preprocess = dataset.spec.preprocess()
        print(f"{checkpoint.source}: preprocessing taken from {dataset.spec.name}", file=sys.stderr)
    if args.image_size is not None:
        preprocess = dataclasses.replace(preprocess, image_size=args.image_size)
    bar = progress_bar(args.quiet)
    result = evaluate(
        TorchBackend(build_model(checkpoint), args.device),
        bar((dataset.read(i) for i in range(len(dataset))), len(dataset)),
        preprocess,
        checkpoint.threshold if args.threshold is None else args.threshold,
        profiles,
        dataset.spec.mask_resize,
        on_image=_overlay_writer(Path(args.overlays)) if args.overlays else None,
    )
    split = dataset.split
    return result.to_dict(dataset.spec.name, split.name, split.split_set, split.sha256, str(args.weights))


def _overlay_writer(folder: Path) -> Any:
    import numpy as np

    from samspl.draw import draw_comparison
    from samspl.imaging import write_image

    def write(sample: Any, prob: Any, mask: Any) -> None:
        write_image(folder / f"{sample.id}.png", np.asarray(draw_comparison(sample.image, mask, sample.mask)))

    return write
