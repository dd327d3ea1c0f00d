"""`samspl export`: weights as a file for ONNX Runtime or OpenVINO, checked against torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from samspl.errors import ConfigError, ExportError

if TYPE_CHECKING:
    from samspl.export import ExportReport

NAME = "export"
HELP = "make an ONNX or OpenVINO file of weights"
EXAMPLE = "samspl export --weights best.safetensors --format openvino --precision int8 --calibrate frames/"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl export``."""
    parser.add_argument(
        "--weights", type=str, required=True, help="weights file, training folder or bundled name"
    )
    parser.add_argument("--format", type=str, required=True, help="onnx or openvino")
    parser.add_argument(
        "--out", type=str | None, default=None, help="file to write; default: beside the weights"
    )
    parser.add_argument(
        "--image-size", type=int | None, default=None, help="side of the input; default: the checkpoint's"
    )
    parser.add_argument("--precision", type=str, default="fp32", help="fp32, bf16 (openvino alone) or int8")
    parser.add_argument(
        "--calibrate",
        type=str | None,
        default=None,
        help="folder of your images, or with images/ and masks/; needed for int8, half is measured on",
    )
    parser.add_argument("--force", action="store_true", help="write int8 even if it loses too much")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")


def run(args: Any) -> int:
    """Export, and say how near the result is to the original.

    Returns:
        0, or 1 if int8 lost too much and was not forced.
    Raises:
        ConfigError: for wrong usage.
        SamsplError: if the weights, the images or the export fail.
    """
    if args.device not in ("auto", "cpu"):
        raise ConfigError(f"--device is {args.device}; exports are made and checked on the CPU, leave it out")
    from samspl.cli.common import use_threads
    from samspl.export import export_weights

    use_threads(args)
    report = export_weights(
        args.weights,
        args.format,
        out=None if args.out is None else Path(args.out),
        image_size=args.image_size,
        precision=args.precision,
        calibrate=None if args.calibrate is None else Path(args.calibrate),
        overwrite=args.overwrite,
        force=args.force,
    )
    for line in report_lines(report):
        print(line)
    if not report.paths:
        raise ExportError(
            "int8 loses more than 0.5 points of IoU or Pd on the held-back images, or there was nothing to measure; "
            "no file was written - export fp32 or bf16, calibrate on more images, or add --force"
        )
    for path in report.paths:
        print(path)
    return 0


def report_lines(report: "ExportReport") -> list[str]:
    """What was made and how near it is, a fact a line."""
    size = report.facts.input_size
    scenes = "synthetic scenes" if report.are_synthetic else "images"
    lines = [
        f"input       {size} x {size}, {_way(report)}",
        f"difference  {report.max_abs_diff:.1e} at most, logits on {report.images} {scenes}",
    ]
    if (loss := report.loss) is not None:
        truth = "their masks" if loss.has_masks else "what fp32 finds"
        lines.append(f"accuracy    on {loss.images} images held back from calibration, against {truth}")
        lines.append(f"            {'':<6}{'fp32':>8}{'int8':>8}{'loss':>8}")
        for name, before, after, points in (
            ("IoU %", loss.reference.iou, loss.exported.iou, loss.points[0]),
            ("Pd %", loss.reference.pd, loss.exported.pd, loss.points[1]),
        ):
            lines.append(
                f"            {name:<6}{_percent(before):>8}{_percent(after):>8}{_points(points):>8}"
            )
    return lines


def _way(report: "ExportReport") -> str:
    own = report.facts.preprocess.image_size
    if own is None:
        return "larger frames in tiles of this size"
    return f"every frame is resized to {own} x {own}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
