"""Tensors from their names alone, so that goldens and layouts need no stored weights."""

import zlib

import numpy as np
import torch
from torch import nn


def values(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of moderate values that depends on name and shape alone."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    z = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    if name.endswith("running_var"):
        return 1 + 0.1 * z.abs()
    if name.endswith("running_mean"):
        return 0.1 * z
    if "pos_embed" in name or "token" in name:
        return 0.5 * z
    if len(shape) >= 2:
        return z * float(np.sqrt(2 / np.prod(shape[1:])))
    return 1 + 0.1 * z if name.endswith("weight") else 0.02 * z


def fill(module: nn.Module) -> nn.Module:
    """Give every tensor of a module its values; eval mode."""
    module.load_state_dict({key: values(key, tuple(t.shape)) for key, t in module.state_dict().items()})
    return module.eval()


def image(batch: int, height: int, width: int, seed: int) -> torch.Tensor:
    """Standard-normal network input."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((batch, 3, height, width)).astype(np.float32))
