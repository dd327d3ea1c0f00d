"""What an exported file says of itself: preprocessing, threshold, size, and where it came from.

Stored as strings, in `metadata_props` of an ONNX file and in `rt_info` of an OpenVINO one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from samspl.config import ModelConfig
from samspl.errors import CheckpointError
from samspl.postprocess import check_threshold
from samspl.preprocess import STRIDE, Preprocess

FORMAT = "samspl-export-1"
PRECISIONS = ("fp32", "bf16", "int8")
"""Of exported files; bf16 is a wish to the run time, the file's numbers are fp32."""


@dataclass(frozen=True)
class ExportFacts:
    """What an exported network is and what its images must look like."""

    preprocess: Preprocess
    """What images must look like."""
    threshold: float
    """Probability above which a pixel is target."""
    input_size: int
    """Side of the square input, in pixels."""
    precision: str
    """One of `PRECISIONS`."""
    config: ModelConfig
    """Of the network."""
    weights_sha256: str
    """Checksum of the weights file that was exported."""
    samspl_version: str
    """Of the package that exported it."""

    def to_strings(self) -> dict[str, str]:
        """Names and values to store."""
        return {
            "format": FORMAT,
            "preprocess": json.dumps(self.preprocess.to_dict()),
            "threshold": json.dumps(self.threshold),
            "input_size": json.dumps(self.input_size),
            "precision": self.precision,
            "config": json.dumps(self.config.to_dict()),
            "weights_sha256": self.weights_sha256,
            "samspl_version": self.samspl_version,
        }

    @classmethod
    def from_strings(cls, values: Mapping[str, str], path: Path) -> "ExportFacts":
        """What `to_strings` gave.

        Args:
            values: Others are left aside.
            path: Of the file, for messages.
        Raises:
            CheckpointError: if the file is not of samspl, or what it says is damaged.
        """
        if values.get("format") != FORMAT:
            kind = f"of the format {values['format']}" if "format" in values else "without samspl's metadata"
            raise CheckpointError(
                f"{path} is {kind}; expected a file of this version's samspl export, which says how images are prepared"
            )
        try:
            threshold, size = float(json.loads(values["threshold"])), int(values["input_size"])
            check_threshold(threshold)
            if size < STRIDE or size % STRIDE:
                raise ValueError(f"input_size is {size}")
            if values["precision"] not in PRECISIONS:
                raise ValueError(f"precision is {values['precision']!r}")
            return cls(
                preprocess=Preprocess.from_dict(json.loads(values["preprocess"])),
                threshold=threshold,
                input_size=size,
                precision=values["precision"],
                config=ModelConfig.from_dict(json.loads(values["config"])),
                weights_sha256=values["weights_sha256"],
                samspl_version=values["samspl_version"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise CheckpointError(
                f"{path} names the format {FORMAT}, but its description is damaged ({err}); export it again"
            ) from err
