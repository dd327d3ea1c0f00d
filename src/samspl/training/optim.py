"""Optimiser, learning rate and running mean of weights.

Source: SAM-SPL (IEEE TGRS 2025); Adan (Xie et al., TPAMI 2024) as pytorch-optimizer implements it, whose default is the
proximal form of weight decay; Muon (Jordan et al., 2024) with the step size of Moonlight (Liu et al., 2025), by which
matrices and all else share one learning rate.
"""

from collections.abc import Iterator
from typing import Any

import torch
from pytorch_optimizer import Adan, Muon
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from samspl.train_config import TrainConfig

LAST_LR = 1e-6
"""Where the cosine ends."""
_FIRST_WARMUP = 1e-2
"""Share of the learning rate that warm-up begins with."""


class FullPrecisionMuon(Muon):
    """Muon that orthogonalises in float32 on a CPU.

    The library does it in bfloat16, which few processors have instructions for: there a step of a small network took
    twice the time of its gradients.
    """

    @staticmethod
    def _orthogonalize(group: dict[str, Any], updates: list[Tensor]) -> list[Tensor]:
        if updates[0].device.type != "cpu":
            return Muon._orthogonalize(group, updates)
        steps, weights = group["ns_steps"], group["ns_coeffs"]
        return [
            zero_power_via_newton_schulz_5(
                update.flatten(1), num_steps=steps, weights=weights, dtype=torch.float32
            )
            for update in updates
        ]


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimiser over the parameters that are trained; frozen ones are not in it and do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "adamw":
        return AdamW(trained, lr=config.lr, weight_decay=config.weight_decay)
    if config.optimizer == "muon":
        matrices = {id(p): p for p in _matrices(model) if p.requires_grad}
        common = {"lr": config.lr, "weight_decay": config.weight_decay}
        return FullPrecisionMuon(
            [
                {"params": list(matrices.values()), "use_muon": True, "use_adjusted_lr": True, **common},
                {"params": [p for p in trained if id(p) not in matrices], "use_muon": False, **common},
            ]
        )
    return Adan(trained, lr=config.lr, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=config.weight_decay)


def _matrices(model: nn.Module) -> Iterator[Tensor]:
    """Weights that map many channels to many, the ones that Muon is made for."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            groups = module.groups if isinstance(module, nn.Conv2d) else 1
            if groups == 1 and module.weight.shape[0] > 1:
                yield module.weight


def make_schedule(optimizer: Optimizer, config: TrainConfig) -> LRScheduler:
    """Linear warm-up if asked for, then a cosine to 1e-6; one step an epoch."""
    warmup = config.warmup_epochs
    cosine = CosineAnnealingLR(optimizer, T_max=config.epochs - warmup, eta_min=min(LAST_LR, config.lr))
    if not warmup:
        return cosine
    rise = LinearLR(optimizer, start_factor=_FIRST_WARMUP, total_iters=warmup)
    return SequentialLR(optimizer, [rise, cosine], milestones=[warmup])


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """A running mean of weights and BatchNorm statistics, in eval mode; frozen weights stay to the bit."""
    mean = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=mean, use_buffers=True)
    return average.requires_grad_(False).eval()
