"""What a training and a validation step are, for PyTorch Lightning."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from samspl.config import TrainConfig
from samspl.data.loaders import EvalSample, TrainBatch
from samspl.errors import SamsplError
from samspl.losses import summed_bce
from samspl.metrics import DetectionSuite
from samspl.models.network import SAMSPL
from samspl.postprocess import logits_to_prob, prob_to_mask, to_source_size
from samspl.training.optim import make_optimizer, make_schedule

FIGURES = ("iou", "niou", "f1", "pd", "fa")
"""Validation figures that are logged, profile `strict`."""


class TrainingModule(pl.LightningModule):
    """Trains a network with the published loss; validates at the images' own size."""

    def __init__(self, model: SAMSPL, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.suite = DetectionSuite("strict")

    def training_step(self, batch: TrainBatch, batch_index: int) -> torch.Tensor:
        """Loss of a batch.

        Raises:
            SamsplError: if it is not finite; names the images.
        """
        loss = summed_bce(self.model(batch.image), batch.gt_mask)
        if not torch.isfinite(loss):
            raise SamsplError(
                f"loss is {loss.item()} at epoch {self.current_epoch}, step {self.global_step}, on images "
                f"{', '.join(batch.ids)}; lower the learning rate or check these files"
            )
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(batch.ids))
        return loss

    def validation_step(self, sample: EvalSample, index: int) -> None:
        """Count one image."""
        logits = self.model(sample.values[None])[0]
        prob = to_source_size(logits_to_prob(logits[0, 0].float()), sample.geometry)
        self.suite.update(prob_to_mask(prob), sample.mask)

    def on_validation_epoch_end(self) -> None:
        """Log the figures; one that is undefined (no target, no foreground) counts as 0."""
        scores = self.suite.compute()
        self.suite.reset()
        for name in FIGURES:
            value = getattr(scores, name)
            self.log(f"val_{name}", 0.0 if value is None else value, prog_bar=name in ("iou", "pd"))

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Optimiser and schedule of the configuration."""
        optimizer = make_optimizer(self.model.parameters(), self.config)
        return [optimizer], [make_schedule(optimizer, self.config)]

    def on_train_epoch_start(self) -> None:
        """Order and augmentation follow from seed and epoch alone."""
        loader: Any = self.trainer.train_dataloader
        loader.sampler.set_epoch(self.current_epoch)
