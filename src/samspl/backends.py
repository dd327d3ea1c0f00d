"""Ways to run a network behind one call: network input in, logits of the finest map out."""

import re

import numpy as np
import torch

from samspl.errors import ConfigError
from samspl.models.network import SAMSPL


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


class TorchBackend:
    """A network run by torch; may be called from several threads."""

    def __init__(self, model: SAMSPL, device: str = "auto") -> None:
        """The model is moved to the device and put into eval mode."""
        self.device = resolve_device(device)
        self.model = model.to(self.device).eval()

    def __call__(self, images: torch.Tensor | np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            images: (B, 3, H, W) float32, H and W multiples of 32.
        Returns:
            (B, 1, H, W) float32 logits.
        """
        with torch.inference_mode():
            values = torch.as_tensor(images).to(self.device)
            return self.model(values)[0].float().cpu().numpy()
