"""Ways to run a network behind one call: network input in, logits of the finest map out."""

from samspl.backends.base import Backend, resolve_device
from samspl.backends.opening import BACKENDS, open_backend
from samspl.backends.pytorch import TorchBackend

__all__ = ["BACKENDS", "Backend", "TorchBackend", "open_backend", "resolve_device"]
