"""Training of the paper's segmentation networks: Bayesian SegNet, and PSPNets for an ensemble.

Lis et al. (ICCV 2019): random crops, cross-entropy without class weights, encoders of ImageNet,
the epoch of the least validation loss. Members of an ensemble differ by their seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.metrics import ConfusionMatrix, FrameResult
from training.data.catalogue import TRAINING_SETS
from training.data.label_spaces import VOID
from training.data.labelled_frames import LabelledFrames
from training.devices import one_thread, seed_step, sum_of_devices
from training.methods.image_resynthesis.label_views import (
    LabelViews,
    crop_loader,
    whole_frame,
)
from training.methods.image_resynthesis.parts import SegmentationPart, as_plain
from training.methods.image_resynthesis.plateau import Plateau, plateau_optimisers
from training.methods.image_resynthesis.segmentation_loss import pspnet_loss
from training.methods.obsnet.paper_pipeline import Normalisation
from training.methods.obsnet.published import IMAGENET_MEAN, IMAGENET_STD
from training.networks.bayesian_segnet import BayesianSegNet
from training.networks.pspnet import PSPNet
from training.opened import fill
from training.weights import read_checkpoint
from training.weights.checkpoint import bare_state_dict
from training.weights.torchvision_trunks import RESNET101, VGG19_BN, load_trunk

# What starts from ImageNet; the rest is the decoder.
TRUNKS = {BayesianSegNet: VGG19_BN, PSPNet: RESNET101}
PAPER_CROP = (384, 768)


@dataclass(frozen=True)
class SegmentationSettings:
    """One run. family, width: as of SegmentationPart. validation_batch: whole frames."""

    family: str = "bayes_segnet"
    width: float = 1.0
    views: LabelViews = field(default_factory=lambda: LabelViews(crop=PAPER_CROP))
    validation_batch: int = 6
    epochs: int = 50
    plateau: Plateau = field(default_factory=Plateau)
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        SegmentationPart(self.family, width=self.width)  # names what is wrong with them
        if self.family == "pspnet" and self.views.batch < 2:
            raise AnomalySegError(
                "pspnet in batches of 1: its batch norms of whole crops need 2 or more"
            )


class SegmentationTraining(lightning.LightningModule):
    """Validated on whole frames by cross-entropy, which chooses the best epoch, and by mIoU.

    start: torchvision's weights of the trunk (vgg19_bn, resnet101), a checkpoint of such a run, or
    published weights; None is a random trunk.
    """

    def __init__(
        self, settings: SegmentationSettings, data: Path, start: Path | None = None
    ) -> None:
        super().__init__()
        self.settings, self.data, self.start = settings, data, start
        space = TRAINING_SETS[settings.views.data](data, "train").space
        self.part = SegmentationPart(
            settings.family,
            settings.views.data,
            space.name,
            settings.views.size,
            settings.width,
        )
        self.normalisation = Normalisation(IMAGENET_MEAN, IMAGENET_STD)
        self.segmentation = self.part.build()
        start_decoder(self.segmentation)
        if start is not None:
            start_segmentation(self.segmentation, start)
        self.confusion = ConfusionMatrix(len(space.names))
        self.to(memory_format=torch.channels_last)

    def on_train_start(self) -> None:
        if self.global_step == 0:
            trunk = TRUNKS[type(self.segmentation)].name
            rank_zero_info(
                f"{self.settings.family} starts "
                + (f"from {self.start}" if self.start else f"at random, without {trunk}'s weights")
            )

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:
        seed_step(self, self.settings.seed, index)
        image, label = self.normalised(batch["image"]), batch["label"].long()
        if isinstance(self.segmentation, PSPNet):
            logits, auxiliary = self.segmentation.with_auxiliary(image)
            loss = pspnet_loss(logits.float(), auxiliary.float(), label)
        else:
            loss = functional.cross_entropy(
                self.segmentation(image).float(), label, ignore_index=VOID
            )
        self.log("loss", loss, prog_bar=True)
        return loss

    def normalised(self, image: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, H, W], channels last in memory."""
        return self.normalisation(image).contiguous(memory_format=torch.channels_last)

    def validation_step(self, batch: Mapping[str, Tensor], index: int) -> None:
        logits = self.segmentation(self.normalised(batch["image"])).float()
        label = batch["label"]
        loss = functional.cross_entropy(logits, label.long(), ignore_index=VOID)
        self.log("val_loss", loss, prog_bar=True, sync_dist=True, batch_size=len(label))
        predicted = logits.argmax(dim=1).to(torch.uint8)
        for classes, truth in zip(predicted.cpu().numpy(), label.cpu().numpy(), strict=True):
            nothing = np.zeros(truth.shape, np.float32)
            frame = FrameResult(nothing, nothing.astype(np.uint8), classes, truth)
            self.confusion.update(frame)

    def on_validation_epoch_end(self) -> None:
        self.confusion.counts = sum_of_devices(self, self.confusion.counts)
        scores = self.confusion.compute()
        self.log("val_miou", scores.miou, prog_bar=True)
        self.log("val_accuracy", scores.accuracy)
        self.confusion = ConfusionMatrix(self.confusion.classes)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return plateau_optimisers(self, self.settings.plateau)

    def train_dataloader(self) -> DataLoader:
        s = self.settings
        return crop_loader(self.data, s.views, seed=s.seed, epoch=self.current_epoch)

    def val_dataloader(self) -> DataLoader:
        views = self.settings.views
        frames = WholeFrames(TRAINING_SETS[views.data](self.data, "val"), views.size)
        return DataLoader(
            frames,
            batch_size=self.settings.validation_batch,
            num_workers=views.workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=one_thread,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[SegmentationPart.KEY] = as_plain(self.part)


@dataclass(frozen=True)
class WholeFrames(Dataset):
    """Items: image uint8 [*size, 3] RGB; label uint8 [*size], 255 void; in the frames' order."""

    frames: LabelledFrames
    size: tuple[int, int]

    def __len__(self) -> int:
        return self.frames.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, label = whole_frame(self.frames, index, self.size)
        return {"image": torch.from_numpy(image), "label": torch.from_numpy(label)}


def start_decoder(network: BayesianSegNet | PSPNet) -> None:
    """Kaiming-normal weights and zero biases of all convolutions beyond the trunk."""
    trunk = tuple(TRUNKS[type(network)].parts.values())
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and not f"{name}.".startswith(trunk):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def start_segmentation(network: BayesianSegNet | PSPNet, file: Path) -> None:
    """Weights of a run's checkpoint or of a published one, or ImageNet's for the trunk.

    Raises WeightsError or CheckpointError for a file of other networks.
    """
    content = read_checkpoint(file)
    trunk = TRUNKS[type(network)]
    if trunk.fits(bare_state_dict(content)):
        load_trunk(network, trunk, file)
        return
    prefix = "segmentation." if SegmentationPart.KEY in content else ""
    fill(file, content, {prefix: network}, f"this {type(network).__name__}")
    network.train()
