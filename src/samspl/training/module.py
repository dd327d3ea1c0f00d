"""What a training and a validation step are, for PyTorch Lightning."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from samspl.data.loaders import EvalSample, TrainBatch
from samspl.errors import SamsplError
from samspl.losses import make_loss
from samspl.metrics import DetectionSuite
from samspl.metrics.suite import scores_from_counts
from samspl.models.network import SAMSPL
from samspl.postprocess import logits_to_prob, prob_to_mask, to_source_size
from samspl.train_config import TrainConfig
from samspl.training.optim import make_average, make_optimizer, make_schedule

FIGURES = ("iou", "niou", "f1", "pd", "fa")
"""Validation figures that are recorded, profile `strict`."""
SHOWN_IMAGES = 3
"""Validation images, of the first data set, that a picture is made of every epoch."""


class Shown(NamedTuple):
    """A validation image to look at."""

    image: np.ndarray
    """(H, W), type as stored."""
    pred_mask: np.ndarray
    """(H, W) bool."""
    gt_mask: np.ndarray
    """(H, W) bool."""


class TrainingModule(pl.LightningModule):
    """Trains a network; validates it, or the running mean of its weights, at the images' own size.

    Args:
        model: The network.
        config: The run.
        names: Data sets that are validated, in the order of their loaders.
    """

    def __init__(self, model: SAMSPL, config: TrainConfig, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.names = tuple(names)
        self.loss = make_loss(config.loss, config.loss_weights)
        self.average = make_average(model, config.ema_decay) if config.ema_decay else None
        self.suites = [
            DetectionSuite("strict") for _ in names
        ]  # a plain list: counts belong to no checkpoint
        self.figures: dict[str, dict[str, float]] = {}
        """By data set, of the last validation; one that is undefined (no target, no foreground) counts as 0."""
        self.is_blank = False
        """The last validation predicted no foreground at all."""
        self.shown: list[Shown] = []
        """The first validation images."""
        self.last_loss = math.nan
        """Of the last batch."""
        self._loss_sum, self._loss_count = 0.0, 0
        if config.compile:
            # an epoch has two shapes, of whole batches and of the last: two graphs cost less than one for any shape
            model.compile(dynamic=False)

    @property
    def evaluated(self) -> SAMSPL:
        """The network that is validated and kept."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    @property
    def mean_figures(self) -> dict[str, float]:
        """Mean of `figures` over data sets; its IoU chooses the best epoch."""
        return {name: float(np.mean([one[name] for one in self.figures.values()])) for name in FIGURES}

    def on_train_epoch_start(self) -> None:
        """Begin the mean of the loss."""
        self._loss_sum, self._loss_count = 0.0, 0

    def training_step(self, batch: TrainBatch, batch_index: int) -> torch.Tensor:
        """Loss of a batch.

        Raises:
            SamsplError: if it is not finite; names the images.
        """
        loss = self.loss(self.model(batch.image), batch.gt_mask)
        self.last_loss = loss.item()
        if not math.isfinite(self.last_loss):
            raise SamsplError(
                f"loss is {self.last_loss} at epoch {self.current_epoch + 1}, step {self.global_step + 1}, on images "
                f"{', '.join(batch.ids)}; lower the learning rate or check these files"
            )
        self._loss_sum += self.last_loss * len(batch.ids)
        self._loss_count += len(batch.ids)
        return loss * self._accumulation_scale(batch_index)

    def _accumulation_scale(self, batch_index: int) -> float:
        """Makes the gradients of an epoch's last step a mean too: Lightning divides by `accumulate` even where fewer
        batches are left."""
        count, wanted = int(self.trainer.num_training_batches), self.config.accumulate
        left = count % wanted
        return wanted / left if left and batch_index >= count - left else 1.0

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the running mean."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def mean_loss(self) -> float:
        """Of this epoch's images so far, over all processes, each of which must call it."""
        total, count = self._loss_of_all()
        return total / max(count, 1)

    def _loss_of_all(self) -> tuple[float, float]:
        """Sum of losses and number of images, over all processes, each of which must call it."""
        if self.trainer.world_size == 1:
            return self._loss_sum, self._loss_count
        sums = torch.tensor([self._loss_sum, self._loss_count], dtype=torch.float32, device=self.device)
        total, count = self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        return total, count

    def on_validation_start(self) -> None:
        """Let all processes judge the same network: each has had its own images' BatchNorm statistics."""
        self.shown = []
        if self.trainer.world_size > 1:
            for buffer in self.evaluated.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.trainer.strategy.reduce(buffer.clone(), reduce_op="mean"))

    def validation_step(self, sample: EvalSample, index: int, dataloader_idx: int = 0) -> None:
        """Count one image.

        Raises:
            SamsplError: if its prediction is not finite; names the image.
        """
        logits = self.evaluated.forward(sample.values[None])[0]  # not compiled: each image size would be anew
        try:
            prob = to_source_size(logits_to_prob(logits[0, 0].float()), sample.geometry)
        except ValueError as err:
            raise SamsplError(f"validation image {sample.id}: {err}") from err
        mask = prob_to_mask(prob)
        self.suites[dataloader_idx].update(mask, sample.mask)
        if dataloader_idx == 0 and len(self.shown) < SHOWN_IMAGES:
            self.shown.append(Shown(sample.image, mask, sample.mask))

    def on_validation_epoch_end(self) -> None:
        """Figures over all images of all processes."""
        self.is_blank = True
        for name, suite in zip(self.names, self.suites, strict=True):
            totals = self.trainer.strategy.reduce(suite.totals.to(self.device), reduce_op="sum")
            scores = scores_from_counts(totals.cpu().numpy(), "strict")
            suite.reset()
            self.figures[name] = {figure: getattr(scores, figure) or 0.0 for figure in FIGURES}
            self.is_blank &= scores.precision is None

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Optimiser and schedule of the configuration."""
        optimizer = make_optimizer(self.model, self.config)
        return [optimizer], [make_schedule(optimizer, self.config)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the mean of the loss so far; every process comes here, one of them writes."""
        checkpoint["loss_so_far"] = list(self._loss_of_all())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it, in the first process: what was kept is that of all."""
        if self.trainer.is_global_zero:
            self._loss_sum, self._loss_count = checkpoint["loss_so_far"]
