"""A network run by torch."""

import numpy as np
import torch

from samspl.backends.base import resolve_device
from samspl.models.eager import suit_eager
from samspl.models.inference import prepare_for_inference
from samspl.models.network import SAMSPL
from samspl.postprocess import DEFAULT_THRESHOLD
from samspl.preprocess import Preprocess


class TorchBackend:
    """A network run by torch, eager; may be called from several threads."""

    input_size: int | None = None

    def __init__(
        self,
        model: SAMSPL,
        device: str = "auto",
        preprocess: Preprocess | None = None,
        threshold: float = DEFAULT_THRESHOLD,
    ) -> None:
        """Runs a copy, see `prepare_for_inference`; what is done to ``model`` later changes nothing here.

        Args:
            model: In any mode, on any device.
            device: As `resolve_device` takes it.
            preprocess: Of the weights.
            threshold: Of the weights.
        Raises:
            ConfigError: for a device that is unknown or not there.
        """
        self.device = resolve_device(device)
        self.preprocess = preprocess
        self.threshold = threshold
        network = prepare_for_inference(model).to(self.device)
        self.model = suit_eager(network) if self.device.type == "cpu" else network

    def __call__(self, images: torch.Tensor | np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            images: (B, 3, H, W) float32, H and W multiples of 32.
        Returns:
            (B, 1, H, W) float32 logits.
        Raises:
            ValueError: for another shape; names the size to pad to.
        """
        with torch.inference_mode():
            return self.model(torch.as_tensor(images).to(self.device)).float().cpu().numpy()
