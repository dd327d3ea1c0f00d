"""Optimiser and learning rate of the published recipe.

Source: SAM-SPL (IEEE TGRS 2025); Adan (Xie et al., TPAMI 2024) as pytorch-optimizer implements it, whose default is the
proximal form of weight decay.
"""

from collections.abc import Iterable

from pytorch_optimizer import Adan
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from samspl.config import TrainConfig

LAST_LR = 1e-6


def make_optimizer(parameters: Iterable[Parameter], config: TrainConfig) -> Optimizer:
    """Adan over the parameters that are trained."""
    return Adan(
        [p for p in parameters if p.requires_grad],
        lr=config.lr,
        betas=(0.98, 0.92, 0.99),
        eps=1e-8,
        weight_decay=config.weight_decay,
    )


def make_schedule(optimizer: Optimizer, config: TrainConfig) -> CosineAnnealingLR:
    """Cosine from the learning rate to 1e-6, one step an epoch."""
    return CosineAnnealingLR(optimizer, T_max=config.epochs, eta_min=LAST_LR)
