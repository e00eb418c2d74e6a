"""Training of the light segmentation network and its observer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from anomaly_seg_ros.errors import AnomalySegError
from training.data.cityscapes import cityscapes256
from training.data.label_spaces import CITYSCAPES, CLASSES, OUTLIER, SPACES, VOID
from training.data.mixture import Mixture, MixtureSettings
from training.data.validation import SegmentationFrames
from training.devices import one_thread
from training.methods.obsnet.attack_regions import draw_regions
from training.methods.obsnet.attacks import ATTACKS, attack
from training.methods.obsnet.losses import FoldedCrossEntropy, observer_loss, outlier_entropy
from training.networks.light_observer import EVIDENCE, LightObserver
from training.networks.light_pyramid import LightPyramid

OBSERVER_STARTS = ("start", "random")


@dataclass(frozen=True)
class ObsNetSettings:
    """One run. Steps are optimiser steps of `batch` crops.

    train_segmentation False trains the observer alone: the classes stay as they are. observer_init:
    start has the observer go on from what the run starts from, random does not. observer_inputs:
    what it may read, of light_observer.EVIDENCE (ablations).
    """

    mixture: MixtureSettings
    steps: int
    batch: int = 6
    learning_rate: float = 2e-3
    encoder_rate: float = 0.25  # times learning_rate
    final_rate: float = 0.0  # share of the learning rate at the last step (cosine)
    warmup: int = 100
    weight_decay: float = 0.01
    steps_per_epoch: int = 250
    seed: int = 0
    train_segmentation: bool = True
    observer_init: str = "start"
    observer_inputs: tuple[str, ...] = EVIDENCE
    class_weight_offset: float = 1.1  # of losses.FoldedCrossEntropy, above 1
    outlier_weight: float = 0.3
    observer_weight: float = 1.0
    attack_every: int = 0  # steps between observer steps on attacked crops, 0 = none
    attack: str = "min_random_patch"  # a name of attacks.ATTACKS
    attack_crops: int = 2
    attack_epsilon: tuple[float, float] = (0.02, 0.1)  # normalised units
    validation_frames: int = 60
    workers: int = 2
    ema_decay: float = 0.998

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise AnomalySegError(
                f"unknown attack {self.attack!r}; expected one of {', '.join(ATTACKS)}"
            )
        if self.class_weight_offset <= 1:
            raise AnomalySegError(
                f"class_weight_offset {self.class_weight_offset}: expected a number above 1, as "
                "1.02 (rare classes count most) or 1.1"
            )
        if self.observer_init not in OBSERVER_STARTS:
            raise AnomalySegError(
                f"observer_init is {self.observer_init!r}; expected one of "
                f"{', '.join(OBSERVER_STARTS)}"
            )
        if not set(self.observer_inputs) <= set(EVIDENCE):
            raise AnomalySegError(
                f"observer_inputs are {', '.join(self.observer_inputs)}; expected some of "
                f"{', '.join(EVIDENCE)}"
            )
        if not (self.train_segmentation or self.train_observer):
            raise AnomalySegError(
                "nothing is trained: expected train_segmentation: true, or something unknown for "
                "the observer, mixture.outliers of more than one number or attack_every above 0"
            )

    @property
    def train_observer(self) -> bool:
        """Whether something unknown is shown, pasted or attacked."""
        return len(self.mixture.outliers) > 1 or self.attack_every > 0

    @property
    def observer_ignores(self) -> set[str]:
        """What the observer may not read, of light_observer.EVIDENCE."""
        return set(EVIDENCE) - set(self.observer_inputs)


def normalise(image: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W], (x - 127) / 128, channels last in memory."""
    return ((image.permute(0, 3, 1, 2).float() - 127.0) / 128.0).contiguous(
        memory_format=torch.channels_last
    )


class LightObsNet(lightning.LightningModule):
    """Segmentation on folded labels; with outliers or attacks, the observer joins."""

    def __init__(self, settings: ObsNetSettings, data: Path, imagenet: Path | None = None) -> None:
        super().__init__()
        self.settings, self.data = settings, data
        self.segmentation = LightPyramid()
        self.observer = LightObserver()
        self.observer.ignore(settings.observer_ignores)
        self.folded = FoldedCrossEntropy(settings.class_weight_offset)
        self.confusion = torch.zeros(19, 19, dtype=torch.int64)
        if imagenet is not None:
            self.segmentation.load_imagenet_encoder(imagenet)
        self.segmentation.requires_grad_(settings.train_segmentation)
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> LightObsNet:
        """A segmentation that is not trained stays in evaluation mode."""
        super().train(mode)
        self.segmentation.train(mode and self.settings.train_segmentation)
        return self

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        image, target, spaces = normalise(batch["image"]), batch["target"].long(), batch["space"]
        with torch.set_grad_enabled(self.settings.train_segmentation):
            logits, pyramid, early_4, early_8 = self.segmentation(image)
        loss = logits.new_zeros(())
        if self.settings.train_segmentation:
            loss = self._segmentation_loss(logits, target, spaces)
        if not self.settings.train_observer:
            return loss
        unknown, valid = observer_truth(target)
        answer = self.observer(logits.detach(), pyramid, early_4, early_8)
        observed = observer_loss(answer, unknown, valid)
        self.log("observer", observed, prog_bar=True)
        loss = loss + self.settings.observer_weight * observed
        every = self.settings.attack_every
        if every and index % every == 0:
            attacked = self._attacked_observer_loss(image, target, spaces, index)
            self.log("attacked", attacked)
            loss = loss + self.settings.observer_weight * attacked
        return loss

    def _segmentation_loss(self, logits: Tensor, target: Tensor, spaces: Tensor) -> Tensor:
        """Cross-entropy of the labelled pixels; pasted outliers push towards uniform."""
        wide = functional.interpolate(logits, size=target.shape[-2:], mode="bilinear")
        log_probabilities = wide.log_softmax(dim=1)
        labelled = self.folded(log_probabilities, target, spaces)
        entropy = outlier_entropy(log_probabilities, target)
        self.log_dict({"segmentation": labelled, "outlier": entropy}, prog_bar=True)
        return labelled + self.settings.outlier_weight * entropy

    def _attacked_observer_loss(
        self, image: Tensor, target: Tensor, spaces: Tensor, index: int
    ) -> Tensor:
        """Observer loss on attacked crops: unknown = pasted, or attacked with success."""
        some = slice(0, self.settings.attack_crops)
        image, target, spaces = image[some].detach(), target[some], spaces[some]
        rng = np.random.default_rng((self.settings.seed, self.current_epoch, index))
        kind = ATTACKS[self.settings.attack]
        # Drawn on the target's grid, which is half the image's.
        drawn = draw_regions(kind.region, target.cpu().numpy().astype(np.uint8), rng)
        mask = _twice(drawn).to(image.device)
        classes = torch.from_numpy(rng.integers(0, CLASSES, image.shape[0])).to(image.device)
        self.segmentation.eval()

        def answer(moved: Tensor) -> tuple[Tensor, Tensor]:
            wide = functional.interpolate(
                self.segmentation(moved)[0], size=target.shape[-2:], mode="bilinear"
            )
            log_probabilities = wide.log_softmax(dim=1)
            wrong = segmentation_errors(wide.detach(), target, spaces)
            errors = _twice(wrong[:, None].float())[:, 0] > 0
            if kind.towards:
                goal = classes[:, None, None].expand(target.shape)
                return functional.nll_loss(log_probabilities.contiguous(), goal), errors
            return self.folded(log_probabilities, target, spaces), errors

        epsilon = float(rng.uniform(*self.settings.attack_epsilon))
        moved = attack(kind, image, mask, answer, epsilon=epsilon, limit=1.0)
        with torch.no_grad():
            features = self.segmentation(moved)
        self.segmentation.train(self.settings.train_segmentation)
        unknown, valid = observer_truth(target)
        region = mask.amax(dim=1)[:, ::4, ::4] > 0
        wrong = segmentation_errors(features[0], target[:, ::2, ::2], spaces)
        # Inside the region only successful attacks teach; what survived there says nothing.
        return observer_loss(
            self.observer(*features),
            unknown | (region & wrong),
            valid & (unknown | ~region | wrong),
        )

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        logits = self.segmentation(normalise(batch["image"]))[0]
        truth = batch["label"].long()
        wide = functional.interpolate(logits, size=truth.shape[-2:], mode="bilinear")
        valid = truth != VOID
        pairs = truth[valid] * 19 + wide.argmax(dim=1)[valid]
        self.confusion += torch.bincount(pairs, minlength=361).reshape(19, 19).cpu()

    def on_validation_epoch_end(self) -> None:
        hits = self.confusion.diag().double()
        union = self.confusion.sum(0) + self.confusion.sum(1) - self.confusion.diag()
        present = self.confusion.sum(1) > 0
        iou = hits / union.clamp(min=1)
        self.log("val_miou", iou[present].mean().float(), prog_bar=True)
        names = CITYSCAPES.names
        self.print(" ".join(f"{n}:{v:.2f}" for n, v in zip(names, iou.tolist(), strict=True)))
        self.confusion.zero_()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        s = self.settings
        encoder = list(self.segmentation.encoder.parameters())
        chosen = {id(p) for p in encoder}
        rest = [p for p in self.parameters() if id(p) not in chosen]
        optimizer = torch.optim.AdamW(
            [
                {"params": encoder, "lr": s.learning_rate * s.encoder_rate},
                {"params": rest, "lr": s.learning_rate},
            ],
            weight_decay=s.weight_decay,
        )

        def rate(step: int) -> float:
            if step < s.warmup:
                return (step + 1) / s.warmup
            progress = min(1.0, (step - s.warmup) / max(1, s.steps - s.warmup))
            cosine = 0.5 * (1 + math.cos(math.pi * progress))
            return s.final_rate + (1 - s.final_rate) * cosine

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def train_dataloader(self) -> DataLoader:
        s = self.settings
        length = s.steps_per_epoch * s.batch
        crops = Mixture(self.data, s.mixture, length=length, seed=s.seed, epoch=self.current_epoch)
        return DataLoader(
            crops, batch_size=s.batch, num_workers=s.workers, worker_init_fn=one_thread
        )

    def val_dataloader(self) -> DataLoader:
        frames = cityscapes256(self.data, "val")
        step = max(1, frames.count // self.settings.validation_frames)
        some = SegmentationFrames(frames, size=(384, 768), every=step)
        return DataLoader(some, batch_size=1, num_workers=1, worker_init_fn=one_thread)


def _twice(values: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, 2h, 2w], each value four times."""
    return functional.interpolate(values, scale_factor=2, mode="nearest")


def observer_truth(target: Tensor) -> tuple[Tensor, Tensor]:
    """Unknown and valid, bool [N, h/2, w/2], of a target int64 [N, h, w]."""
    coarse = target[:, ::2, ::2]
    return coarse == OUTLIER, coarse != VOID


def segmentation_errors(logits: Tensor, target: Tensor, spaces: Tensor) -> Tensor:
    """Where the folded prediction differs from a labelled target; bool [N, h, w]."""
    wrong = torch.zeros_like(target, dtype=torch.bool)
    probabilities = logits.softmax(dim=1)
    for index, space in enumerate(SPACES):
        rows = spaces == index
        if bool(rows.any()):
            fold = torch.from_numpy(space.matrix).to(logits.device)
            folded = torch.einsum("nchw,cg->nghw", probabilities[rows], fold).argmax(dim=1)
            wrong[rows] = (folded != target[rows]) & (target[rows] < len(space.groups))
    return wrong
