"""`samspl train`: train a network on a data set."""

import dataclasses
import sys
from typing import Any

from jsonargparse import ArgumentParser

from samspl.config import TrainConfig
from samspl.errors import ConfigError

NAME = "train"
HELP = "train a network"
EXAMPLE = "samspl train --dataset NUDT-SIRST --data-path datasets --sam-weights sam2.1_hiera_tiny --epochs 300"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl train``; the defaults are the published recipe."""
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    parser.add_argument("--dataset", type=str, required=True, help="known name, YAML specification or folder")
    parser.add_argument("--data-path", type=str, default=".", help="folder that holds the data set's folder")
    parser.add_argument(
        "--sam-weights", type=str, required=True, help="SAM 2 checkpoint, fetched name, or none for a random trunk"
    )
    parser.add_argument("--init", type=str | None, default=None, help="SAM-SPL weights to start from")
    parser.add_argument("--variant", type=str, default="spl_t", help="spl_t, spl_s, spl_b or spl_l")
    parser.add_argument("--model", type=dict[str, Any], default={}, help="fields of the network that differ")
    parser.add_argument("--image-size", type=int | None, default=None, help="multiple of 32; default: the data set's")
    parser.add_argument("--batch-size", type=int, default=12, help="images of a step")
    parser.add_argument("--lr", type=float, default=1e-2, help="learning rate at the start")
    parser.add_argument("--weight-decay", type=float, default=1e-4, help="proximal form")
    parser.add_argument("--epochs", type=int, default=300, help="passes over the training images")
    parser.add_argument("--save-dir", type=str | None, default=None, help="default: runs/train/DATASET")
    parser.add_argument("--seed", type=int, default=2727, help="of weights, order and augmentation")
    parser.add_argument("--precision", type=str, default="fp32", help="fp32 or bf16")
    parser.add_argument("--channels-last", action="store_true", help="weights in channels-last layout too")
    parser.add_argument("--freeze-trunk", type=bool | None, default=None, help="default: if SAM weights are given")
    parser.add_argument("--split-set", type=str | None, default=None, help="which split lists, such as img_idx")
    parser.add_argument("--resume", type=str | None, default=None, help="last, or a .ckpt file")


def run(args: Any) -> int:
    """Train, and say where the weights are."""
    from pathlib import Path

    from samspl.cli.common import use_threads

    fields = {f.name for f in dataclasses.fields(TrainConfig)}
    values = {name: value for name, value in vars(args).items() if name in fields}
    values["sam_weights"] = None if args.sam_weights.lower() == "none" else args.sam_weights
    values["save_dir"] = args.save_dir or f"runs/train/{Path(args.dataset).stem}"
    values["model"] = dict(args.model)
    config = TrainConfig(**values)
    try:
        from samspl.training.run import train
    except ModuleNotFoundError as err:
        raise ConfigError(f"training needs the package {err.name}; run: pip install 'samspl[train]'") from err
    use_threads(args)
    try:
        best = train(config, progress=not args.quiet)
    except KeyboardInterrupt:
        print(f"go on with: samspl train ... --save-dir {config.save_dir} --resume last", file=sys.stderr)
        raise
    print(best)
    return 0
