"""`samspl test`: score weights on a split of a data set, or prediction files of any program.

Under torchrun the processes share the images; process 0 puts the parts together, prints and writes.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jsonargparse import ArgumentParser

from samspl.errors import ConfigError, SamsplError

if TYPE_CHECKING:
    from samspl.data.dataset import InfraredDataset, Pair
    from samspl.data.splits import Split
    from samspl.evaluation.processes import Processes
    from samspl.evaluation.report import WorstImage, WorstImages
    from samspl.evaluation.result import EvaluationResult
    from samspl.evaluation.scoring import OnImage
    from samspl.metrics.pixel import Profile
    from samspl.predictions import DatasetPredictions, PredictionFiles

logger = logging.getLogger(__name__)

NAME = "test"
HELP = "score weights or prediction files under both profiles"
EXAMPLE = "samspl test --dataset NUAA-SIRST --data-path datasets --weights runs/train/NUAA-SIRST"


class Share(NamedTuple):
    """What one process found, and what was scored."""

    result: "EvaluationResult | None"
    """None for a process without an image."""
    worst: "tuple[WorstImage, ...]"
    """Its own worst images; none without a report."""
    origin: dict[str, str | None]
    """dataset, split, split_set, split_sha256 and weights, as the result file has them."""


class _Pairs:
    """What reading processes are given: images by place; an error comes back whole, torch would wrap it."""

    def __init__(self, dataset: "InfraredDataset") -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> "Pair | SamsplError":
        try:
            return self._dataset.read(index)
        except SamsplError as err:
            return err


def _unchanged(pair: Any) -> Any:
    return pair


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl test``."""
    add = parser.add_argument
    add("--dataset", type=str | None, default=None, help="known name, YAML specification or folder")
    add("--data-path", type=str, default=".", help="folder that holds the data set's folder")
    add("--weights", type=str | None, default=None, help="weights file or training folder")
    add("--image-size", type=int | None, default=None, help="default: the checkpoint's")
    add("--batch-size", type=int, default=1, help="images of equal size that are predicted together")
    add("--split", type=str | None, default=None, help="test (default), train, val, or a list file")
    add("--split-set", type=str | None, default=None, help="which split lists, such as img_idx")
    add("--profile", type=str, default="both", help="published, strict or both")
    add("--threshold", type=float | None, default=None, help="default: the checkpoint's, 0.5")
    add("--report", type=str | None, default=None, help="folder for index.html, images.csv and more")
    add("--json", type=str | None, default=None, help="file to write the result to")
    add("--overlays", type=str | None, default=None, help="folder for pictures of hits and misses")
    add("--predictions", type=str | None, default=None, help="folder of masks or probabilities to score")
    add(
        "--masks",
        type=str | None,
        default=None,
        help="folder of true masks for --predictions, in place of --dataset",
    )
    add("--images", type=str | None, default=None, help="folder of images for --masks")
    add("--compare", type=str, nargs="+", default=None, help="result files to tabulate")


def run(args: Any) -> int:
    """Score and print a table.

    Returns:
        Exit status 0; so do processes beside process 0, which alone says what failed.
    Raises:
        ConfigError: for options that do not go together, missing paths, or output that cannot be written.
        SamsplError: if data or weights cannot be used.
    """
    if args.compare:
        return _compare(args)
    from samspl.evaluation.processes import Processes

    processes = Processes.of_environment()
    try:
        profiles = _check(args, processes)
    except ConfigError:
        if processes.rank:  # process 0 says the same
            return 0
        raise
    score = _score_files if args.predictions else _score_weights
    shares = processes.gather(lambda: score(args, profiles, processes))
    if shares is not None:
        _publish(args, shares)
    return 0


def _check(args: Any, processes: "Processes") -> "Sequence[Profile]":
    """Refuse options that do not go together, and output that cannot be written; returns the profiles."""
    from samspl.cli.common import existing
    from samspl.report import require_writable

    if args.profile not in ("both", "published", "strict"):
        raise ConfigError(f"--profile is {args.profile!r}; known: both, published, strict")
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise ConfigError(f"--threshold is {args.threshold}; expected a probability between 0 and 1")
    if args.batch_size < 1:
        raise ConfigError(f"--batch-size is {args.batch_size}; expected at least 1")
    if args.overlays and processes.count > 1:
        raise ConfigError("--overlays is written by one process alone; leave it out, or leave out torchrun")
    if args.predictions or args.masks:
        if not args.predictions or bool(args.masks) == bool(args.dataset):
            raise ConfigError("--predictions goes with --masks or with --dataset; give one of these with it")
        if args.weights:
            raise ConfigError("--predictions and --weights exclude each other; leave one out")
        if args.images and args.dataset:
            raise ConfigError("--images goes with --masks; data sets bring their own")
        if args.masks and args.split in ("train", "val", "test"):
            raise ConfigError(f"--split {args.split} is part of a data set; give --predictions a list file")
        for folder in (args.predictions, args.masks, args.images):
            if folder:
                existing(folder, "folder")
    elif args.images:
        raise ConfigError("--images goes with --predictions and --masks; leave it out")
    elif args.dataset is None or args.weights is None:
        raise ConfigError(
            f"samspl test needs --dataset and --weights (or --predictions and --masks); as in: {EXAMPLE}"
        )
    for name, is_folder in (("json", False), ("report", True), ("overlays", True)):
        if args[name]:
            require_writable(Path(args[name]), f"--{name}", is_folder)
    return ("published", "strict") if args.profile == "both" else (args.profile,)


def _compare(args: Any) -> int:
    from samspl.cli.common import existing
    from samspl.report import comparison_table, read_result

    others = [name for name in ("weights", "predictions", "report", "json") if args[name]]
    if others:
        raise ConfigError(f"--compare only reads result files; leave out --{others[0]}")
    paths = [existing(file, "result") for file in args.compare]
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    print(comparison_table([(name, read_result(path)) for name, path in zip(names, paths, strict=True)]))
    return 0


def _open_predictions(args: Any) -> "tuple[PredictionFiles | DatasetPredictions, dict[str, str | None]]":
    """Prediction files beside their masks, and what is scored."""
    from samspl.data.dataset import open_dataset
    from samspl.data.splits import Split, read_list
    from samspl.predictions import DatasetPredictions, PredictionFiles

    folder = Path(args.predictions)
    if args.dataset:
        dataset = open_dataset(args.dataset, args.data_path, args.split or "test", args.split_set, 0)
        origin = _origin(dataset.spec.name, dataset.split, args.predictions)
        return DatasetPredictions(folder, dataset), origin
    ids = None if args.split is None else read_list(Path(args.split))
    files = PredictionFiles(folder, Path(args.masks), Path(args.images) if args.images else None, ids)
    list_path = Path(args.masks if args.split is None else args.split)
    return files, _origin(None, Split(str(list_path), None, list_path, files.ids), args.predictions)


def _score_files(args: Any, profiles: "Sequence[Profile]", processes: "Processes") -> Share:
    from samspl.cli.common import progress_bar
    from samspl.evaluation import evaluate_predictions
    from samspl.postprocess import DEFAULT_THRESHOLD

    files, origin = _open_predictions(args)
    own = processes.share(len(files))
    if not own:
        return Share(None, (), origin)
    worst, on_image = _watch(args, own)
    bar = progress_bar(args.quiet or processes.rank > 0)
    result = evaluate_predictions(
        bar((files.read(index) for index in own), len(own)),
        DEFAULT_THRESHOLD if args.threshold is None else args.threshold,
        profiles,
        on_image=on_image,
        curve_thresholds=_curve_thresholds(args),
    )
    return Share(result, worst.draw(), origin)


def _score_weights(args: Any, profiles: "Sequence[Profile]", processes: "Processes") -> Share:
    from samspl.backends import TorchBackend
    from samspl.checkpoint import build_model, read_checkpoint
    from samspl.cli.common import progress_bar, use_threads
    from samspl.data.dataset import open_dataset
    from samspl.evaluation import evaluate

    use_threads(args)
    if processes.rank:
        logging.getLogger("samspl").setLevel(logging.ERROR)  # process 0 says it once
    dataset = open_dataset(args.dataset, args.data_path, args.split or "test", args.split_set, cache_bytes=0)
    checkpoint = read_checkpoint(args.weights)
    _warn_of_training_images(dataset.split, checkpoint.record)
    preprocess = checkpoint.preprocess
    if preprocess is None:
        preprocess = dataset.spec.preprocess()
        logger.info("%s: preprocessing taken from %s", checkpoint.source, dataset.spec.name)
    if args.image_size is not None:
        preprocess = dataclasses.replace(preprocess, image_size=args.image_size)
    origin = _origin(dataset.spec.name, dataset.split, str(args.weights))
    own = processes.share(len(dataset))
    if not own:
        return Share(None, (), origin)
    worst, on_image = _watch(args, own)
    bar = progress_bar(args.quiet or processes.rank > 0)
    result = evaluate(
        TorchBackend(build_model(checkpoint), processes.device(args.device)),
        bar(_read_ahead(dataset, own, args.workers), len(own)),
        preprocess,
        checkpoint.threshold if args.threshold is None else args.threshold,
        profiles,
        dataset.spec.mask_resize,
        args.batch_size,
        on_image=on_image,
        curve_thresholds=_curve_thresholds(args),
    )
    return Share(result, worst.draw(), origin)


def _read_ahead(dataset: "InfraredDataset", own: range, workers: int) -> "Iterator[Pair]":
    """The images at these places in order, read by as many processes while others are scored."""
    from torch.utils.data import DataLoader

    if not workers:
        yield from map(dataset.read, own)
        return
    pairs: Any = _Pairs(dataset)  # torch knows a map-style data set by its method
    for pair in DataLoader(pairs, batch_size=None, sampler=own, num_workers=workers, collate_fn=_unchanged):
        if isinstance(pair, SamsplError):
            raise pair
        yield pair


def _warn_of_training_images(split: "Split", record: Mapping[str, Any]) -> None:
    """A validation part is only one if it is the one that was held out when these weights were trained."""
    held_out = record.get("validation_ids")
    if split.name == "val" and isinstance(held_out, list) and not set(split.ids) <= set(held_out):
        logger.warning(
            "these weights were trained with another validation part; "
            "some images of split val were trained on - give --split the run's splits/val.txt"
        )


def _origin(dataset: str | None, split: "Split", weights: str) -> dict[str, str | None]:
    return {
        "dataset": dataset,
        "split": split.name,
        "split_set": split.split_set,
        "split_sha256": split.sha256,
        "weights": weights,
    }


def _is_validation(split: str | None) -> bool:
    return split is not None and (split == "val" or Path(split).name == "val.txt")


def _curve_thresholds(args: Any) -> Sequence[float] | None:
    from samspl.metrics.curves import DEFAULT_THRESHOLDS

    return DEFAULT_THRESHOLDS if args.report or _is_validation(args.split) else None


def _watch(args: Any, places: range) -> "tuple[WorstImages, OnImage]":
    """What looks at every image: keeps the worst for a report, and writes the overlays asked for."""
    import numpy as np

    from samspl.draw import draw_comparison
    from samspl.evaluation.report import WORST_IMAGES, WorstImages
    from samspl.imaging import write_image

    worst = WorstImages(places, WORST_IMAGES)

    def on_image(sample: Any, prob: np.ndarray, mask: np.ndarray) -> None:
        if args.report:
            worst(sample, prob, mask)
        if args.overlays:
            picture = np.asarray(draw_comparison(sample.image, mask, sample.mask))
            write_image(Path(args.overlays) / f"{sample.id}.png", picture)

    return worst, on_image


def _publish(args: Any, shares: Sequence[Share]) -> None:
    """Print the table, and write what was asked for."""
    from samspl.evaluation.report import threshold_advice, worst_of, write_report
    from samspl.evaluation.result import merge_results
    from samspl.report import Ends, evaluation_table, write_json

    result = merge_results([share.result for share in shares])
    values = result.to_dict(**shares[0].origin)
    intervals: dict[str, Mapping[str, Ends]] = {
        name: profile.intervals() for name, profile in result.profiles.items()
    }
    print(evaluation_table(values, intervals))
    is_validation = _is_validation(args.split)
    if is_validation and result.curve is not None:
        print(threshold_advice(result.curve, is_validation))
    if args.json:
        for name, profile in values["profiles"].items():
            profile["intervals"] = intervals[name]
        write_json(Path(args.json), values)
    if args.report:
        pictures = worst_of(share.worst for share in shares)
        write_report(Path(args.report), values, intervals, result, pictures, is_validation)
        print(f"report: {Path(args.report) / 'index.html'}")
