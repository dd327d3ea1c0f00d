"""From a training folder to the weights in the package: half precision, and 0.5 the best threshold on validation.

A network that was trained to overlap has probabilities near 0 and 1, and its best threshold lies anywhere between. The
bias of the last layer is moved so that it lies at 0.5: chosen on the validation parts of the data sets it was trained
on (mean of their IoUs), never on a test list. `--keep-bias` leaves it where it is, for where the gain means
nothing.

python tools/pack_weights.py nano_14.safetensors --data-path datasets --out src/samspl/assets/weights/nano.safetensors
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from scipy.special import logit

from samspl.checkpoint import read_checkpoint, write_checkpoint
from samspl.data.dataset import open_dataset
from samspl.inference.detector import Detector

SHIFTS = np.linspace(-6, 6, 121)
"""Candidates, in logits."""
HEAD = "heads.2.bias"
"""Of the finest map."""


def iou_by_shift(detector: Detector, name: str, data_path: str) -> np.ndarray:
    """IoU over all validation images of a data set, for each of `SHIFTS` subtracted from the logits."""
    dataset = open_dataset(name, data_path, "val")
    both, either = np.zeros(len(SHIFTS)), np.zeros(len(SHIFTS))
    for index in range(len(dataset)):
        pair = dataset.pair(index)
        prob = detector.detect(pair.image).prob.astype(np.float64)
        logits = logit(prob)  # infinite where a probability has rounded to 0 or 1, which is as good
        for i, shift in enumerate(SHIFTS):
            found = logits > shift
            both[i] += np.count_nonzero(found & pair.mask)
            either[i] += np.count_nonzero(found | pair.mask)
    return both / either


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="training folder or file")
    parser.add_argument("--data-path", required=True)
    parser.add_argument("--datasets", default="NUDT-SIRST,NUAA-SIRST", help="whose validation parts decide")
    parser.add_argument(
        "--keep-bias", action="store_true", help="print what a shift would bring, and make none"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    checkpoint = read_checkpoint(args.weights)
    detector = Detector(args.weights, device="cpu")
    curves = [iou_by_shift(detector, name, args.data_path) for name in args.datasets.split(",")]
    mean = np.mean(curves, 0)
    best, none = int(mean.argmax()), int(np.abs(SHIFTS).argmin())
    shift = float(SHIFTS[best])
    for name, curve in zip(args.datasets.split(","), curves, strict=True):
        print(f"{name}: IoU {curve[none]:.4f} as trained, {curve[best]:.4f} with the bias {shift:.2f} lower")
    if args.keep_bias:
        shift = 0.0
    state = dict(checkpoint.state)
    state[HEAD] = state[HEAD] - shift
    state = {k: v.half() if v.ndim > 1 and v.dtype == torch.float32 else v for k, v in state.items()}
    record = {
        **checkpoint.record,
        "recipe": "docs/nano.md",
        "bias_shift": -shift,
    }
    write_checkpoint(args.out, dataclasses.replace(checkpoint, state=state, record=record))
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
