"""What a configuration can train: the table of models, by the configuration's key `model`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar

from training.methods.obsnet.light_start import imagenet_weights, load_weights
from training.methods.obsnet.paper_training import (
    PaperObserver,
    PaperObserverSettings,
    PaperSegmentation,
    PaperSegmentationSettings,
)
from training.methods.obsnet.training import LightObsNet, ObsNetSettings


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


def _paper_trainer(
    settings: PaperSegmentationSettings | PaperObserverSettings, out: Path
) -> dict[str, Any]:
    """The best epoch is kept as best.ckpt, by what the model validates."""
    observes = isinstance(settings, PaperObserverSettings)
    best = ModelCheckpoint(
        out,
        filename="best",
        monitor="val_auroc" if observes else "val_miou",
        mode="max",
        save_last=True,
        save_on_train_epoch_end=True,
    )
    return {
        "max_epochs": settings.epochs,
        "precision": settings.precision,
        "callbacks": [best, TQDMProgressBar(refresh_rate=10)],
        "log_every_n_steps": 10,
    }


MODELS = {
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
        _paper_trainer,
    ),
    "paper_observer": Model(
        "an observer of the ObsNet paper, on a trained segmentation",
        PaperObserverSettings,
        _observer,
        _paper_trainer,
        needs_start=True,
    ),
}
USUAL = "light_obsnet"  # where a configuration names none
