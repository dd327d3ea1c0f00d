"""Measure what the model card says: docs/nano.md's tables between `<!-- measured: NAME -->` and `<!-- end -->`.

python tools/card_figures.py --data-path datasets [--weights nano] [--splits NUDT-SIRST:val,NUAA-SIRST:val]
    [--write docs/nano.md]

Without `--write` the blocks are printed. The test list of NUAA-SIRST is among the default splits: ask for it once, when
all choices are made.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from samspl.backends import TorchBackend
from samspl.checkpoint import build_model, read_checkpoint
from samspl.data.dataset import open_dataset
from samspl.data.synthetic import draw_scene
from samspl.evaluation import EvaluationResult, evaluate
from samspl.inference.detector import Detector
from samspl.metrics import Scores, score
from samspl.metrics.curves import Interval
from samspl.web.scenes import RECIPES, draw

SPLITS = "NUDT-SIRST:val,NUAA-SIRST:val,NUAA-SIRST:test"
SCR_EDGES = (0, 2, 4, 6, 8, 12)
EMPTY_FRAMES = 100
EMPTY_SEED = 90210
"""Of the frames without targets; no training run has it."""
TITLES = {"val": "validation"}
"""Splits whose name in the card is another."""


def score_splits(
    weights: str, wanted: Sequence[tuple[str, str]], data_path: str
) -> dict[tuple[str, str], EvaluationResult]:
    """Both profiles on each list, given as data set and split."""
    checkpoint = read_checkpoint(weights)
    backend = TorchBackend(build_model(checkpoint), "cpu")
    results = {}
    for name, split in wanted:
        dataset = open_dataset(name, data_path, split)
        results[name, split] = evaluate(
            backend,
            (dataset.pair(index) for index in range(len(dataset))),
            checkpoint.preprocess or dataset.spec.preprocess(),
            mask_resize=dataset.spec.mask_resize,
        )
    return results


def main_table(results: Mapping[tuple[str, str], EvaluationResult]) -> str:
    """A row for each list and profile."""
    lines = [
        "| data set, split | profile | IoU % | nIoU % | F1 % | Pd % | Fa 1e-6 | false alarms an image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, split), result in results.items():
        for profile, one in result.profiles.items():
            scores, intervals = one.scores, one.intervals()
            lines.append(
                f"| {name}, {TITLES.get(split, split)} ({scores.images}) | `{profile}` "
                f"| {_percent(scores.iou)} {_range(intervals['iou'])} "
                f"| {_percent(scores.niou)} {_range(intervals['niou'])} | {_percent(scores.f1)} "
                f"| {_percent(scores.pd)} ({scores.hits}/{scores.targets}) {_range(intervals['pd'])} "
                f"| {_millionths(scores.fa)} {_range(intervals['fa'], 1e6)} "
                f"| {scores.false_alarms / scores.images:.2f} |"
            )
    return "\n".join(lines)


def scr_table(results: Mapping[tuple[str, str], EvaluationResult]) -> str:
    """Hits over targets in ranges of the signal-to-clutter ratio."""
    lines: list[str] = []
    for (name, split), result in results.items():
        bins = result.targets.pd_by_scr(SCR_EDGES)
        if not lines:
            titles = [
                f"{b.low:g} to {b.high:g}" if np.isfinite(b.high) else f"{b.low:g} and more" for b in bins
            ]
            lines = [f"| SCR | {' | '.join(titles)} |", "|---" * (len(bins) + 1) + "|"]
        cells = " | ".join(f"{b.hits}/{b.targets}" for b in bins)
        lines.append(f"| {name}, {TITLES.get(split, split)} | {cells} |")
    return "\n".join(lines)


def empty_line(detector: Detector) -> str:
    """False alarms on drawn frames without any target."""
    counts, pixels = [], 0
    for index in range(EMPTY_FRAMES):
        scene = draw_scene(np.random.default_rng([EMPTY_SEED, index]), (256, 256), target_count=0)
        found = detector.detect(scene.image)
        counts.append(len(found.targets))
        pixels += int(found.mask.sum())
    return (
        f"{EMPTY_FRAMES} drawn scenes of 256 x 256: {sum(counts)} false alarms, in {np.count_nonzero(counts)} of the "
        f"frames, Fa {1e6 * pixels / (EMPTY_FRAMES * 256 * 256):.0f}e-6"
    )


def checks_line(detector: Detector, data_path: str) -> str:
    """What tests/unit/test_nano.py repeats."""
    scenes = [draw(recipe) for recipe in RECIPES]
    drawn = _score([(scene.image, scene.mask) for scene in scenes], detector)
    dataset = open_dataset("NUAA-SIRST", data_path, "test")
    pairs = [dataset.pair(index) for index in range(8)]
    real = _score([(pair.image, pair.mask) for pair in pairs], detector)
    false_px = round((drawn.fa or 0.0) * sum(scene.mask.size for scene in scenes))
    return (
        f"the package's sample scenes give {drawn.hits}/{drawn.targets} targets, {false_px} false pixels; the first "
        f"eight images of NUAA-SIRST's test list give {real.hits}/{real.targets} targets, "
        f"IoU {_percent(real.iou)} %."
    )


def fill(card: str, blocks: Mapping[str, str]) -> str:
    """The card with the text between its marks replaced.

    Raises:
        ValueError: if a block has no place.
    """
    for name, text in blocks.items():
        place = re.search(rf"<!-- measured: {name} -->\n\n(.*?)\n\n<!-- end -->", card, re.DOTALL)
        if not place:
            raise ValueError(f"the card has no place for {name!r}")
        card = card[: place.start(1)] + text + card[place.end(1) :]
    return card


def _score(pairs: list[tuple[np.ndarray, np.ndarray]], detector: Detector) -> Scores:
    return score([detector.detect(image).mask for image, _ in pairs], [mask for _, mask in pairs])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _millionths(value: float | None) -> str:
    return "-" if value is None else f"{1e6 * value:.1f}"


def _range(interval: Interval, factor: float = 100) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f"[{factor * interval.low:.1f}, {factor * interval.high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-path", required=True)
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--splits", default=SPLITS, help="NAME:SPLIT with commas")
    parser.add_argument("--write", type=Path, help="card to fill")
    args = parser.parse_args()
    wanted = [(name, split) for name, _, split in (part.rpartition(":") for part in args.splits.split(","))]
    results = score_splits(args.weights, wanted, args.data_path)
    detector = Detector(args.weights, device="cpu")
    blocks = {
        "figures": main_table(results),
        "scr": scr_table(results),
        "empty": f"On frames **without any target**, {empty_line(detector)}.",
        "checks": f"Checks that a test repeats: {checks_line(detector, args.data_path)}",
    }
    if args.write:
        args.write.write_text(fill(args.write.read_text(), blocks))
    else:
        for name, text in blocks.items():
            print(f"{name}:\n{text}\n")


if __name__ == "__main__":
    main()
