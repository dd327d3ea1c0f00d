"""Logits -> probability -> source size -> mask; thresholds are applied nowhere else in the package."""

from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

DEFAULT_THRESHOLD = 0.5
"""Foreground is where the probability exceeds this: logit > 0, as published."""


class Placement(Protocol):
    """What of `preprocess.Geometry` is needed to bring a map back to its image."""

    @property
    def source_hw(self) -> tuple[int, int]:
        """Size of the image as it came."""

    @property
    def content_hw(self) -> tuple[int, int]:
        """Size of the image inside the network's input, top left."""


def logits_to_prob(logits: np.ndarray | torch.Tensor) -> np.ndarray:
    """Logistic function that keeps the sign: the result exceeds 0.5 exactly where the logit exceeds 0.

    Plain float32 rounds logits up to 6e-8 to 0.5, which would move pixels of the published mask.

    Args:
        logits: Any shape; tensors may be of any device and precision.
    Returns:
        float32 of the same shape, 0..1.
    Raises:
        ValueError: for NaN or infinite logits.
    """
    values = torch.as_tensor(logits).detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        raise ValueError(
            f"{bad} of {values.numel()} logits are NaN or infinite; expected finite values - "
            "check the weights and the precision the network ran in"
        )
    prob = torch.sigmoid(values)
    half = torch.tensor(0.5)
    above = torch.nextafter(half, torch.tensor(1.0))
    return torch.where(values > 0, prob.clamp(min=above), prob.clamp(max=half)).numpy()


def crop_padding(prob: np.ndarray, content_hw: tuple[int, int]) -> np.ndarray:
    """The part of a map that shows the image.

    Args:
        prob: (H', W'), the network's output size.
        content_hw: Size of the image inside it, top left.
    Raises:
        ValueError: if the map is smaller than that.
    """
    height, width = content_hw
    if prob.ndim != 2 or prob.shape[0] < height or prob.shape[1] < width:
        raise ValueError(f"map has shape {prob.shape}; expected (height, width) of at least {height}x{width}")
    return prob[:height, :width]


def to_source_size(prob: np.ndarray, geometry: Placement) -> np.ndarray:
    """Bring a probability map back to the size of its image.

    Args:
        prob: (H', W') float32, the network's output size.
        geometry: Where the image lies in it.
    Returns:
        (H, W) float32: padding cut off, then bilinear between pixel centres without antialias; unchanged
        values where the sizes are equal.
    Raises:
        ValueError: if the map is smaller than the image inside it.
    """
    content = crop_padding(prob, geometry.content_hw).astype(np.float32, copy=False)
    if content.shape == geometry.source_hw:
        return np.ascontiguousarray(content)
    stacked = torch.from_numpy(np.ascontiguousarray(content))[None, None]  # (1, 1, H', W')
    resized = functional.interpolate(stacked, size=geometry.source_hw, mode="bilinear", align_corners=False)
    return resized[0, 0].numpy()


def prob_to_mask(prob: np.ndarray, threshold: float = DEFAULT_THRESHOLD) -> np.ndarray:
    """Foreground where the probability exceeds the threshold; equal is background.

    Args:
        prob: Probabilities of any shape.
        threshold: Between 0 and 1, both excluded; compared in the precision of `prob`.
    Returns:
        bool of the same shape.
    Raises:
        ValueError: for a threshold out of range.
    """
    check_threshold(threshold)
    return prob > float(threshold)


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that no probability can pass, or that all pass.

    Raises:
        ValueError: unless it lies between 0 and 1, both excluded.
    """
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold is {threshold}; expected a number between 0 and 1, both excluded")
