"""The detector: one call from an image to targets at the image's own size."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from samspl.backends import open_backend, resolve_device
from samspl.errors import CheckpointError, ConfigError, ImageError
from samspl.imaging import read_image, to_grey
from samspl.inference.memory import memory_at_hand
from samspl.inference.result import IMAGE_OUTPUTS as IMAGE_OUTPUTS
from samspl.inference.result import Result as Result
from samspl.inference.tiling import Tile, check_tile, choose_side, finite_prob, predict_tiled
from samspl.postprocess import check_threshold, prob_to_mask, to_source_size
from samspl.preprocess import Prepared, Preprocess, padded_size
from samspl.targets import find_components, find_targets

logger = logging.getLogger(__name__)

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
        tile: Tile = "auto",
    ) -> None:
        """Load a network.

        Args:
            weights: Bundled name, weights file, training folder, or exported file.
            device: `auto`, `cpu`, `cuda:N` or `mps`.
            backend: `torch`, `onnx` or `openvino`, see `samspl.backends.open_backend`.
            threshold: Probability above which a pixel is target; None takes the checkpoint's.
            preprocess: Needed for files that hold none (the authors'), taken instead of the file's otherwise.
            min_area_px: Smaller targets are dropped from mask and list.
            tile: Side of the tiles that larger frames are cut into. Frames that fit are run whole, as if there were no
                tiles. Auto runs frames of up to 1024 x 1024 pixels whole, and cuts larger ones into tiles of 448; less
                where memory is short at the time of loading. An exported file has tiles of the size it is fixed to.
                Where the preprocessing resizes frames, auto never cuts: every frame is resized. With a number, frames
                that do not fit are cut at their own scale instead.
        Raises:
            ConfigError: for a missing file, an unknown device or backend, or a tile that an exported file cannot take.
            CheckpointError: for an unusable file, or one without preprocessing when none is given, or with one that
                does not fit its input.
            ValueError: for a threshold outside 0..1, an area below 1, or a tile that is no multiple of 32.
        """
        if min_area_px < 1:
            raise ValueError(f"min_area_px is {min_area_px}; expected at least 1")
        check_tile(tile)
        if threshold is not None:
            check_threshold(threshold)
        self._backend = open_backend(weights, backend, device)
        preprocess = preprocess or self._backend.preprocess
        if preprocess is None:
            raise CheckpointError(
                f"weights {weights} do not say how images are prepared; name the data set they were trained on "
                "with --dataset, or run samspl weights import once"
            )
        _check_input_size(self._backend.input_size, preprocess, tile, weights)
        self.threshold = self._backend.threshold if threshold is None else threshold
        self.preprocess = preprocess
        self.min_area_px = min_area_px
        self.tile = tile
        self._memory_bytes = memory_at_hand(resolve_device(device if backend == "torch" else "cpu"))

    @overload
    def __call__(self, source: Source) -> Result: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, source: Sequence[Source]) -> list[Result]: ...
    def __call__(self, source: Source | Sequence[Source]) -> Result | list[Result]:
        """Find targets.

        Args:
            source: Path, array, PIL image, or a list of these. They are run one by one: a list may hold frames of any
                size and number, and `detect_many` makes batches.
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
            name = name or "image"
            image = _grey(_as_array(source), name)
        where = str(source) if isinstance(source, str | Path) else name
        prob = self._probabilities([image], [where])[0]
        return self._result(name, image, prob)

    def detect_many(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[Result]:
        """Find targets in several images; those of equal size are run as one batch.

        Args:
            images: Each (H, W), or (H, W, C), of any bit depth.
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
        grey = [_grey(image, name) for image, name in zip(images, names, strict=True)]
        probs = self._probabilities(grey, names)
        return [self._result(n, image, prob) for n, image, prob in zip(names, grey, probs, strict=True)]

    def _probabilities(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """Maps at the images' own sizes, (H, W) float32 each."""
        probs: dict[int, np.ndarray] = {}
        whole: dict[int, Prepared] = {}
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, (image, name) in enumerate(zip(images, names, strict=True)):
            try:
                if _is_constant(image):
                    # nothing stands out; what a network finds in such a frame are its own borders
                    probs[i] = np.zeros(image.shape, np.float32)
                elif (side_hw := self._tile_hw(image)) is not None:
                    probs[i] = predict_tiled(self._backend, image, self.preprocess, side_hw)
                else:
                    self._warn_of_shrinking(image, name)
                    whole[i] = self.preprocess(image, self._backend.input_size)
                    by_shape.setdefault(whole[i].values.shape, []).append(i)
            except ImageError as err:
                raise ImageError(f"{name}: {err}") from err
        for group in by_shape.values():
            logits = self._backend(np.stack([whole[i].values for i in group]))
            for i, own in zip(group, logits, strict=True):
                try:
                    probs[i] = to_source_size(finite_prob(own[0]), whole[i].geometry)
                except ImageError as err:
                    raise ImageError(f"{names[i]}: {err}") from err
        return [probs[i] for i in range(len(images))]

    def _tile_hw(self, image: np.ndarray) -> tuple[int, int] | None:
        """Height and width of the tiles of a frame; None if it is run whole."""
        fixed = self._backend.input_size
        if self.tile != "auto":
            side: int | None = self.tile
        elif self.preprocess.image_size is not None:
            return None
        else:
            side = fixed or choose_side((image.shape[0], image.shape[1]), self._memory_bytes)
        if side is None or max(image.shape) <= side:
            return None
        if fixed is not None:
            return fixed, fixed
        height, width = padded_size((image.shape[0], image.shape[1]))
        return min(side, height), min(side, width)

    def _warn_of_shrinking(self, image: np.ndarray, name: str) -> None:
        size = self.preprocess.image_size
        if size is not None and min(image.shape) > 2 * size:
            logger.warning(
                "%s is %dx%d and shrunk to %dx%d, as its weights were trained: small targets may vanish; "
                "give a tile size to keep its scale",
                *(name, image.shape[1], image.shape[0], size, size),
            )

    def _result(self, name: str, image: np.ndarray, prob: np.ndarray) -> Result:
        mask = _without_small(prob_to_mask(prob, self.threshold), self.min_area_px)
        return Result(name, image, prob, mask, tuple(find_targets(mask, prob, image)))


def _grey(image: np.ndarray, name: str) -> np.ndarray:
    try:
        return to_grey(image)
    except ImageError as err:
        raise ImageError(f"{name}: {err}") from err


def _is_constant(image: np.ndarray) -> bool:
    least = image.min()
    return bool(np.isfinite(least) and least == image.max())


def _check_input_size(
    input_size: int | None, preprocess: Preprocess, tile: Tile, weights: str | Path
) -> None:
    """Refuse what an exported file of fixed input size cannot do."""
    if input_size is None:
        return
    if tile not in ("auto", input_size):
        raise ConfigError(
            f"tile is {tile}, but {weights} takes {input_size}x{input_size} only; leave the tile out, or export again "
            f"with --image-size {tile}"
        )
    size = preprocess.image_size
    if size is not None and padded_size((size, size))[0] != input_size:
        raise CheckpointError(
            f"{weights} takes {input_size}x{input_size}, but images are to be resized to {size}x{size}; "
            f"export again with --image-size {size}"
        )


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
