"""Speed of a training step, as time an image in units of (29.9 GFLOP / fp32 matrix-multiply rate), and loss curves.

    python benchmarks/training_speed.py [--variant spl_t] [--batch 4] [--size 256] [--threads 2] [--rounds 5]
    python benchmarks/training_speed.py --curves 50 [--size 128] [--data-path datasets]

A step is forward, loss and backward with the trunk frozen, as published. Every round times a 2048^3 fp32 matrix
multiply around each form, so that all see the same machine; the median of the rounds' ratios is printed. The
published code takes 5.3 to 6.6 in fp32 and 2.8 in bf16 with channels-last, on a processor with bf16 instructions.
`--curves` trains in both precisions with Adan, from the same weights on the same batches in the same order: drawn
scenes, or with `--data-path` patches of NUDT-SIRST, three of four around a target. It prints both losses.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

import samspl
from samspl.data.dataset import open_dataset
from samspl.data.loaders import TrainBatch, TrainSet, TrainSource, make_train_loader
from samspl.data.synthetic_set import SyntheticTrainSet, synthetic_spec
from samspl.data.transforms import Compose, Flips, TargetPatch
from samspl.losses import make_loss
from samspl.models.network import SAMSPL
from samspl.train_config import TrainConfig
from samspl.training.optim import make_optimizer

GFLOP_AT_256 = 29.9
MATMUL_SIDE = 2048
FORMS = {"fp32": False, "bf16": True}
"""Whether the step runs in bf16 mixed precision; weights and maps lie channels-last in both."""
POSITIVE = 0.75


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


SMALL = {"embed_dim": 16, "stages": (1, 2, 2), "global_blocks": (4,), "width": 32, "mlp_width": 64}


def build(args: argparse.Namespace) -> SAMSPL:
    torch.manual_seed(0)
    model = samspl.create_model(args.variant, **(SMALL if args.small else {})).train()
    model.freeze_trunk()
    return model


def step(model: SAMSPL, batch: TrainBatch, is_bf16: bool) -> float:
    """Forward, loss and backward, as `samspl.training.module` does them; the loss."""
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
        loss = make_loss("bce")(model(batch.image), batch.gt_mask)
    loss.backward()
    return loss.item()


def batches(count: int, size: int, batch: int, data_path: str | None = None) -> list[TrainBatch]:
    source: TrainSource
    if data_path is None:
        source = SyntheticTrainSet(synthetic_spec().preprocess(size), count * batch)
    else:
        images = open_dataset("NUDT-SIRST", data_path, "train")
        source = TrainSet(
            images, images.spec.preprocess(), augmentation=Compose((Flips(), TargetPatch(size, POSITIVE)))
        )
    return list(islice(make_train_loader([source], batch, drop_last=True), count))


def compare_speed(args: argparse.Namespace) -> None:
    (batch,) = batches(1, args.size, args.batch)
    a, b = torch.randn(2, MATMUL_SIDE, MATMUL_SIDE)
    gflop = GFLOP_AT_256 * (args.size / 256) ** 2
    models = {name: build(args) for name in FORMS}
    units: dict[str, list[float]] = {name: [] for name in FORMS}
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    rates = []
    for round_index in range(args.rounds + 1):
        for name, is_bf16 in FORMS.items():
            before = seconds(lambda: a @ b)
            one = seconds(lambda: step(models[name], batch, is_bf16)) / args.batch  # noqa: B023
            matmul = (before + seconds(lambda: a @ b)) / 2
            if round_index:  # the first warms up
                rate = 2 * MATMUL_SIDE**3 / 1e9 / matmul
                rates.append(rate)
                times[name].append(one)
                units[name].append(one / (gflop / rate))
    print(f"{args.variant}, batch {args.batch} of {args.size} x {args.size}, {args.threads} threads")
    print(f"matrix multiply: {statistics.median(rates):.0f} GFLOP/s (median of {len(rates)})")
    for name in FORMS:
        print(
            f"{name:<20} {statistics.median(times[name]):.3f} s an image, {statistics.median(units[name]):.2f} units "
            f"({min(units[name]):.2f} to {max(units[name]):.2f})"
        )


def compare_curves(args: argparse.Namespace) -> None:
    config = TrainConfig(dataset="synthetic", data_path=".", sam_weights=None, save_dir="unused", lr=args.lr)
    data = batches(args.curves, args.size, args.batch, args.data_path)
    curves: dict[str, list[float]] = {}
    for name, is_bf16 in FORMS.items():
        model = build(args)
        optimizer = make_optimizer(model.parameters(), config)
        curves[name] = []
        for batch in data:
            curves[name].append(step(model, batch, is_bf16))
            optimizer.step()
    network = "small network" if args.small else args.variant
    print(f"{network}, batch {args.batch} of {args.size} x {args.size}, Adan {args.lr:g}")
    print(f"{'step':>5} {'fp32':>10} {'bf16':>10}")
    for index in range(0, len(data), 5):
        means = [statistics.mean(curve[index : index + 5]) for curve in curves.values()]
        print(f"{index + 1:>2}-{min(index + 5, len(data)):<2} {means[0]:>10.4f} {means[1]:>10.4f}")
    if args.json:
        Path(args.json).write_text(json.dumps(curves))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="spl_t")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--curves", type=int, default=0, help="steps of the loss curves; 0 measures speed")
    parser.add_argument(
        "--small", action="store_true", help="0.4 M parameters, for curves without bf16 instructions"
    )
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--data-path", help="folder that holds NUDT-SIRST, for curves on its patches")
    parser.add_argument("--json", help="file for the losses of every step")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    (compare_curves if args.curves else compare_speed)(args)


if __name__ == "__main__":
    main()
