"""Training of the road autoencoder, the "RBM" that Lis et al. (ICCV 2019) compare with.

It learns to take noise out of patches of road: mean squared error between the clean patch and the
reconstruction of the noisy one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from training.devices import seed_step
from training.methods.image_resynthesis.parts import RoadPart, as_plain
from training.methods.image_resynthesis.plateau import Plateau, plateau_optimisers
from training.methods.image_resynthesis.road_patches import RoadViews, road_loader
from training.networks.road_autoencoder import RoadAutoencoder


@dataclass(frozen=True)
class RoadAutoencoderSettings:
    """One run. noise: standard deviation, of patches in 0..1; the published code names it a
    variance and uses it so."""

    views: RoadViews = field(default_factory=RoadViews)
    noise: float = 0.005
    epochs: int = 50
    plateau: Plateau = field(default_factory=lambda: Plateau(learning_rate=1e-5))
    precision: str = "32-true"
    seed: int = 0


class RoadAutoencoderTraining(lightning.LightningModule):
    """Validated by the same error of clean patches, which chooses the best epoch."""

    def __init__(self, settings: RoadAutoencoderSettings, data: Path) -> None:
        super().__init__()
        self.settings, self.data = settings, data
        self.autoencoder = RoadAutoencoder()

    def error(self, pixels: Tensor, noise: float) -> Tensor:
        """Mean squared error, a scalar; 0 where a step has no patch. pixels: uint8 [n, 3, 8, 8]."""
        if not len(pixels):  # every parameter has its gradient, as several devices expect
            return 0.0 * torch.stack([p.sum() for p in self.autoencoder.parameters()]).sum()
        clean = as_map(pixels)
        noisy = clean + noise * torch.randn_like(clean) if noise else clean
        return functional.mse_loss(self.autoencoder.reconstructed(noisy).float(), clean)

    def training_step(self, pixels: Tensor, index: int) -> Tensor:
        seed_step(self, self.settings.seed, index)
        loss = self.error(pixels, self.settings.noise)
        self.log("loss", loss, prog_bar=True, batch_size=len(pixels))
        return loss

    def validation_step(self, pixels: Tensor, index: int) -> None:
        error, count = self.error(pixels, 0.0), len(pixels)
        self.log("val_loss", error, prog_bar=True, sync_dist=True, batch_size=count)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return plateau_optimisers(self, self.settings.plateau)

    def train_dataloader(self) -> DataLoader:
        s = self.settings
        epoch = self.current_epoch
        return road_loader(self.data, s.views, seed=s.seed, epoch=epoch, split="train")

    def val_dataloader(self) -> DataLoader:
        return road_loader(self.data, self.settings.views, seed=0, epoch=0, split="val")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        views = self.settings.views
        checkpoint[RoadPart.KEY] = as_plain(RoadPart(views.data, views.size))


def as_map(pixels: Tensor) -> Tensor:
    """uint8 [n, 3, 8, 8] -> float32 [1, 192, 1, n], each as `RoadAutoencoder.patches` gives it."""
    values = pixels.flatten(1).float()
    return ((values - values.mean(dim=1, keepdim=True)) / 255).T[None, :, None].contiguous()
