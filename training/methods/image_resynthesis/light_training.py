"""Training of the light discrepancy network on swaps drawn anew in each epoch.

Segmentation and generator are frozen. Loss of Lis et al. (ICCV 2019): two-class cross-entropy with
their class weights; score of an epoch: AUROC of held-out swaps.
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

from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.metrics import FrameResult, ScoreHistogram
from training.data.label_spaces import OUTLIER, VOID
from training.methods.image_resynthesis.generators import load_generator
from training.methods.image_resynthesis.label_views import LabelViews
from training.methods.image_resynthesis.light_pipeline import (
    CHECKPOINT_KEY,
    VARIANTS,
    labels_at_stride_2,
)
from training.methods.image_resynthesis.swap_views import SwapSettings, swap_loader, targets
from training.methods.obsnet.light_start import load_segmentation
from training.methods.obsnet.optimisation import Optimisation, optimisers
from training.methods.obsnet.training import normalise
from training.networks.light_discrepancy import LightDiscrepancy
from training.networks.light_generator import LightGenerator
from training.networks.light_pyramid import LightPyramid

CLASS_WEIGHTS = (1.45693524, 19.18586532)  # Lis et al.: 1 / ln(1.02 + share of the class)


@dataclass(frozen=True)
class LightDiscrepancySettings:
    """One run. variant: a name of VARIANTS. segmentation: bundle or checkpoint of the light ObsNet,
    whose trunk and labels the network gets."""

    variant: str = "full"
    segmentation: str = "street_obsnet_lite"
    views: LabelViews = field(default_factory=LabelViews)
    swaps: SwapSettings = field(default_factory=SwapSettings)
    epochs: int = 10
    optimisation: Optimisation = field(default_factory=Optimisation)
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise AnomalySegError(
                f"unknown variant {self.variant!r}; expected one of {', '.join(VARIANTS)}"
            )


class LightDiscrepancyTraining(lightning.LightningModule):
    """The discrepancy network learns; its checkpoints hold the whole chain."""

    def __init__(
        self, settings: LightDiscrepancySettings, data: Path, generator: Path | None
    ) -> None:
        super().__init__()
        self.settings, self.data = settings, data
        self.segmentation = LightPyramid()
        self.generator = LightGenerator()
        self.discrepancy = LightDiscrepancy(**VARIANTS[settings.variant])
        if generator is not None:
            found = load_generator(generator)
            if not isinstance(found, LightGenerator):
                raise AnomalySegError(
                    f"{generator} holds the paper's generator; the light discrepancy network needs "
                    "a light one (python -m training fit resynthesis_lite_generator)"
                )
            self.generator = found
            load_segmentation(self.segmentation, settings.segmentation)
            if self.discrepancy.trunk is not None:
                trained = self.segmentation.encoder.state_dict()
                trunk = self.discrepancy.trunk
                trunk.load_state_dict({key: trained[key] for key in trunk.state_dict()})
        for network in self._frozen():
            network.eval().requires_grad_(False)
        self.histogram = ScoreHistogram()
        self.register_buffer("weights", torch.tensor(CLASS_WEIGHTS), persistent=False)
        self.to(memory_format=torch.channels_last)

    def _frozen(self) -> list[torch.nn.Module]:
        trunk = self.discrepancy.trunk
        return [self.segmentation, self.generator, *([] if trunk is None else [trunk])]

    def train(self, mode: bool = True) -> LightDiscrepancyTraining:
        """Frozen parts stay in evaluation mode."""
        super().train(mode)
        for network in self._frozen():
            network.eval()
        return self

    def logits_and_targets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [N, 2, H/2, W/2] and targets int64 [N, H/2, W/2]: 1 wrong, 0 right, 255 void."""
        cells = (slice(None), slice(None, None, 2), slice(None, None, 2))
        label, swapped = batch["label"][cells], batch["swapped"][cells]
        target = targets(label, swapped)
        with torch.no_grad():
            maps = self.segmentation.encoder(normalise(batch["image"]))
            labels = swapped
            if self.settings.swaps.predicted or len(self.settings.swaps.outliers) > 1:
                predicted = labels_at_stride_2(self.segmentation.decode(maps)[0])
                seen = batch["predicted"][:, None, None] & (label == swapped)
                # Real mistakes of the segmentation teach neither one nor the other.
                mistaken = seen & (predicted != label) & (label != OUTLIER)
                target = torch.where(mistaken, VOID, target)
                labels = torch.where(seen | (label == OUTLIER), predicted, swapped)
            synthesis = None
            if self.discrepancy.trunk is not None:
                synthesis = (self.generator(labels) + 1.0) / 2.0
        logits = self.discrepancy(maps[:3], synthesis, labels)
        wide = functional.interpolate(logits.float(), scale_factor=2, mode="bilinear")
        return wide, target.long()

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        logits, target = self.logits_and_targets(batch)
        weights = self.get_buffer("weights")
        loss = functional.cross_entropy(logits, target, weights, ignore_index=VOID)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        logits, target = self.logits_and_targets(batch)
        scores = logits.softmax(dim=1)[:, 1].cpu().numpy()
        for score, truth in zip(scores, target.cpu().numpy(), strict=True):
            self.histogram.update(FrameResult(score, truth.astype("uint8")))

    def on_validation_epoch_end(self) -> None:
        scores = self.histogram.compute()
        self.log_dict(
            {"val_auroc": scores.auroc, "val_ap": scores.ap, "val_fpr95": scores.fpr95},
            prog_bar=True,
        )
        self.histogram = ScoreHistogram()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        s = self.settings
        learns = [p for p in self.discrepancy.parameters() if p.requires_grad]
        steps = len(self.train_dataloader())
        return optimisers(learns, s.optimisation, epochs=s.epochs, steps=steps)

    def train_dataloader(self) -> DataLoader:
        s = self.settings
        epoch = self.current_epoch
        return swap_loader(self.data, s.views, s.swaps, seed=s.seed, epoch=epoch, split="train")

    def val_dataloader(self) -> DataLoader:
        """Swaps of true labels on `val`, the same in every epoch and for every training."""
        s = self.settings
        return swap_loader(self.data, s.views, SwapSettings(), seed=0, epoch=0, split="val")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        size = list(self.settings.views.size)
        checkpoint[CHECKPOINT_KEY] = {"variant": self.settings.variant, "size": size}
