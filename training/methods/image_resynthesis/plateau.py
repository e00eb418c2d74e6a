"""Adam at a rate that falls where validation no longer gets better: how the paper trains."""

from __future__ import annotations

from dataclasses import dataclass

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler

MONITOR = "val_loss"  # what every training here validates by; its least value is the best


@dataclass(frozen=True)
class Plateau:
    """The rate is multiplied by `factor` after more than `patience` epochs without a smaller
    val_loss, down to `least_rate`."""

    learning_rate: float = 1e-4
    factor: float = 0.1
    patience: int = 5
    least_rate: float = 1e-8


def plateau_optimisers(module: lightning.LightningModule, plateau: Plateau) -> OptimizerLRScheduler:
    """Adam and the scheduler of a module's parameters that learn, for Lightning."""
    learns = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(learns, lr=plateau.learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=plateau.factor, patience=plateau.patience, min_lr=plateau.least_rate
    )
    trainer = module.trainer
    assert trainer.max_epochs  # every training here counts epochs
    return {
        "optimizer": optimiser,
        "lr_scheduler": {
            "scheduler": scheduler,
            "monitor": MONITOR,
            # After the last step, which is after validation: what Lightning does once an epoch
            # comes after the checkpoint is written, so that a run that goes on would miss it.
            "interval": "step",
            "frequency": int(trainer.estimated_stepping_batches) // trainer.max_epochs,
        },
    }
