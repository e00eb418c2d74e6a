"""Training of the paper's networks: the segmentation alone, then the observer of its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.metrics import ConfusionMatrix, ErrorDetectionHistogram, FrameResult
from training.data.label_spaces import VOID
from training.devices import seed_step, sum_of_devices
from training.methods.obsnet.attacks import ATTACKS, Attack, attack
from training.methods.obsnet.losses import error_loss
from training.methods.obsnet.optimisation import Optimisation, optimisers
from training.methods.obsnet.paper_data import Aim, Views, training_loader, validation_loader
from training.methods.obsnet.paper_networks import (
    Networks,
    frozen,
    observe,
    start_observer,
    start_segmentation,
    with_indices,
)
from training.methods.obsnet.paper_pipeline import Normalisation
from training.networks.pyramid_observer import PyramidSegmentation
from training.weights.imagenet import imagenet_weights

NO_ATTACK = "none"
LIMIT = 3.0  # of attacked values, normalised units
BITS = 20  # of the histogram that validation counts with: scores apart by 1/2048 of their value
STARTS = ("segmentation", "random")  # of an observer


@dataclass(frozen=True)
class PaperSegmentationSettings:
    """One run of the segmentation. family, width: `paper_networks.Networks`."""

    family: str = "segnet"
    width: float = 1.0
    views: Views = field(default_factory=Views)
    epochs: int = 500
    optimisation: Optimisation = field(default_factory=Optimisation)
    precision: str = "32-true"
    seed: int = 0

    @property
    def networks(self) -> Networks:
        """What its checkpoints hold."""
        return Networks(self.family, self.views.data, self.views.size, self.width)


@dataclass(frozen=True)
class PaperObserverSettings:
    """One run of the observer on a segmentation of the same family and width.

    attack: a name of `attacks.ATTACKS`, or none; on attack_share of each batch. epsilon: of its
    step, normalised units. observer_init: segmentation as the paper means it, random as the release
    does by mistake. all_classes False: attacks towards a class leave out the last one, likewise.
    gamma: of the focal loss. image, taps: False feeds the observer zeros instead. bounded: False
    leaves out the ReLU before the logit of SegNet's observer, under which most pixels tie.
    """

    family: str = "segnet"
    width: float = 1.0
    views: Views = field(default_factory=Views)
    epochs: int = 51
    optimisation: Optimisation = field(default_factory=Optimisation)
    attack: str = "min_random_patch"
    epsilon: float = 0.025
    attack_share: float = 1.0
    all_classes: bool = True
    observer_init: str = "segmentation"
    gamma: float = 0.0
    image: bool = True
    taps: bool = True
    bounded: bool = True
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.attack not in (NO_ATTACK, *ATTACKS):
            raise AnomalySegError(
                f"unknown attack {self.attack!r}; expected {NO_ATTACK} or {', '.join(ATTACKS)}"
            )
        if self.observer_init not in STARTS:
            raise AnomalySegError(
                f"observer_init is {self.observer_init!r}; expected one of {', '.join(STARTS)}"
            )

    @property
    def networks(self) -> Networks:
        """What its checkpoints hold."""
        return Networks(
            self.family,
            self.views.data,
            self.views.size,
            self.width,
            observed=True,
            image=self.image,
            taps=self.taps,
            bounded=self.bounded,
        )


class PaperSegmentation(lightning.LightningModule):
    """Cross-entropy over every labelled pixel; validated by mIoU over the classes without void."""

    def __init__(
        self, settings: PaperSegmentationSettings, data: Path, start: Path | None = None
    ) -> None:
        super().__init__()
        self.settings, self.data, self.recipe = settings, data, settings.views.recipe
        self.normalisation = Normalisation(self.recipe.trained.mean, self.recipe.trained.std)
        self.segmentation = with_indices(settings.networks.segmentation())
        if start is not None:
            start_segmentation(self.segmentation, start)
        elif isinstance(self.segmentation, PyramidSegmentation):
            self.segmentation.load_imagenet_encoder(imagenet_weights())
        self.confusion = ConfusionMatrix(len(self.recipe.space.names))
        self.to(memory_format=torch.channels_last)

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:
        seed_step(self, self.settings.seed, index)
        logits = self.segmentation(_normalised(self.normalisation, batch["image"]))[0]
        loss = functional.cross_entropy(logits.float(), batch["label"].long(), ignore_index=VOID)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Mapping[str, Tensor], index: int) -> None:
        logits = self.segmentation(_normalised(self.normalisation, batch["image"]))[0]
        predicted, truth = (  # outputs beyond the labels' classes: nothing is predicted
            torch.where(ids < self.confusion.classes, ids, VOID)
            for ids in (logits.argmax(dim=1), batch["label"])
        )
        for frame in _frames(torch.zeros_like(logits[:, 0]), predicted, truth):
            self.confusion.update(frame)

    def on_validation_epoch_end(self) -> None:
        self.confusion.counts = sum_of_devices(self, self.confusion.counts)
        scores = self.confusion.compute()
        self.log("val_miou", scores.miou, prog_bar=True)
        self.log("val_accuracy", scores.accuracy)
        self.confusion = ConfusionMatrix(self.confusion.classes)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return _optimisers(self, self.segmentation, self.settings)

    def train_dataloader(self) -> DataLoader:
        s = self.settings
        return training_loader(
            self.data,
            s.views,
            seed=s.seed,
            epoch=self.current_epoch,
            devices=self.trainer.world_size,
        )

    def val_dataloader(self) -> DataLoader:
        return validation_loader(self.data, self.settings.views)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[Networks.KEY] = self.settings.networks.as_plain()


class PaperObserver(lightning.LightningModule):
    """The observer learns where the frozen segmentation errs; validated by how well it detects
    errors on images that nobody attacked (AUROC, right pixels as positives)."""

    def __init__(
        self, settings: PaperObserverSettings, data: Path, start: Path | None = None
    ) -> None:
        super().__init__()
        self.settings, self.data, self.recipe = settings, data, settings.views.recipe
        self.normalisation = Normalisation(self.recipe.trained.mean, self.recipe.trained.std)
        self.segmentation = with_indices(settings.networks.segmentation())
        self.observer = with_indices(settings.networks.observer())
        if start is not None:
            start_segmentation(self.segmentation, start)
        if settings.observer_init == "segmentation":
            start_observer(self.observer, self.segmentation)
        self.segmentation.eval().requires_grad_(False)
        self.taps: tuple[str, ...] = type(self.segmentation).taps  # type: ignore[attr-defined]
        self.kind = ATTACKS.get(settings.attack)
        self.errors = ErrorDetectionHistogram(BITS)
        self._quick: tuple[nn.Module, ...] = ()  # a tuple, so that no checkpoint holds it
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> PaperObserver:
        """The segmentation stays in evaluation mode."""
        super().train(mode)
        self.segmentation.eval()
        return self

    @property
    def segment(self) -> nn.Module:
        """The segmentation in its fastest form: folded, channels last, without its gradients."""
        if not self._quick:
            self._quick = (frozen(self.segmentation),)
        return self._quick[0]

    def on_fit_start(self) -> None:
        self._quick = ()  # of the weights and the device that the run begins with

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:
        seed_step(self, self.settings.seed, index)
        loss, errors = self.loss(batch)
        self.log("loss", loss, prog_bar=True)
        self.log("errors", errors)
        return loss

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss of one step, and the share of pixels that the attacked segmentation gets wrong."""
        image, label = _normalised(self.normalisation, batch["image"]), batch["label"].long()
        some = round(self.settings.attack_share * image.shape[0])
        if self.kind is not None and some:
            few = {name: values[:some] for name, values in batch.items()}
            moved = attacked(
                self.kind,
                lambda pixels: self.segment(pixels)[0],
                image[:some],
                label[:some],
                few["region"],
                few["wrong_class"],
                epsilon=self.settings.epsilon,
            )
            image = torch.cat((moved, image[some:]))
        with torch.no_grad():
            segmented = self.segment(image)
        valid = label != VOID
        wrong = (segmented[0].argmax(dim=1) != label) & valid
        logit = observe(self.observer, image, segmented, self.taps)[:, 0]
        loss = error_loss(
            logit.float(), wrong, valid, weight=self.recipe.error_weight, gamma=self.settings.gamma
        )
        return loss, wrong.float().mean()

    def segmented(self, image: Tensor) -> tuple[Tensor, ...]:
        """The segmentation's answer to uint8 [N, H, W, 3]: logits [N, C, H, W], taps."""
        return self.segment(_normalised(self.normalisation, image))

    def answers(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Observer's logit float [N, H, W] and the segmentation's classes int64 [N, H, W]."""
        normalised = _normalised(self.normalisation, image)
        segmented = self.segment(normalised)
        logit = observe(self.observer, normalised, segmented, self.taps)[:, 0]
        return logit, segmented[0].argmax(dim=1)

    def validation_step(self, batch: Mapping[str, Tensor], index: int) -> None:
        logit, classes = self.answers(batch["image"])
        for frame in _frames(logit.float().sigmoid(), classes, batch["label"]):
            self.errors.update(frame)

    def on_validation_epoch_end(self) -> None:
        pixels = self.errors.pixels
        if self.trainer.world_size > 1:
            counts = np.zeros((2, 1 << BITS), np.int64)  # devices meet different scores
            met = slice(pixels.first, pixels.first + pixels.known.size)
            counts[0, met], counts[1, met] = pixels.known, pixels.anomalous
            pixels.first = 0
            pixels.known, pixels.anomalous = sum_of_devices(self, counts)
        scores = self.errors.compute()
        self.log("val_auroc", scores.auroc, prog_bar=True)
        self.log_dict(
            {
                "val_aupr_error": scores.aupr_error,
                "val_aupr_success": scores.aupr_success,
                "val_fpr95": scores.fpr95,
                "val_accuracy": scores.accuracy,
            }
        )
        self.errors = ErrorDetectionHistogram(BITS)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return _optimisers(self, self.observer, self.settings)

    def train_dataloader(self) -> DataLoader:
        s = self.settings
        return training_loader(
            self.data,
            s.views,
            seed=s.seed,
            epoch=self.current_epoch,
            devices=self.trainer.world_size,
            aim=None if self.kind is None else Aim(self.kind, s.all_classes),
        )

    def val_dataloader(self) -> DataLoader:
        return validation_loader(self.data, self.settings.views)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[Networks.KEY] = self.settings.networks.as_plain()


def attacked(
    kind: Attack,
    segmentation: Callable[[Tensor], Tensor],
    image: Tensor,
    label: Tensor,
    region: Tensor,
    wrong_class: Tensor,
    *,
    epsilon: float,
) -> Tensor:
    """Normalised image [N, 3, H, W] after the paper's attack.

    segmentation: image -> logits [N, C, H, W]. label: int64 [N, H, W], 255 unlabelled. region:
    float32 [N, 1 or 3, H, W]. wrong_class: int64 [N], where the attacks towards a class pull.
    """
    target = wrong_class[:, None, None].expand_as(label) if kind.towards else label

    def answer(moved: Tensor) -> tuple[Tensor, Tensor]:
        logits = segmentation(moved)
        # The sum, not the mean: only signs count, and 16-bit gradients of the mean would vanish.
        loss = functional.cross_entropy(logits.float(), target, ignore_index=VOID, reduction="sum")
        return loss, (logits.detach().argmax(dim=1) != label) & (label != VOID)

    return attack(kind, image, region, answer, epsilon=epsilon, limit=LIMIT)


def _normalised(normalisation: Normalisation, image: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W], channels last in memory."""
    return normalisation(image).contiguous(memory_format=torch.channels_last)


def _frames(score: Tensor, predicted: Tensor, truth: Tensor) -> list[FrameResult]:
    """One result a frame of a batch [N, H, W] each."""
    maps = zip(
        score.float().cpu().numpy(),
        predicted.to(torch.uint8).cpu().numpy(),
        truth.to(torch.uint8).cpu().numpy(),
        strict=True,
    )
    return [
        FrameResult(values, np.zeros(values.shape, np.uint8), classes, labels)
        for values, classes, labels in maps
    ]


def _optimisers(
    module: PaperSegmentation | PaperObserver,
    network: nn.Module,
    settings: PaperSegmentationSettings | PaperObserverSettings,
) -> OptimizerLRScheduler:
    loader = training_loader(
        module.data, settings.views, seed=0, epoch=0, devices=module.trainer.world_size
    )
    steps = len(loader) // module.trainer.world_size
    return optimisers(
        network.parameters(), settings.optimisation, epochs=settings.epochs, steps=steps
    )
