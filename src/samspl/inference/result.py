"""What the detector found in one image, and what it can be turned into: files, plain values, a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samspl.draw import draw_targets
from samspl.imaging import write_image
from samspl.report import ImagePrediction, predictions_to_json, write_json
from samspl.targets import Target

IMAGE_OUTPUTS = ("mask", "overlay", "prob")
"""Pictures that a result can be saved as."""


@dataclass(frozen=True, eq=False)
class Result:
    """What was found in one image, at the size of the image."""

    name: str
    """Relative name of the image, or `image` for an array."""
    image: np.ndarray = field(repr=False)
    """(H, W), grey, type as it came."""
    prob: np.ndarray = field(repr=False)
    """(H, W) float32 in 0..1."""
    mask: np.ndarray = field(repr=False)
    """(H, W) bool."""
    targets: tuple[Target, ...]
    """In scan order."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: file, size (width, height), targets."""
        return predictions_to_json([self.prediction])[0]

    @property
    def prediction(self) -> ImagePrediction:
        """For `samspl.report`."""
        height, width = self.mask.shape
        return ImagePrediction(self.name, (height, width), self.targets, self.mask)

    def draw(self) -> Image.Image:
        """The image with its targets marked, RGB."""
        return draw_targets(self.image, self.targets)

    def save(self, out: str | Path, kinds: Sequence[str] = ("mask", "overlay", "json")) -> list[Path]:
        """Write files below a folder: `mask/NAME.png`, `overlay/NAME.png`, `prob/NAME.tiff`, `NAME.json`.

        Raises:
            ValueError: for an unknown kind.
            SamsplError: if a file cannot be written.
        """
        out, name = Path(out), Path(self.name)
        paths = []
        for kind in kinds:
            path = out / kind / name.with_suffix(".tiff" if kind == "prob" else ".png")
            match kind:
                case "mask":
                    write_image(path, self.mask)
                case "overlay":
                    write_image(path, np.asarray(self.draw()))
                case "prob":
                    write_image(path, self.prob)
                case "json":
                    path = out / name.with_suffix(".json")
                    write_json(path, self.to_dict())
                case _:
                    raise ValueError(f"unknown kind {kind!r}; known: {', '.join(IMAGE_OUTPUTS)}, json")
            paths.append(path)
        return paths
