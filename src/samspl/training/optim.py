"""Optimiser, learning rate and running mean of weights.

Source: SAM-SPL (IEEE TGRS 2025); Adan (Xie et al., TPAMI 2024) as pytorch-optimizer implements it, whose default is the
proximal form of weight decay.
"""

from collections.abc import Iterable

from pytorch_optimizer import Adan
from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from samspl.config import TrainConfig

LAST_LR = 1e-6
"""Where the cosine ends."""
_FIRST_WARMUP = 1e-2
"""Share of the learning rate that warm-up begins with."""


def make_optimizer(parameters: Iterable[Parameter], config: TrainConfig) -> Optimizer:
    """The optimiser over the parameters that are trained; frozen ones are not in it and do not decay."""
    trained = [p for p in parameters if p.requires_grad]
    if config.optimizer == "adamw":
        return AdamW(trained, lr=config.lr, weight_decay=config.weight_decay)
    return Adan(trained, lr=config.lr, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=config.weight_decay)


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
