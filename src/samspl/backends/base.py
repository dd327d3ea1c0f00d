"""What every way to run a network has in common, and devices by name."""

import re
from typing import Protocol

import numpy as np
import torch

from samspl.errors import ConfigError
from samspl.preprocess import Preprocess


class Backend(Protocol):
    """A network that runs somewhere; may be called from several threads."""

    @property
    def preprocess(self) -> Preprocess | None:
        """What images must look like; None where the weights do not say."""

    @property
    def threshold(self) -> float:
        """Probability above which a pixel is target."""

    @property
    def input_size(self) -> int | None:
        """Side of the square input that the network is fixed to; None takes any multiples of 32."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            images: (B, 3, H, W) float32, any B; H and W multiples of 32, both `input_size` if there is one.
        Returns:
            (B, 1, H, W) float32 logits of the finest map.
        Raises:
            ValueError: for another shape.
        """


def resolve_device(device: str = "auto") -> torch.device:
    """The torch device that a name stands for.

    Args:
        device: `auto` (CUDA, else Apple's MPS, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
    Raises:
        ConfigError: for an unknown name, or a device that this machine does not have.
    """
    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    match = re.fullmatch(r"cpu|mps|cuda(?::(\d+))?", device)
    if match is None:
        raise ConfigError(f"unknown device {device!r}; known: auto, cpu, cuda:N, mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.startswith("cuda") and int(match[1] or 0) >= count:
        raise ConfigError(
            f"device {device} was asked for, but torch sees {count} CUDA devices here; use --device cpu"
        )
    if device == "mps" and not has_mps:
        raise ConfigError("device mps was asked for, but torch has none here; use --device cpu")
    return torch.device(device)
