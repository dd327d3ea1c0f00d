"""The weights that a training run ended with, where `best.safetensors` has those of its best epoch.

A phase that goes on from the one before, as those of docs/nano.md do, may want the last ones: the best epoch on whole
frames says little of how far a run on patches came. With a running mean (`--ema-decay`) it is that which is taken.

python tools/last_weights.py runs/train/nano_1 --out nano_1.safetensors
"""

import argparse
import dataclasses
from pathlib import Path

from samspl.checkpoint import read_checkpoint, write_checkpoint
from samspl.training.checkpoints import LAST_FILE, read_last

MEAN, TRAINED = "average.module.", "model."
"""What the names of the running mean's tensors begin with in a training checkpoint, and of the network's own."""
SCORES = ("validation", "validation_by_dataset")
"""What the file's record says of the best epoch alone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="training folder")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    best = read_checkpoint(args.run)  # configuration and preprocessing
    last = read_last(args.run / LAST_FILE)
    tensors = last["state_dict"]
    prefix = MEAN if any(name.startswith(MEAN) for name in tensors) else TRAINED
    state = {name: tensors[prefix + name] for name in best.state}
    record = {name: value for name, value in best.record.items() if name not in SCORES}
    record["epoch"] = last["epoch"] + 1
    write_checkpoint(args.out, dataclasses.replace(best, state=state, record=record))
    print(f"{args.out}: epoch {last['epoch'] + 1}, {'running mean' if prefix == MEAN else 'as trained'}")


if __name__ == "__main__":
    main()
