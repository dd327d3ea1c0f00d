"""How fast the metrics are, against the usual way; needs scikit-image, which the package does not.

Run from the project's root: ``python benchmarks/metrics.py [--repeats 3]``.

The usual way is what most evaluation codes of the field do for Pd and Fa: scikit-image's ``label`` and
``regionprops`` on both masks and a Python loop over pairs of regions. Both run in turns, so that a busy
machine slows both.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage import measure

from samspl.metrics import score
from samspl.metrics.curves import DEFAULT_THRESHOLDS, PdFaCurve, bootstrap_intervals
from samspl.metrics.suite import count_image
from samspl.postprocess import prob_to_mask

Pairs = list[tuple[np.ndarray, np.ndarray]]


def draw_scenes(count: int, side: int, seed: int = 2727) -> Pairs:
    """Probability maps and masks: one to five targets an image, most of them found, now and then a false
    alarm."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:31, :31] - 15.0
    scenes = []
    for _ in range(count):
        logits = ndimage.gaussian_filter(rng.normal(0, 2, (side, side)), 1.5) - 8
        gt = np.zeros((side, side), bool)
        for kind in rng.choice(["hit", "miss", "false"], rng.integers(1, 6), p=[0.8, 0.1, 0.1]):
            top, left = rng.integers(0, side - 31, 2)
            window = np.s_[top : top + 31, left : left + 31]
            size = rng.uniform(1, 3)
            distance = np.hypot(y, x)
            if kind != "false":
                gt[window] |= distance < size
            if kind != "miss":
                logits[window] = np.maximum(logits[window], rng.uniform(1, 9) * (size + 0.5 - distance))
        scenes.append(((1 / (1 + np.exp(-logits))).astype(np.float32), gt))
    return scenes


def score_the_usual_way(pairs: Pairs) -> tuple[float, float, float]:
    """IoU, Pd and Fa (published rule) by scikit-image's regions and loops."""
    inter = union = hits = targets = false_px = pixels = 0
    for pred, gt in pairs:
        inter += np.logical_and(pred, gt).sum()
        union += np.logical_or(pred, gt).sum()
        regions, truths = (measure.regionprops(measure.label(m, connectivity=2)) for m in (pred, gt))
        areas, matched, left = [region.area for region in regions], [], list(regions)
        for truth in truths:
            for region in left:
                if np.linalg.norm(np.array(region.centroid) - np.array(truth.centroid)) < 3:
                    matched.append(region.area)
                    left.remove(region)
                    break
        hits += len(matched)
        targets += len(truths)
        false_px += sum(area for area in areas if area not in matched)
        pixels += pred.size
    return inter / union, hits / targets, false_px / pixels


def median_seconds(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median time of each, in turns."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for own, work in zip(times, works, strict=True):
            start = time.perf_counter()
            work()
            own.append(time.perf_counter() - start)
    return [float(np.median(own)) for own in times]


def compare_with_usual(repeats: int) -> dict[str, float]:
    """Pd, Fa and IoU of 100 masks of 512 x 512."""
    pairs = [(prob_to_mask(prob), gt) for prob, gt in draw_scenes(100, 512)]
    preds, gts = [pred for pred, _ in pairs], [gt for _, gt in pairs]
    usual_figures, ours = score_the_usual_way(pairs), score(preds, gts, "published")
    if not np.allclose(usual_figures, (ours.iou, ours.pd, ours.fa), atol=1e-12, rtol=0):
        raise SystemExit(f"the figures differ: {usual_figures} and {ours}")
    usual, published, strict = median_seconds(
        [
            lambda: score_the_usual_way(pairs),
            lambda: score(preds, gts, "published"),
            lambda: score(preds, gts, "strict"),
        ],
        repeats,
    )
    return {
        "usual_s": usual,
        "published_s": published,
        "strict_s": strict,
        "usual_over_published": usual / published,
        "usual_over_strict": usual / strict,
    }


def compare_curve(repeats: int) -> dict[str, float]:
    """A curve over 664 images of 256 x 256 against one threshold, and the intervals."""
    scenes = draw_scenes(664, 256)
    thresholds = (*DEFAULT_THRESHOLDS, 0.995)

    def run_curve() -> None:
        curve = PdFaCurve(thresholds)
        for prob, gt in scenes:
            curve.update(prob, gt)
        curve.compute()

    counts = np.array([count_image(prob_to_mask(prob), gt) for prob, gt in scenes])
    curve, one, intervals = median_seconds(
        [
            run_curve,
            lambda: score([prob_to_mask(prob) for prob, _ in scenes], [gt for _, gt in scenes]),
            lambda: bootstrap_intervals(counts),
        ],
        repeats,
    )
    return {
        "thresholds": len(thresholds),
        "curve_s": curve,
        "one_threshold_s": one,
        "curve_over_one": curve / one,
        "intervals_s": intervals,
        "bytes_per_image": counts.nbytes / len(counts),
    }


def main() -> None:
    """Print both comparisons as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, of which the median counts")
    repeats = parser.parse_args().repeats
    print(
        json.dumps({"masks_512": compare_with_usual(repeats), "curve_256": compare_curve(repeats)}, indent=1)
    )


if __name__ == "__main__":
    main()
