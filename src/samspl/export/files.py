"""Exported files on disk, with what they say of themselves."""

from pathlib import Path
from typing import Any

from samspl.backends.facts import ExportFacts
from samspl.backends.openvino import RT_INFO, import_openvino
from samspl.errors import ExportError


def not_written(path: Path, err: Exception) -> ExportError:
    """The sentence for a file that the disk or its permissions refuse."""
    reason = getattr(err, "strerror", None) or next(iter(str(err).splitlines()), type(err).__name__)
    return ExportError(f"{path} cannot be written: {reason}; check space and permission")


def write_onnx(path: Path, serialised: bytes, facts: ExportFacts) -> None:
    """Write an `.onnx` file with the facts in its metadata.

    Raises:
        ExportError: if it cannot be written.
    """
    import onnx

    model = onnx.load_from_string(serialised)
    model.producer_name, model.producer_version = "samspl", facts.samspl_version
    onnx.helper.set_model_props(model, facts.to_strings())
    onnx.checker.check_model(model)
    try:
        path.write_bytes(model.SerializeToString())
    except OSError as err:
        raise not_written(path, err) from err


def write_openvino(path: Path, model: Any, facts: ExportFacts) -> None:
    """Write an `.xml` file with the facts in its run-time information, and its `.bin`.

    Raises:
        ExportError: if it cannot be written.
    """
    for key, value in facts.to_strings().items():
        model.set_rt_info(value, [RT_INFO, key])
    try:
        import_openvino().save_model(model, path, compress_to_fp16=False)
    except (RuntimeError, OSError) as err:
        raise not_written(path, err) from err


def place(draft: Path, out: Path) -> tuple[Path, ...]:
    """Move finished files from a folder beside to where they belong.

    Args:
        draft: The file, alone with its `.bin` or without one.
        out: Its final name.
    Returns:
        The files, the main one first.
    Raises:
        ExportError: if they cannot be moved.
    """
    try:
        moved = []
        weights = draft.with_suffix(".bin")
        if weights.is_file():  # first, so that an .xml that is there has its weights
            moved.append(weights.replace(out.with_suffix(".bin")))
        return (draft.replace(out), *moved)
    except OSError as err:
        raise not_written(out, err) from err
