"""A weights file as a file for another runtime: made, checked against torch, and only then put into its place."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from samspl import __version__
from samspl.backends import open_backend
from samspl.backends.facts import PRECISIONS, ExportFacts
from samspl.backends.onnx import require as require_onnx
from samspl.backends.onnx import to_onnx
from samspl.backends.openvino import import_openvino, to_openvino
from samspl.checkpoint import Checkpoint, build_model, find_weights, read_checkpoint
from samspl.config import nearest_name
from samspl.errors import CheckpointError, ConfigError, ExportError
from samspl.export.files import not_written, place, write_onnx, write_openvino
from samspl.export.images import ImageFolder, inputs_of, synthetic_images
from samspl.export.parity import LARGEST_DIFFERENCE, AccuracyLoss, Run, largest_difference, measure_loss
from samspl.export.quantise import quantise_onnx, quantise_openvino, require_nncf
from samspl.models.inference import prepare_for_inference
from samspl.models.network import SAMSPL
from samspl.preprocess import STRIDE, Preprocess, padded_size

FORMATS = {"onnx": ".onnx", "openvino": ".xml"}
"""Formats and the suffix of their file; OpenVINO has a `.bin` with the weights beside it."""
NATIVE_SIZE = 256
"""Side of the input where neither caller nor checkpoint names one."""
PARITY_IMAGES = 8
"""So many images go through both networks."""


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how near it is to the original."""

    paths: tuple[Path, ...]
    """Files written; empty if int8 lost too much and was not forced."""
    facts: ExportFacts
    """What the file says of itself."""
    max_abs_diff: float
    """Largest difference of logits from the torch network."""
    images: int
    """Images compared."""
    are_synthetic: bool
    """Whether these were drawn, for want of the user's."""
    loss: AccuracyLoss | None
    """Of int8; None for others."""


def default_path(weights: str | Path, export_format: str, precision: str = "fp32") -> Path:
    """Where an export goes unless told otherwise: beside the weights, as `best.onnx` or `best.int8.xml`.

    Raises:
        ConfigError: for missing weights, or weights inside the package, beside which nothing is written.
    """
    path = find_weights(weights)
    if str(weights) != str(path) and not Path(weights).is_dir():
        raise ConfigError(f"weights {weights} lie inside the package; say with --out where the export goes")
    ending = "" if precision == "fp32" else f".{precision}"
    return path.with_name(f"{path.stem}{ending}{FORMATS[export_format]}")


def export_weights(
    weights: str | Path,
    export_format: str,
    out: Path | None = None,
    image_size: int | None = None,
    precision: str = "fp32",
    calibrate: Path | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> ExportReport:
    """Export a network, and run the same images through both forms.

    Args:
        weights: Weights file, training folder or bundled name.
        export_format: `onnx` or `openvino`.
        out: File to write; None: see `default_path`.
        image_size: Side of the input, a multiple of 32. None takes the checkpoint's, or `NATIVE_SIZE` where it keeps
            images at their size; such a network then takes frames in tiles of this side.
        precision: One of `PRECISIONS`. bf16 is for OpenVINO alone: the file's numbers are fp32, the run time's bf16.
        calibrate: Folder of images; needed for int8. Half of them are held back to measure the loss.
        overwrite: Replace files that are there.
        force: Write int8 even if it loses too much.
    Raises:
        ConfigError: for wrong arguments, a missing file or a missing extra.
        CheckpointError: for an unusable file, or one that does not say how images are prepared.
        ExportError: if fp32 differs by more than `LARGEST_DIFFERENCE`, or a file cannot be written; no file is left.
    """
    out = _check(weights, export_format, out, precision, calibrate, overwrite)
    checkpoint = read_checkpoint(weights)
    preprocess, size = fixed_size(checkpoint, image_size)
    folder = None if calibrate is None else ImageFolder(calibrate)
    to_calibrate: list[str] = []
    held_back: list[str] = []
    if folder is None:
        inputs = inputs_of(synthetic_images(size), preprocess, size)
    else:
        to_calibrate, held_back = folder.split()
        inputs = inputs_of([folder.read(n) for n in held_back[:PARITY_IMAGES]], preprocess, size)
    model = build_model(checkpoint)
    facts = ExportFacts(
        preprocess,
        checkpoint.threshold,
        size,
        precision,
        checkpoint.config,
        _sha256(find_weights(weights)),
        __version__,
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".samspl-", dir=out.parent, ignore_cleanup_errors=True)
    except OSError as err:
        raise not_written(out, err) from err
    with temporary as name:
        draft = Path(name) / out.name
        calibration = []
        if precision == "int8" and folder is not None:
            calibration = inputs_of([folder.read(name) for name in to_calibrate], preprocess, size)
        _write(draft, export_format, model, facts, calibration)
        exported = open_backend(draft, device="cpu")
        reference = _reference(model)
        difference = largest_difference(reference, exported, inputs)
        if precision == "fp32" and difference > LARGEST_DIFFERENCE:
            raise ExportError(
                f"logits of the exported network differ by up to {difference:.1e} from torch's, more than "
                f"{LARGEST_DIFFERENCE:.0e}; nothing was written - please report it with the weights"
            )
        loss = None
        if precision == "int8":
            assert folder is not None  # seen to by _check
            images = (folder.read(n) for n in held_back)
            loss = measure_loss(reference, exported, images, preprocess, size, checkpoint.threshold)
        del exported  # lets go of the file
        is_kept = loss is None or loss.is_small or force
        paths = place(draft, out) if is_kept else ()
    return ExportReport(paths, facts, difference, len(inputs), folder is None, loss)


def _check(
    weights: str | Path,
    export_format: str,
    out: Path | None,
    precision: str,
    calibrate: Path | None,
    overwrite: bool,
) -> Path:
    """Where to write; raises ConfigError for arguments that cannot be meant, before anything takes time."""
    if export_format not in FORMATS:
        raise ConfigError(f"unknown format {export_format!r}; {nearest_name(export_format, list(FORMATS))}")
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision {precision!r}; {nearest_name(precision, list(PRECISIONS))}")
    if precision == "bf16" and export_format == "onnx":
        raise ConfigError(
            "ONNX Runtime has no bf16 on the CPU; export openvino for bf16, or onnx in fp32 or int8"
        )
    if precision == "int8" and calibrate is None:
        raise ConfigError(
            "int8 needs --calibrate DIR, a folder of your images that gives the ranges of values"
        )
    suffix = FORMATS[export_format]
    if out is not None and out.suffix != suffix:
        raise ConfigError(f"--out is {out}; a file of format {export_format} ends with {suffix}")
    out = out or default_path(weights, export_format, precision)
    source = find_weights(weights)
    for path in (out, out.with_suffix(".bin")) if suffix == ".xml" else (out,):
        if path.exists() and path.resolve() == source.resolve():
            raise ConfigError(f"{path} are the weights themselves; choose another --out")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} is there already; choose another --out, or add --overwrite")
    if export_format == "onnx":
        require_onnx("onnx", "onnxruntime")
    else:
        import_openvino()
        if precision == "int8":
            require_nncf()
    return out


def fixed_size(checkpoint: Checkpoint, image_size: int | None) -> tuple[Preprocess, int]:
    """Preprocessing and side of the exported network."""
    if image_size is not None and (image_size < STRIDE or image_size % STRIDE):
        up = max(STRIDE, -(-image_size // STRIDE) * STRIDE)
        raise ConfigError(
            f"--image-size is {image_size}; the network needs a multiple of {STRIDE}, such as {up}"
        )
    preprocess = checkpoint.preprocess
    if preprocess is None:
        raise CheckpointError(
            f"{checkpoint.source} do not say how images are prepared; run "
            "samspl weights import FILE --dataset NAME first"
        )
    own = preprocess.image_size
    if own is None:
        return preprocess, image_size or NATIVE_SIZE
    padded = padded_size((own, own))[0]
    if image_size is None or image_size == padded:
        return preprocess, padded
    return dataclasses.replace(preprocess, image_size=image_size), image_size


def _write(
    path: Path, export_format: str, model: SAMSPL, facts: ExportFacts, calibration: Sequence[np.ndarray]
) -> None:
    network, size = prepare_for_inference(model), facts.input_size
    if export_format == "onnx":
        if calibration:
            serialised = quantise_onnx(network, calibration, size, path.parent)
        else:
            serialised = to_onnx(network, (size, size))
        write_onnx(path, serialised, facts)
    elif calibration:
        write_openvino(path, quantise_openvino(network, calibration, size), facts)
    else:
        write_openvino(path, to_openvino(network, (size, size)), facts)


def _reference(model: SAMSPL) -> Run:
    """The network as it came, not the prepared form that was exported."""

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(images))[0].numpy()

    return run


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
