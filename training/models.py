"""What a configuration can train: the table of models, by the configuration's key `model`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar

from training.methods.image_resynthesis.discrepancy_training import (
    DiscrepancyNetworkSettings,
    DiscrepancyTraining,
)
from training.methods.image_resynthesis.generator_training import (
    GeneratorSettings,
    GeneratorTraining,
)
from training.methods.image_resynthesis.light_training import (
    LightDiscrepancySettings,
    LightDiscrepancyTraining,
)
from training.methods.image_resynthesis.plateau import MONITOR
from training.methods.image_resynthesis.road_training import (
    RoadAutoencoderSettings,
    RoadAutoencoderTraining,
)
from training.methods.image_resynthesis.segmentation_training import (
    SegmentationSettings,
    SegmentationTraining,
)
from training.methods.obsnet.light_start import load_weights
from training.methods.obsnet.paper_training import (
    PaperObserver,
    PaperObserverSettings,
    PaperSegmentation,
    PaperSegmentationSettings,
)
from training.methods.obsnet.training import LightObsNet, ObsNetSettings
from training.weights.imagenet import imagenet_weights

BestOf = PaperSegmentationSettings | PaperObserverSettings | LightDiscrepancySettings
LeastLossOf = SegmentationSettings | DiscrepancyNetworkSettings | RoadAutoencoderSettings


@dataclass(frozen=True)
class Model:
    """settings: a dataclass with a `seed`. make: settings, folder of the datasets and what to start
    from -> module. trainer: settings and folder of the run -> options of lightning.Trainer."""

    about: str
    settings: type
    make: Callable[[Any, Path, str | None], lightning.LightningModule]
    trainer: Callable[[Any, Path], dict[str, Any]]
    needs_start: bool = False


def _light(settings: ObsNetSettings, data: Path, start: str | None) -> LightObsNet:
    model = LightObsNet(settings, data, imagenet_weights())
    if start is not None:
        load_weights(model, start, data)
    return model


def _light_trainer(settings: ObsNetSettings, out: Path) -> dict[str, Any]:
    return {
        "max_steps": settings.steps,
        "callbacks": [
            EMAWeightAveraging(decay=settings.ema_decay, update_starting_at_step=settings.warmup),
            ModelCheckpoint(out, save_last=True, save_on_train_epoch_end=True),
            TQDMProgressBar(refresh_rate=10),
        ],
        "check_val_every_n_epoch": 4,
        "gradient_clip_val": 5.0,
    }


def _segmentation(
    settings: PaperSegmentationSettings, data: Path, start: str | None
) -> PaperSegmentation:
    return PaperSegmentation(settings, data, None if start is None else Path(start))


def _observer(settings: PaperObserverSettings, data: Path, start: str | None) -> PaperObserver:
    return PaperObserver(settings, data, None if start is None else Path(start))


def _best_trainer(settings: BestOf, out: Path) -> dict[str, Any]:
    """The best epoch is kept as best.ckpt, by what the model validates."""
    segments = isinstance(settings, PaperSegmentationSettings)
    return _keeping_best(settings, out, "val_miou" if segments else "val_auroc", "max")


def _least_loss_trainer(settings: LeastLossOf, out: Path) -> dict[str, Any]:
    return _keeping_best(settings, out, MONITOR, "min")


def _keeping_best(
    settings: BestOf | LeastLossOf, out: Path, monitor: str, mode: str
) -> dict[str, Any]:
    best = ModelCheckpoint(
        out,
        filename="best",
        monitor=monitor,
        mode=mode,
        save_last=True,
        save_on_train_epoch_end=True,
    )
    return {
        "max_epochs": settings.epochs,
        "precision": settings.precision,
        "callbacks": [best, TQDMProgressBar(refresh_rate=10)],
        "log_every_n_steps": 10,
    }


def _generator(settings: GeneratorSettings, data: Path, start: str | None) -> GeneratorTraining:
    return GeneratorTraining(settings, data)


def _generator_trainer(settings: GeneratorSettings, out: Path) -> dict[str, Any]:
    callbacks: list[Any] = [
        ModelCheckpoint(out, save_last=True, save_on_train_epoch_end=True),
        TQDMProgressBar(refresh_rate=10),
    ]
    if settings.average:
        # Norms keep the newest statistics: averaged ones remember the first steps for too long.
        callbacks.append(EMAWeightAveraging(decay=settings.average, use_buffers=False))
    return {
        "max_epochs": settings.epochs,
        "precision": settings.precision,
        "callbacks": callbacks,
        "default_root_dir": out,
    }


def _light_discrepancy(
    settings: LightDiscrepancySettings, data: Path, start: str | None
) -> LightDiscrepancyTraining:
    return LightDiscrepancyTraining(settings, data, None if start is None else Path(start))


def _resynthesis_segmentation(
    settings: SegmentationSettings, data: Path, start: str | None
) -> SegmentationTraining:
    return SegmentationTraining(settings, data, None if start is None else Path(start))


def _discrepancy(
    settings: DiscrepancyNetworkSettings, data: Path, start: str | None
) -> DiscrepancyTraining:
    return DiscrepancyTraining(settings, data, None if start is None else Path(start))


def _road_autoencoder(
    settings: RoadAutoencoderSettings, data: Path, start: str | None
) -> RoadAutoencoderTraining:
    return RoadAutoencoderTraining(settings, data)


MODELS = {
    "light_discrepancy": Model(
        "a light discrepancy network, on a trained light generator",
        LightDiscrepancySettings,
        _light_discrepancy,
        _best_trainer,
        needs_start=True,
    ),
    "generator": Model(
        "the label-to-image generator of image resynthesis",
        GeneratorSettings,
        _generator,
        _generator_trainer,
    ),
    "resynthesis_segmentation": Model(
        "a segmentation of the image resynthesis paper: Bayesian SegNet or PSPNet",
        SegmentationSettings,
        _resynthesis_segmentation,
        _least_loss_trainer,
    ),
    "resynthesis_discrepancy": Model(
        "a discrepancy network of the image resynthesis paper, on torchvision's VGG-16",
        DiscrepancyNetworkSettings,
        _discrepancy,
        _least_loss_trainer,
        needs_start=True,
    ),
    "road_autoencoder": Model(
        "the road autoencoder (RBM) that image resynthesis is compared with",
        RoadAutoencoderSettings,
        _road_autoencoder,
        _least_loss_trainer,
    ),
    "light_obsnet": Model(
        "the light ObsNet: segmentation, or segmentation and observer together",
        ObsNetSettings,
        _light,
        _light_trainer,
    ),
    "paper_segmentation": Model(
        "a segmentation network of the ObsNet paper",
        PaperSegmentationSettings,
        _segmentation,
        _best_trainer,
    ),
    "paper_observer": Model(
        "an observer of the ObsNet paper, on a trained segmentation",
        PaperObserverSettings,
        _observer,
        _best_trainer,
        needs_start=True,
    ),
}
USUAL = "light_obsnet"  # where a configuration names none
