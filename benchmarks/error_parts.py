"""Where a network's wrong pixels lie: at the outlines of targets that it found, in targets missed, in false alarms.

IoU alone does not tell. The parts are of 8-connected components: a predicted one that shares a pixel with a target has
found it. `outline IoU` leaves missed targets and false alarms out.

python benchmarks/error_parts.py --data-path datasets [--weights nano] [--split NUDT-SIRST:val]
    [--split NUDT-SIRST:train:150] ...
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from samspl.data.dataset import InfraredDataset, open_dataset
from samspl.inference.detector import Detector

EIGHT = np.ones((3, 3), np.int64)


@dataclass
class Parts:
    """Sums over images, in pixels but for the counts."""

    right: int = 0
    outline_missing: int = 0
    outline_extra: int = 0
    missed: int = 0
    missed_count: int = 0
    false_alarm: int = 0
    false_alarm_count: int = 0

    def add(self, found: np.ndarray, target: np.ndarray) -> None:
        """Count one image's masks, both (H, W) bool."""
        blobs, blob_count = ndimage.label(found, EIGHT)
        targets, target_count = ndimage.label(target, EIGHT)
        hits, hit_targets = (
            np.setdiff1d(labels[both], 0) for labels, both in ((blobs, target), (targets, found))
        )
        is_hit, is_found = np.isin(blobs, hits), np.isin(targets, hit_targets)
        self.right += np.count_nonzero(found & target)
        self.outline_missing += np.count_nonzero(is_found & ~found)
        self.outline_extra += np.count_nonzero(is_hit & ~target)
        self.missed += np.count_nonzero(target & ~is_found)
        self.missed_count += target_count - len(hit_targets)
        self.false_alarm += np.count_nonzero(found & ~is_hit)
        self.false_alarm_count += blob_count - len(hits)

    def __str__(self) -> str:
        outlines = self.right + self.outline_missing + self.outline_extra
        everything = outlines + self.missed + self.false_alarm
        return (
            f"IoU {100 * self.right / max(everything, 1):.1f} %, "
            f"outline IoU {100 * self.right / max(outlines, 1):.1f} %; "
            f"right {self.right} px, outlines: {self.outline_missing} px missing, {self.outline_extra} px too much; "
            f"missed targets: {self.missed} px in {self.missed_count}; "
            f"false alarms: {self.false_alarm} px in {self.false_alarm_count}"
        )


def measure(detector: Detector, dataset: InfraredDataset, count: int) -> Parts:
    """The first ``count`` images of a data set at the weights' threshold."""
    parts = Parts()
    for index in range(min(count, len(dataset))):
        pair = dataset.pair(index)
        parts.add(detector.detect(pair.image).mask, pair.mask)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--weights", default="nano", help="name, file or training folder; several with commas"
    )
    parser.add_argument("--data-path", type=Path, required=True)
    parser.add_argument("--split", action="append", help="data set, split and perhaps a number of images")
    args = parser.parse_args()
    for weights in args.weights.split(","):
        detector = Detector(weights, device="cpu")
        for words in args.split or ["NUDT-SIRST:val", "NUAA-SIRST:val"]:
            name, split, *count = words.split(":")
            dataset = open_dataset(name, args.data_path, split)
            print(
                f"{weights}, {words}: {measure(detector, dataset, int(count[0]) if count else len(dataset))}"
            )


if __name__ == "__main__":
    main()
