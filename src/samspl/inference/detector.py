"""The detector: one call from an image to targets at the image's own size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from samspl.backends import TorchBackend
from samspl.checkpoint import build_model, read_checkpoint
from samspl.draw import draw_targets
from samspl.errors import CheckpointError, ConfigError, ImageError
from samspl.imaging import read_image, to_grey, write_image
from samspl.postprocess import check_threshold, logits_to_prob, prob_to_mask, to_source_size
from samspl.preprocess import Preprocess
from samspl.report import ImagePrediction, predictions_to_json, write_json
from samspl.targets import Target, find_components, find_targets

Source = str | Path | np.ndarray | Image.Image
"""A path, an (H, W) or (H, W, C) array of any bit depth, or a PIL image."""
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


class Detector:
    """Finds infrared small targets; may be called from several threads."""

    def __init__(
        self,
        weights: str | Path,
        device: str = "auto",
        backend: str = "torch",
        threshold: float | None = None,
        preprocess: Preprocess | None = None,
        min_area_px: int = 1,
    ) -> None:
        """Load a network.

        Args:
            weights: Weights file or training folder.
            device: `auto`, `cpu`, `cuda:N` or `mps`.
            backend: `torch`.
            threshold: Probability above which a pixel is target; None takes the checkpoint's.
            preprocess: Needed for files that hold none (the authors'), taken instead of the file's otherwise.
            min_area_px: Smaller targets are dropped from mask and list.
        Raises:
            ConfigError: for a missing file or an unknown device or backend.
            CheckpointError: for an unusable file, or one without preprocessing when none is given.
            ValueError: for a threshold outside 0..1.
        """
        if backend != "torch":
            raise ConfigError(f"unknown backend {backend!r}; known: torch")
        if min_area_px < 1:
            raise ValueError(f"min_area_px is {min_area_px}; expected at least 1")
        checkpoint = read_checkpoint(weights)
        preprocess = preprocess or checkpoint.preprocess
        if preprocess is None:
            raise CheckpointError(
                f"{checkpoint.source} do not say how images are prepared; name the data set they were trained on "
                "with --dataset, or run samspl weights import once"
            )
        self.threshold = checkpoint.threshold if threshold is None else threshold
        check_threshold(self.threshold)
        self.preprocess = preprocess
        self.min_area_px = min_area_px
        self._backend = TorchBackend(build_model(checkpoint), device)

    @overload
    def __call__(self, source: Source) -> Result: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, source: Sequence[Source]) -> list[Result]: ...
    def __call__(self, source: Source | Sequence[Source]) -> Result | list[Result]:
        """Find targets.

        Args:
            source: Path, array, PIL image, or a list of these.
        Returns:
            A result, or a list of results for a list.
        Raises:
            ImageError: for an image that cannot be used.
        """
        if isinstance(source, list | tuple):
            return [self.detect(one) for one in source]
        return self.detect(source)  # type: ignore[arg-type]

    def detect(self, source: Source, name: str | None = None) -> Result:
        """Find targets in one image; ``name`` is how the result calls it."""
        if isinstance(source, str | Path):
            image, name = read_image(source), name or Path(source).name
        else:
            image, name = to_grey(_as_array(source)), name or "image"
        where = source if isinstance(source, str | Path) else name
        try:
            prepared = self.preprocess(image)
            prob = logits_to_prob(self._backend(prepared.values[None])[0, 0])
        except ImageError as err:
            raise ImageError(f"{where}: {err}") from err
        except ValueError as err:  # of logits that are not finite
            raise ImageError(f"{where}: {err}; check the values of the image, and the weights") from err
        prob = to_source_size(prob, prepared.geometry)
        mask = _without_small(prob_to_mask(prob, self.threshold), self.min_area_px)
        return Result(name, image, prob, mask, tuple(find_targets(mask, prob, image)))


def _as_array(source: np.ndarray | Image.Image) -> np.ndarray:
    if isinstance(source, Image.Image) and source.mode in (
        "P",
        "PA",
        "LA",
        "La",
        "RGBa",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
    ):
        source = source.convert("RGB")  # all of 8 bits; a palette's indices are no grey values
    return np.asarray(source)


def _without_small(mask: np.ndarray, min_area_px: int) -> np.ndarray:
    if min_area_px == 1:
        return mask
    found = find_components(mask)
    mask = mask.copy()
    mask.flat[found.pixels[found.area_px[found.labels] < min_area_px]] = False
    return mask
