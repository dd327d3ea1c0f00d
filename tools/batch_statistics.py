"""Measure the statistics of batch normalisation anew, on patches as training shows them.

What training keeps is a running mean over its last batches. Where batches are small and data sets differ, it moves by
more than the weights do (docs/nano.md, "Photographs as backgrounds"). Here every batch counts alike. A mean of weights,
whose statistics are the mean of theirs, wants the same.

All options of `samspl train` that say how patches are made are taken:

python tools/batch_statistics.py nano_15.safetensors --out nano_15_measured.safetensors
    --config configs/trials/nano_15_photographs.yaml --data-path datasets --crops datasets/IRSTD-1k-targets
    --dataset NUDT-SIRST,NUAA-SIRST --sampling-weights 4,5 --variation 0.15,0.7
"""

import dataclasses
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from jsonargparse import ArgumentParser
from torch import Tensor
from torch.optim.swa_utils import update_bn

from samspl.checkpoint import build_model, read_checkpoint, write_checkpoint
from samspl.cli.train import add_arguments, to_config
from samspl.data.loaders import make_train_loader
from samspl.train_config import TrainConfig
from samspl.training.data import open_parts


def patches(config: TrainConfig) -> Iterator[Tensor]:
    """Augmented batches (B, 3, N, N) of one epoch after the other, without end."""
    parts, _ = open_parts(config)
    sources = [part.train for part in parts]
    loader = make_train_loader(
        sources,
        config.batch_size,
        config.seed,
        config.workers,
        drop_last=True,
        weights=config.sampling_weights,
    )
    for epoch in count():
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        yield from (batch.image for batch in loader)


def main() -> None:
    """Read weights and how patches are made, write weights."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--batches", type=int, default=250)
    parser.add_argument("--out", type=Path, required=True)
    add_arguments(parser)
    args = parser.parse_args()
    config = to_config(args)
    checkpoint = read_checkpoint(args.weights)
    model = build_model(checkpoint)
    update_bn(islice(patches(config), args.batches), model)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_checkpoint(args.out, dataclasses.replace(checkpoint, state=state))
    print(f"{args.out}: statistics of {args.batches * config.batch_size} patches")


if __name__ == "__main__":
    main()
