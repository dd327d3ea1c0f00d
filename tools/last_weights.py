"""The weights that a training run ended with, where `best.safetensors` has those of its best epoch.

A phase that goes on from the one before, as those of docs/nano.md do, may want the last ones: the best epoch on whole
frames says little of how far a run on patches came. With a running mean (`--ema-decay`) it is that which is taken.
`--average-with` takes the mean of them and of others, such as those the run began with: halfway between what it learned
and what it had forgotten, or at another `--share`.

python tools/last_weights.py runs/train/nano_1 --out nano_1.safetensors
python tools/last_weights.py runs/train/nano_5 --average-with nano_4.safetensors --out nano_5.safetensors
"""

import argparse
import dataclasses
from pathlib import Path

from torch import Tensor

from samspl.checkpoint import read_checkpoint, write_checkpoint
from samspl.training.checkpoints import LAST_FILE, read_last

MEAN, TRAINED = "average.module.", "model."
"""What the names of the running mean's tensors begin with in a training checkpoint, and of the network's own."""
SCORES = ("validation", "validation_by_dataset")
"""What the file's record says of the best epoch alone."""


def _mean(one: Tensor, other: Tensor, share: float) -> Tensor:
    """``share`` of the first and the rest of the second; counts of batches, which are no weights, stay the first's."""
    return share * one + (1 - share) * other.to(one.dtype) if one.is_floating_point() else one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="training folder")
    parser.add_argument("--average-with", type=Path, help="weights of the same network")
    parser.add_argument(
        "--share", type=float, help="of the run's weights in that mean, 0 to 1 (default: half)"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.share is not None and not args.average_with:
        parser.error("--share is of a mean; add --average-with")
    share = 0.5 if args.share is None else args.share
    if not 0 <= share <= 1:
        parser.error(f"--share is {share}; expected 0 to 1")
    best = read_checkpoint(args.run)  # configuration and preprocessing
    last = read_last(args.run / LAST_FILE)
    tensors = last["state_dict"]
    prefix = MEAN if any(name.startswith(MEAN) for name in tensors) else TRAINED
    state = {name: tensors[prefix + name] for name in best.state}
    if args.average_with:
        other = read_checkpoint(args.average_with)
        if other.config != best.config:
            parser.error(f"{args.average_with} is another network than that of {args.run}")
        state = {name: _mean(tensor, other.state[name], share) for name, tensor in state.items()}
    record = {name: value for name, value in best.record.items() if name not in SCORES}
    record["epoch"] = last["epoch"] + 1
    write_checkpoint(args.out, dataclasses.replace(best, state=state, record=record))
    print(f"{args.out}: epoch {last['epoch'] + 1}, {'running mean' if prefix == MEAN else 'as trained'}")


if __name__ == "__main__":
    main()
