"""`samspl bench`: how fast every backend and precision is on this machine, and what it loses."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from samspl.errors import ConfigError

if TYPE_CHECKING:
    from samspl.checkpoint import Checkpoint
    from samspl.export.bench import BenchResult

NAME = "bench"
HELP = "speed of every backend and precision on this machine"
EXAMPLE = "samspl bench --variant spl_t --image-size 256 --threads 2"

DEFAULT_VARIANT = "spl_t"
MATMUL = "2048 x 2048 x 2048"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl bench``."""
    parser.add_argument(
        "--variant",
        type=str | None,
        default=None,
        help=f"network with random weights; default: {DEFAULT_VARIANT}",
    )
    parser.add_argument(
        "--weights",
        type=str | None,
        default=None,
        help="weights file, training folder or bundled name instead",
    )
    parser.add_argument("--image-size", type=int, default=256, help="side of the input, a multiple of 32")
    parser.add_argument("--json", type=str | None, default=None, help="file for the figures")


def run(args: Any) -> int:
    """Measure, print the table, write the figures.

    Returns:
        0.
    Raises:
        ConfigError: for wrong usage.
        SamsplError: if the weights cannot be used or the figures not be written.
    """
    if args.variant is not None and args.weights is not None:
        raise ConfigError("--variant and --weights contradict; give one of them")
    if args.device not in ("auto", "cpu"):
        raise ConfigError(f"--device is {args.device}; the backends are compared on the CPU, leave it out")
    if args.json is not None and Path(args.json).is_dir():
        raise ConfigError(f"--json is {args.json}, a folder; expected a file to write")
    from samspl.cli.common import use_threads
    from samspl.export.bench import run_bench
    from samspl.report import write_json

    use_threads(args)
    checkpoint = _checkpoint(args)
    result = run_bench(checkpoint, args.image_size, is_trained=args.weights is not None)
    name = args.weights or args.variant or DEFAULT_VARIANT
    for line in table(result, f"{name} at {args.image_size} x {args.image_size}"):
        print(line)
    if args.json is not None:
        write_json(Path(args.json), result.to_dict())
    return 0


def table(result: "BenchResult", title: str) -> list[str]:
    """The figures as lines of text."""
    gflop = result.rows[0].gflop
    lines = [
        f"{title}, batch 1, {result.threads} threads, {gflop:.1f} GFLOP",
        f"matrix multiply {MATMUL}: {result.matmul_gflops:.0f} GFLOP/s; efficiency is the network's share of it",
        "",
        f"{'backend':<10}{'precision':<11}{'latency ms':>11}{'images/s':>10}{'efficiency':>12}{'max diff':>10}"
        f"{'IoU loss':>10}{'Pd loss':>9}",
    ]
    for row in result.rows:
        loss = result.losses.get((row.backend, row.precision))
        iou, pd = ("-", "-") if loss is None else (_points(points) for points in loss.points)
        lines.append(
            f"{row.backend:<10}{row.precision:<11}{row.latency_ms:>11.1f}{row.images_per_s:>10.1f}{row.efficiency:>12.2f}"
            f"{row.max_abs_diff:>10.1e}{iou:>10}{pd:>9}"
        )
    truth = "their masks" if all(loss.has_masks for loss in result.losses.values()) else "what fp32 finds"
    if result.losses:
        lines += ["", f"loss: points of strict IoU and Pd on synthetic scenes, against {truth}"]
    return lines + [f"not in the table - {sentence}" for sentence in result.left_out]


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _checkpoint(args: Any) -> "Checkpoint":
    """The network to measure; random weights are the same at every call."""
    from samspl.checkpoint import Checkpoint, read_checkpoint

    if args.weights is not None:
        return read_checkpoint(args.weights)
    import torch

    from samspl.models.factory import create_model
    from samspl.preprocess import Preprocess

    torch.manual_seed(2727)
    model = create_model(args.variant or DEFAULT_VARIANT)
    return Checkpoint(
        model.config, model.state_dict(), Preprocess((110.0,), (56.0,)), source="random weights"
    )
