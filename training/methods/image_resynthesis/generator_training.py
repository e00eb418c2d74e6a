"""Training of the label-to-image generator against a multi-scale discriminator.

pix2pixHD (Wang et al., CVPR 2018) as the method uses it: least-squares losses, discriminator
feature matching and a perceptual distance, each weighted 10; Adam (0.5, 0.999), constant rate for
the first half of the epochs, then down to zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from anomaly_seg_ros.errors import AnomalySegError
from training.data.catalogue import TRAINING_SETS
from training.methods.image_resynthesis.gan_losses import (
    EfficientNetDistance,
    Vgg19Distance,
    adversarial_loss,
    feature_matching_loss,
)
from training.methods.image_resynthesis.generators import (
    CHECKPOINT_KEY,
    GENERATORS,
    label_cells,
    to_pixels,
)
from training.methods.image_resynthesis.label_views import LabelViews, crop_loader, whole_frame
from training.networks.pix2pixhd import MultiscaleDiscriminator

SHOWN = 4  # frames of `val` whose synthesis each epoch writes
BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class GeneratorSettings:
    """One run. family: a name of GENERATORS. vgg19: torchvision's weight file for the perceptual
    distance; none takes EfficientNet-Lite0's features. colour_weight: of an L1 distance between
    the images reduced eightfold, which settles colours early in short runs; the paper has none."""

    family: str = "paper"
    views: LabelViews = field(default_factory=LabelViews)
    epochs: int = 200
    learning_rate: float = 2e-4
    discriminator_channels: int = 64
    matching_weight: float = 10.0
    perceptual_weight: float = 10.0
    colour_weight: float = 0.0
    vgg19: str = ""
    average: float = 0.0  # decay of averaged weights, 0 = none
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.family not in GENERATORS:
            raise AnomalySegError(
                f"unknown generator {self.family!r}; expected one of {', '.join(GENERATORS)}"
            )


class GeneratorTraining(lightning.LightningModule):
    """Generator and discriminator step in turn on the same synthetic image."""

    def __init__(self, settings: GeneratorSettings, data: Path) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings, self.data = settings, data
        self.classes = len(TRAINING_SETS[settings.views.data](data, "train").space.names)
        self.generator = GENERATORS[settings.family](self.classes)
        channels = self.generator.condition(torch.zeros(1, 1, 1)).shape[1] + 3
        self.discriminator = MultiscaleDiscriminator(
            channels, channels=settings.discriminator_channels
        )
        for network in (self.generator, self.discriminator):
            network.apply(_start)
        self._distance = (
            Vgg19Distance(Path(settings.vgg19)) if settings.vgg19 else EfficientNetDistance(),
        )  # a tuple, so that no checkpoint holds it
        self.to(memory_format=torch.channels_last)

    @property
    def distance(self) -> nn.Module:
        """The perceptual distance, on the module's device."""
        return self._distance[0].to(self.device)

    def training_step(self, batch: dict[str, Tensor], index: int) -> None:
        s = self.settings
        real = batch["image"].permute(0, 3, 1, 2).float() / 127.5 - 1.0
        real = real.contiguous(memory_format=torch.channels_last)
        condition = self.generator.condition(batch["label"])
        synthetic = self.generator(label_cells(batch["label"], self.generator))
        first, second = self.optimizers()  # type: ignore[attr-defined]

        known = self.discriminator(_beside(condition, real))  # serves both steps
        self.discriminator.requires_grad_(False)
        seen = self.discriminator(_beside(condition, synthetic))
        fooled = adversarial_loss(seen, real=True)
        matching = feature_matching_loss(seen, known)
        perceptual = self.distance(synthetic, real)
        loss = fooled + s.matching_weight * matching + s.perceptual_weight * perceptual
        if s.colour_weight:
            ours, theirs = (functional.avg_pool2d(i, 8) for i in (synthetic.float(), real))
            loss = loss + s.colour_weight * functional.l1_loss(ours, theirs)
        first.zero_grad()
        self.manual_backward(loss)
        first.step()

        self.discriminator.requires_grad_(True)
        seen = self.discriminator(_beside(condition, synthetic.detach()))
        told = 0.5 * (adversarial_loss(seen, real=False) + adversarial_loss(known, real=True))
        second.zero_grad()
        self.manual_backward(told)
        second.step()
        self.log_dict(
            {"fooled": fooled, "matching": matching, "perceptual": perceptual, "told": told},
            prog_bar=True,
        )

    def on_train_epoch_start(self) -> None:
        share = min(1.0, 2.0 * (1.0 - self.current_epoch / self.settings.epochs))
        for optimiser in self.optimizers():  # type: ignore[union-attr]
            for group in optimiser.param_groups:
                group["lr"] = self.settings.learning_rate * share

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        rate = self.settings.learning_rate
        return [
            torch.optim.Adam(network.parameters(), lr=rate, betas=BETAS)
            for network in (self.generator, self.discriminator)
        ]

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        real = batch["image"].permute(0, 3, 1, 2).float() / 127.5 - 1.0
        synthetic = self.generator(label_cells(batch["label"], self.generator))
        self.log("val_perceptual", self.distance(synthetic, real), prog_bar=True)
        if index < SHOWN:
            pair = torch.cat((batch["image"][0].cpu(), to_pixels(synthetic)[0].cpu()))
            picture = pair.numpy()[:, :, ::-1]
            folder = Path(self.trainer.default_root_dir) / "synthesis"
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"epoch{self.current_epoch:03d}_{index}.jpg"), picture)

    def train_dataloader(self) -> DataLoader:
        s = self.settings
        return crop_loader(self.data, s.views, seed=s.seed, epoch=self.current_epoch)

    def val_dataloader(self) -> DataLoader:
        frames = TRAINING_SETS[self.settings.views.data](self.data, "val")
        some = np.linspace(0, frames.count - 1, 16).astype(int)
        size = self.settings.views.size
        items = []
        for index in some:
            image, label = whole_frame(frames, int(index), size)
            items.append({"image": torch.from_numpy(image), "label": torch.from_numpy(label)})
        return DataLoader(items, batch_size=1)  # type: ignore[arg-type]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CHECKPOINT_KEY] = {
            "family": self.settings.family,
            "classes": self.classes,
            "data": self.settings.views.data,
        }


def _beside(condition: Tensor, image: Tensor) -> Tensor:
    both = torch.cat((condition, image), dim=1)
    return both.contiguous(memory_format=torch.channels_last)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
