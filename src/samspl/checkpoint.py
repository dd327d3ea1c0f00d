"""Our weights files: safetensors with configuration, preprocessing and record of training inside.

A file alone rebuilds the network and what images must look like. The authors' files, told apart by their keys, load
too; they know no preprocessing, so that a data set's must be given (or imported once, by `samspl weights import`).
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from samspl.assets import bundled_weights
from samspl.config import ModelConfig
from samspl.errors import CheckpointError, ConfigError, ImageError
from samspl.imaging import write_bytes
from samspl.models.network import SAMSPL
from samspl.models.variants import variant_config
from samspl.models.weights import (
    LoadReport,
    StateDict,
    from_authors,
    infer_config,
    is_authors_layout,
    is_sam_layout,
    load_exactly,
    read_tensors,
)
from samspl.postprocess import DEFAULT_THRESHOLD, check_threshold
from samspl.preprocess import Preprocess

logger = logging.getLogger(__name__)

FORMAT = "samspl-1"
BEST_FILE = "best.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds, under our names."""

    config: ModelConfig
    """Of the network."""
    state: StateDict = field(repr=False)
    """Its tensors."""
    preprocess: Preprocess | None = None
    """What images must look like; None in files that do not say."""
    threshold: float = DEFAULT_THRESHOLD
    """Probability above which a pixel is target."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """How it came about: data sets, validation ids, scores; JSON values."""
    source: str = ""
    """Layout and file, for a person."""
    ignored: tuple[str, ...] = ()
    """The file's keys that were left aside on purpose."""


def find_weights(name: str | Path) -> Path:
    """The file that a bundled name, a path or a training folder stands for.

    A bundled name, such as `nano`, goes before a file of that name here; `./nano` is the file.

    Raises:
        ConfigError: if there is none.
    """
    bundled = bundled_weights()
    if isinstance(name, str) and name in bundled:
        return bundled[name]
    path = Path(name)
    if path.is_dir():
        if (path / BEST_FILE).is_file():
            return path / BEST_FILE
        raise ConfigError(f"{path} is a folder without {BEST_FILE}; give a weights file or a training folder")
    if not path.exists():
        raise ConfigError(
            f"weights {path} do not exist; give a .safetensors or .pt file, a training folder, or a name in the "
            f"package: {', '.join(bundled)}"
        )
    return path


def read_checkpoint(name: str | Path, variant: str | None = None, **overrides: Any) -> Checkpoint:
    """Read a weights file of ours or of the authors.

    Args:
        name: File, or training folder.
        variant: For files that do not hold their configuration; follows from the shapes if left out.
        overrides: Fields of `ModelConfig` that differ.
    Raises:
        ConfigError: if there is no such file, or for an unknown variant or field.
        CheckpointError: if it is damaged, unsafe, or of another kind.
    """
    path = find_weights(name)
    tensors, metadata = read_tensors(path)
    if metadata.get("format") == FORMAT:
        return _with_overrides(_from_ours(path, tensors, metadata), variant, overrides)
    ignored: tuple[str, ...] = ()
    layout = "weights"
    if is_sam_layout(tensors):
        raise CheckpointError(
            f"{path} is a SAM 2 checkpoint, which detects nothing by itself; train with --sam-weights {path}"
        )
    if is_authors_layout(tensors):
        tensors, ignored = from_authors(tensors)
        layout = "the authors' weights"
    if variant is None:
        config = infer_config(tensors)
    else:
        # the ablation shows in the keys; all else of a variant is said by its name
        config = variant_config(variant, use_sam_decoder="decoder.output_token" in tensors)
    return Checkpoint(
        config=config.with_fields(overrides),
        state=tensors,
        source=f"{layout} {path}",
        ignored=ignored,
    )


def load_model(name: str | Path, variant: str | None = None, **overrides: Any) -> SAMSPL:
    """The network of a weights file, in eval mode.

    Args:
        name: File of ours or of the authors, or a training folder.
        variant: For files that do not hold their configuration; follows from the shapes if left out.
        overrides: Any field of `samspl.config.ModelConfig`.
    Raises:
        ConfigError: if there is no such file, or for an unknown variant or field.
        CheckpointError: if it is damaged, unsafe, or does not fit; lists the keys.
    """
    return build_model(read_checkpoint(name, variant, **overrides))


def build_model(checkpoint: Checkpoint) -> SAMSPL:
    """The network of a checkpoint, in eval mode.

    Raises:
        CheckpointError: if a tensor is missing, of another shape, or left over; lists the keys.
    """
    model = SAMSPL(checkpoint.config)
    load_exactly(model, checkpoint.state, checkpoint.source)
    report = LoadReport(checkpoint.source, tuple(sorted(checkpoint.state)), checkpoint.ignored)
    logger.info("loaded %s", report)
    return model.eval()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write one of our files, whole or not at all.

    Raises:
        CheckpointError: if it cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "config": json.dumps(checkpoint.config.to_dict()),
        "preprocess": json.dumps(checkpoint.preprocess.to_dict() if checkpoint.preprocess else None),
        "threshold": json.dumps(checkpoint.threshold),
        "record": json.dumps(dict(checkpoint.record)),
    }
    state = {key: value.detach().cpu().contiguous() for key, value in checkpoint.state.items()}
    try:
        write_bytes(path, save(state, metadata))
    except ImageError as err:
        raise CheckpointError(str(err)) from err


def _from_ours(path: Path, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> Checkpoint:
    try:
        values = {key: json.loads(metadata[key]) for key in ("config", "preprocess", "threshold", "record")}
        preprocess, record = values["preprocess"], values["record"]
        if not isinstance(record, dict):
            raise ValueError(f"record is {type(record).__name__}, expected named values")
        check_threshold(float(values["threshold"]))
        return Checkpoint(
            config=ModelConfig.from_dict(values["config"]),
            state=tensors,
            preprocess=None if preprocess is None else Preprocess.from_dict(preprocess),
            threshold=float(values["threshold"]),
            record=record,
            source=f"samspl weights {path}",
        )
    except (KeyError, TypeError, ValueError) as err:
        raise CheckpointError(
            f"{path} names the format {FORMAT}, but its description is damaged or of a newer version ({err})"
        ) from err


def _with_overrides(checkpoint: Checkpoint, variant: str | None, overrides: Mapping[str, Any]) -> Checkpoint:
    config = checkpoint.config
    if variant is not None:
        named = variant_config(variant, num_heads=config.num_heads, use_sam_decoder=config.use_sam_decoder)
        if named != config:
            raise CheckpointError(
                f"{checkpoint.source} hold another network than variant {variant}; leave it out"
            )
    return dataclasses.replace(checkpoint, config=config.with_fields(overrides))
