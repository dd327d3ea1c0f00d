"""Measure the statistics of batch normalisation anew, on patches as training shows them.

What training keeps is a running mean over its last batches. Where batches are small and data sets differ, it moves by
more than the weights do: over the last epochs of phase 15 of docs/nano.md, whose rate was nearly 0, IoU on NUDT-SIRST
was anywhere from 85.3 to 87.8 %. Here every batch counts alike. Statistics of a mean of weights fit it no better than
chance, and want the same.

Run: ``python tools/batch_statistics.py nano_15.safetensors --config configs/nano_15_photographs.yaml --data-path DIR
--datasets NUDT-SIRST,NUAA-SIRST --sampling-weights 4,5 --out FILE``
"""

import argparse
import dataclasses
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from samspl.checkpoint import build_model, read_checkpoint, write_checkpoint
from samspl.data.loaders import make_train_loader
from samspl.train_config import TrainConfig
from samspl.training.data import open_parts


@torch.no_grad()
def measure(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of all batch normalisation to their mean over batches (B, 3, H, W); the model stays in
    training mode."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean, in torch's terms
    for batch in batches:
        model(batch)


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
    """Read weights and the configuration of their training, write weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument(
        "--config", type=Path, required=True, help="of the training: patches and their variation"
    )
    parser.add_argument("--data-path", required=True)
    parser.add_argument("--datasets", required=True, help="of the configuration's, those to measure on")
    parser.add_argument("--sampling-weights", required=True, help="their shares")
    parser.add_argument("--crops", help="targets to paste, as in training")
    parser.add_argument("--batches", type=int, default=250)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    names = tuple(args.datasets.split(","))
    shares = tuple(float(share) for share in args.sampling_weights.split(","))
    values = yaml.safe_load(args.config.read_text())
    whole = TrainConfig(**values)
    config = dataclasses.replace(
        whole,
        dataset=args.datasets,
        data_path=args.data_path,
        crops=args.crops,
        sampling_weights=shares,
        variation=tuple(whole.variation_of(name) for name in names),
    )
    checkpoint = read_checkpoint(args.weights)
    model = build_model(checkpoint)
    measure(model, islice(patches(config), args.batches))
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_checkpoint(args.out, dataclasses.replace(checkpoint, state=state))
    print(f"{args.out}: statistics of {args.batches * config.batch_size} patches")


if __name__ == "__main__":
    main()
