"""Files inside the package: weights that work out of the box, and sample scenes to try them on."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def bundled_weights() -> dict[str, Path]:
    """Weights in the package: name to `.safetensors` file; their model cards are pages of the documentation."""
    return {path.stem: path for path in sorted((_FOLDER / "weights").glob("*.safetensors"))}


def sample_scenes() -> tuple[Path, ...]:
    """Images to try a detector on, drawn by `samspl.data.synthetic`; in order of names."""
    return tuple(sorted((_FOLDER / "scenes").glob("*.png")))
