"""What native frames are best padded with: scores of the same weights with zeros, reflections and repeated edges.

Frames of 256 x 256 are cut to odd sizes first, others are taken as they are; drawn scenes too.

python benchmarks/padding.py --data-path datasets [--weights nano] [--split NUDT-SIRST:val] [--split synthetic] ...
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from samspl.backends import TorchBackend
from samspl.checkpoint import build_model, read_checkpoint
from samspl.data.dataset import open_dataset
from samspl.data.synthetic import draw_scene
from samspl.metrics import score
from samspl.preprocess import padded_size

MODES = ("zeros", "reflect", "edge")
SIDE = 256
LEAST_SIDE = 170
SCENES = 60
SEED = 424242


def read_frames(words: str, data_path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image and mask of each frame of `DATASET:SPLIT`, or of `synthetic`."""
    rng = np.random.default_rng(SEED)
    if words == "synthetic":
        scenes = (draw_scene(np.random.default_rng([SEED, i]), (SIDE, SIDE)) for i in range(SCENES))
        pairs: Iterator[tuple[np.ndarray, np.ndarray]] = ((scene.image, scene.mask) for scene in scenes)
    else:
        name, split = words.split(":")
        dataset = open_dataset(name, data_path, split)
        pairs = ((p.image, p.mask) for p in map(dataset.pair, range(len(dataset))))
    for image, mask in pairs:
        h, w = rng.integers(LEAST_SIDE, SIDE, 2) if image.shape == (SIDE, SIDE) else image.shape
        yield image[:h, :w], mask[:h, :w]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-path", type=Path, required=True)
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--split", action="append", help="DATASET:SPLIT, or synthetic")
    args = parser.parse_args()
    checkpoint = read_checkpoint(args.weights)
    backend = TorchBackend(build_model(checkpoint), "cpu")
    preprocess = checkpoint.preprocess
    if preprocess is None or preprocess.image_size is not None:
        parser.error(f"{args.weights} are no weights for frames of native size")
    for words in args.split or ["NUDT-SIRST:val", "NUAA-SIRST:val", "synthetic"]:
        found: dict[str, list[np.ndarray]] = {mode: [] for mode in MODES}
        masks = []
        for image, mask in read_frames(words, args.data_path):
            h, w = image.shape
            input_h, input_w = padded_size((h, w))
            missing = ((0, input_h - h), (0, input_w - w))
            grey = preprocess.to_byte_range(image)
            for mode in MODES:
                if mode == "zeros":
                    values = np.pad(preprocess.to_channels(grey), ((0, 0), *missing))
                else:
                    values = preprocess.to_channels(np.pad(grey, missing, mode))
                found[mode].append(backend(values[None])[0, 0, :h, :w] > 0)
            masks.append(mask)
        for mode, predicted in found.items():
            scores = score(predicted, masks, profile="strict")
            print(
                f"{words}, {mode}: IoU {100 * scores.iou:.1f} %, Pd {scores.hits}/{scores.targets}, "
                f"Fa {1e6 * scores.fa:.1f}e-6"
            )


if __name__ == "__main__":
    main()
