"""Training of the paper's discrepancy networks on a stored set of swapped labels.

Lis et al. (ICCV 2019): random crops of camera image, synthesis and labels; two-class cross-entropy
weighted by class; VGG-16 frozen at its ImageNet weights; the epoch of the least validation loss.
The set is made by `python -m training prepare discrepancy`, train and val.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.metrics import FrameResult, ScoreHistogram
from training.data.discrepancy_frames import DiscrepancyFrames, open_discrepancies
from training.data.discrepancy_views import PAPER_CROP, DiscrepancyCrops, WholeDiscrepancies
from training.data.label_spaces import CITYSCAPES, VOID
from training.data.labelled_frames import DatasetError
from training.devices import one_thread, sum_of_devices
from training.methods.image_resynthesis.light_training import CLASS_WEIGHTS
from training.methods.image_resynthesis.parts import DiscrepancyPart, as_plain
from training.methods.image_resynthesis.plateau import Plateau, plateau_optimisers
from training.methods.obsnet.paper_pipeline import Normalisation
from training.methods.obsnet.published import IMAGENET_MEAN, IMAGENET_STD
from training.opened import fill
from training.settings import ConfigError
from training.weights import read_checkpoint
from training.weights.checkpoint import bare_state_dict
from training.weights.torchvision_trunks import VGG16, load_trunk

MULTIPLE = 8  # of a crop's sides: three poolings, and training pads nothing
PICTURES = ("image", "synthesis")  # what is normalised of what the network reads


@dataclass(frozen=True)
class DiscrepancyNetworkSettings:
    """One run. variant, width: as of DiscrepancyPart. discrepancies: folder of the stored set,
    below that of the datasets. class_weights: of right and wrong pixels; `prepare discrepancy`
    prints those of its set, the default are the paper's. validation_batch: whole frames."""

    variant: str = "full"
    width: float = 1.0
    discrepancies: str = "discrepancy"
    crop: tuple[int, int] = PAPER_CROP
    batch: int = 2
    validation_batch: int = 3
    flip: float = 0.5
    workers: int = 2
    class_weights: tuple[float, float] = CLASS_WEIGHTS
    epochs: int = 50
    plateau: Plateau = field(default_factory=Plateau)
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        DiscrepancyPart(self.variant)  # names a wrong one
        if any(side < MULTIPLE or side % MULTIPLE for side in self.crop):
            raise AnomalySegError(
                f"crops of {self.crop[0]}x{self.crop[1]}; expected multiples of {MULTIPLE}"
            )
        if len(self.class_weights) != 2 or min(self.class_weights) <= 0:
            raise AnomalySegError(
                f"class_weights {self.class_weights}; expected two above 0, of right and of wrong"
            )


class DiscrepancyTraining(lightning.LightningModule):
    """Validated on whole frames by the loss, which chooses the best epoch, and by AUROC.

    start: torchvision's vgg16, or a checkpoint of such a run. Without one, which only a run that
    goes on should be, the features are random.
    """

    def __init__(
        self, settings: DiscrepancyNetworkSettings, data: Path, start: Path | None = None
    ) -> None:
        super().__init__()
        self.settings, self.folder = settings, data / settings.discrepancies
        stored = self._frames("train").settings
        self.part = DiscrepancyPart(settings.variant, stored.dataset, stored.size, settings.width)
        self.normalisation = Normalisation(IMAGENET_MEAN, IMAGENET_STD)
        self.discrepancy = self.part.build()
        if start is not None:
            self._start(start)
        self.discrepancy.vgg_extractor.requires_grad_(False)
        self.histogram = ScoreHistogram()
        self.register_buffer("weights", torch.tensor(settings.class_weights), persistent=False)
        self.to(memory_format=torch.channels_last)

    def _start(self, file: Path) -> None:
        content = read_checkpoint(file)
        if VGG16.fits(bare_state_dict(content)):
            load_trunk(self.discrepancy.vgg_extractor, VGG16, file)
            return
        prefix = "discrepancy." if DiscrepancyPart.KEY in content else ""
        fill(file, content, {prefix: self.discrepancy}, f"the variant {self.settings.variant}")
        self.discrepancy.train()

    def _frames(self, split: str) -> DiscrepancyFrames:
        frames = open_discrepancies(self.folder, split)
        if (
            self.settings.variant != "generated_only"
            and frames.settings.classes != CITYSCAPES.names
        ):
            raise DatasetError(
                f"{self.folder} has the classes of {frames.settings.dataset}; the variant "
                f"{self.settings.variant} reads those of Cityscapes: make the set from them, or "
                "train generated_only"
            )
        return frames

    def on_fit_start(self) -> None:
        if self.trainer.precision.startswith("16"):
            raise ConfigError(
                f"precision {self.trainer.precision}: fp16 does not hold the sums of feature "
                "products; expected bf16-mixed or 32-true"
            )

    def loss_and_logits(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Scalar, and logits float32 [N, 2, H, W]: right, wrong."""
        read = (
            self.normalisation(batch[name]) if name in PICTURES else batch[name]
            for name in self.discrepancy.reads
        )
        logits = self.discrepancy(*read).float()
        weights, target = self.get_buffer("weights"), batch["target"].long()
        return functional.cross_entropy(logits, target, weights, ignore_index=VOID), logits

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:
        loss, _ = self.loss_and_logits(batch)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Mapping[str, Tensor], index: int) -> None:
        loss, logits = self.loss_and_logits(batch)
        count = len(batch["target"])
        self.log("val_loss", loss, prog_bar=True, sync_dist=True, batch_size=count)
        scores = logits.softmax(dim=1)[:, 1].cpu().numpy()
        for score, target in zip(scores, batch["target"].cpu().numpy(), strict=True):
            self.histogram.update(FrameResult(score, target))

    def on_validation_epoch_end(self) -> None:
        counted = self.histogram
        if self.trainer.world_size > 1:
            counts = np.zeros((2, 1 << counted.bits), np.int64)  # devices meet different scores
            met = slice(counted.first, counted.first + counted.known.size)
            counts[0, met], counts[1, met] = counted.known, counted.anomalous
            counted.first = 0
            counted.known, counted.anomalous = sum_of_devices(self, counts)
        scores = counted.compute()
        self.log_dict(
            {"val_auroc": scores.auroc, "val_ap": scores.ap, "val_fpr95": scores.fpr95},
            prog_bar=True,
        )
        self.histogram = ScoreHistogram()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return plateau_optimisers(self, self.settings.plateau)

    def train_dataloader(self) -> DataLoader:
        s, frames = self.settings, self._frames("train")
        if len(frames) < s.batch:
            raise DatasetError(
                f"{self.folder}: {len(frames)} frames of train, fewer than the {s.batch} of one "
                "step: expected a smaller batch"
            )
        crops = DiscrepancyCrops(frames, s.crop, s.seed, self.current_epoch, s.flip)
        return self._loader(crops, s.batch, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        whole = WholeDiscrepancies(self._frames("val"))
        return self._loader(whole, self.settings.validation_batch, drop_last=False)

    def _loader(self, items: Dataset, batch: int, *, drop_last: bool) -> DataLoader:
        return DataLoader(
            items,
            batch_size=batch,
            num_workers=self.settings.workers,
            drop_last=drop_last,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=one_thread,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[DiscrepancyPart.KEY] = as_plain(self.part)
