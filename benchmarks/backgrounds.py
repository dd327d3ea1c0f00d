"""How much of a score rests on backgrounds that were learned by heart.

NUDT-SIRST lays different targets into the same backgrounds, at the same place. Validation images are parted by how well
the most similar training image fits their fine structure (correlation of what a Gaussian of 4 pixels takes away), and
scored whole and cut off-centre. A network that knows how targets look scores alike in all; one that knows the
backgrounds scores higher where it saw them, and only at their place.

python benchmarks/backgrounds.py --data-path datasets [--weights nano,other.safetensors] [--dataset NUDT-SIRST]
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from samspl.data.dataset import InfraredDataset, open_dataset
from samspl.inference.detector import Detector
from samspl.metrics import score

SHARED, NEW = 0.5, 0.3
"""Correlations from which a background counts as shared, and below which as new."""
CUTS = {"whole": np.s_[:, :], "cut at 16, 16": np.s_[16:240, 16:240], "cut at 9, 21": np.s_[9:233, 21:245]}
"""Parts of a frame of 256 x 256, by their top and left."""


def fine_structure(image: np.ndarray) -> np.ndarray:
    """(H, W) to a unit vector of (H * W / 4,)."""
    values = image.astype(np.float32)
    values -= ndimage.gaussian_filter(values, 4)
    vector = values[::2, ::2].ravel()
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def group_by_background(train: InfraredDataset, val: InfraredDataset) -> dict[str, str]:
    """`shared`, `between` or `new` for each validation id."""
    aside = set(val.ids)
    seen = np.stack(
        [fine_structure(train.pair(i).image) for i, image_id in enumerate(train.ids) if image_id not in aside]
    )
    groups = {}
    for index, image_id in enumerate(val.ids):
        best = float((seen @ fine_structure(val.pair(index).image)).max())
        groups[image_id] = "shared" if best >= SHARED else "between" if best >= NEW else "new"
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-path", type=Path, required=True)
    parser.add_argument("--weights", default="nano", help="several with commas")
    parser.add_argument("--dataset", default="NUDT-SIRST", help="of images of 256 x 256")
    args = parser.parse_args()
    train, val = (open_dataset(args.dataset, args.data_path, split) for split in ("train", "val"))
    groups = group_by_background(train, val)
    pairs = [val.pair(index) for index in range(len(val))]
    for weights in args.weights.split(","):
        detector = Detector(weights, device="cpu")
        for words, part in CUTS.items():
            found = {pair.id: detector.detect(pair.image[part]).mask for pair in pairs}
            for group in ("shared", "between", "new", "all"):
                chosen = [pair for pair in pairs if group in ("all", groups[pair.id])]
                scores = score(
                    [found[p.id] for p in chosen], [p.mask[part] for p in chosen], profile="strict"
                )
                print(
                    f"{weights}, {words}, {group} ({len(chosen)}): IoU {100 * (scores.iou or 0):.1f} %, "
                    f"nIoU {100 * (scores.niou or 0):.1f} %, Pd {scores.hits}/{scores.targets}, "
                    f"Fa {1e6 * scores.fa:.1f}e-6"
                )


if __name__ == "__main__":
    main()
