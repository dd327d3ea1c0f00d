"""The detector: one call from an image to targets at the image's own size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
from PIL import Image

from samspl.backends import TorchBackend
from samspl.checkpoint import build_model, read_checkpoint
from samspl.errors import CheckpointError, ConfigError, ImageError
from samspl.imaging import read_image, to_grey
from samspl.inference.result import IMAGE_OUTPUTS as IMAGE_OUTPUTS
from samspl.inference.result import Result as Result
from samspl.postprocess import check_threshold, logits_to_prob, prob_to_mask, to_source_size
from samspl.preprocess import Preprocess
from samspl.targets import find_components, find_targets

Source = str | Path | np.ndarray | Image.Image
"""A path, an (H, W) or (H, W, C) array of any bit depth, or a PIL image."""


class Detector:
    """Finds infrared small targets; may be called from several threads."""

    def __init__(
        self,
        weights: str | Path = "nano",
        device: str = "auto",
        backend: str = "torch",
        threshold: float | None = None,
        preprocess: Preprocess | None = None,
        min_area_px: int = 1,
        tile: int | Literal["auto"] = "auto",
    ) -> None:
        """Load a network.

        Args:
            weights: Bundled name, weights file or training folder.
            device: `auto`, `cpu`, `cuda:N` or `mps`.
            backend: `torch`.
            threshold: Probability above which a pixel is target; None takes the checkpoint's.
            preprocess: Needed for files that hold none (the authors'), taken instead of the file's otherwise.
            min_area_px: Smaller targets are dropped from mask and list.
            tile: Side of the tiles that larger frames are cut into.
        Raises:
            ConfigError: for a missing file or an unknown device or backend.
            CheckpointError: for an unusable file, or one without preprocessing when none is given.
            ValueError: for a threshold outside 0..1, an area below 1, or a tile that is no multiple of 32.
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
        where = str(source) if isinstance(source, str | Path) else name
        prob = self._probabilities([image], [where])[0]
        return self._result(name, image, prob)

    def detect_many(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[Result]:
        """Find targets in several images; those of equal size are run as one batch.

        Args:
            images: Grey, each (H, W) of any integer or float type.
            names: How the results, and errors, call them.
        Returns:
            One result an image, in order.
        Raises:
            ImageError: for the first image that cannot be used, by name; there are no results then.
            ValueError: unless there are as many names as images.
        """
        if len(images) != len(names):
            raise ValueError(
                f"got {len(images)} images and {len(names)} names; expected a name for each image"
            )
        probs = self._probabilities(images, names)
        return [self._result(n, image, prob) for n, image, prob in zip(names, images, probs, strict=True)]

    def _probabilities(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """Maps at the images' own sizes, (H, W) float32 each."""
        prepared = []
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, (image, name) in enumerate(zip(images, names, strict=True)):
            try:
                prepared.append(self.preprocess(image))
            except ImageError as err:
                raise ImageError(f"{name}: {err}") from err
            by_size.setdefault(prepared[i].values.shape, []).append(i)
        probs: dict[int, np.ndarray] = {}
        for group in by_size.values():
            logits = self._backend(np.stack([prepared[i].values for i in group]))
            for i, own in zip(group, logits, strict=True):
                try:
                    prob = logits_to_prob(own[0])
                except ValueError as err:  # not finite
                    raise ImageError(
                        f"{names[i]}: {err}; check the values of the image, and the weights"
                    ) from err
                probs[i] = to_source_size(prob, prepared[i].geometry)
        return [probs[i] for i in range(len(images))]

    def _result(self, name: str, image: np.ndarray, prob: np.ndarray) -> Result:
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
