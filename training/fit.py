"""`python -m training fit`: train one configuration, resumable."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import lightning
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from training.models import MODELS, USUAL, Model
from training.settings import ConfigError, settings_from

__all__ = ["ConfigError", "add_parser", "read_config", "read_model", "run"]

CONFIGS = Path(__file__).parent / "configs"

EXAMPLES = """examples:
  python -m training fit street_obsnet_lite_segmentation --data ../data --out runs/segmentation
  python -m training fit street_obsnet_lite --data ../data --out runs/joint \\
      --start-from runs/segmentation/final.ckpt
  python -m training fit street_obsnet_lite_continued --data ../data --out runs/continued \\
      --start-from street_obsnet_lite
  python -m training fit obsnet_segnet_camvid_segmentation --data ../data --out runs/segnet
  python -m training fit obsnet_segnet_camvid --data ../data --out runs/obsnet \\
      --start-from runs/segnet/best.ckpt
  python -m training fit obsnet_segnet_camvid --data ../data --out runs/no_attack_1 \\
      --start-from runs/segnet/best.ckpt --set attack=none --set seed=1
  python -m training fit resynthesis_discrepancy_cityscapes --data ../data \\
      --out runs/discrepancy --start-from vgg16-397923af.pth
A run that was stopped goes on with the same command.
"""


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
        "--start-from",
        help="checkpoint (.ckpt) or bundle whose weights are the start; for networks of a paper "
        "also published weights, or ImageNet's in the file of torchvision that its configuration "
        "names (.pth)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value for a key of the configuration, in YAML; views.batch=2 for an inner "
        "one; may be given several times",
    )
    parser.add_argument("--steps", type=int, help="other number of steps than the configuration's")
    parser.add_argument("--epochs", type=int, help="likewise, of models that count epochs")
    parser.add_argument("--threads", type=int, help="torch threads on the CPU")
    parser.add_argument("--precision", help="of Lightning, for example bf16-mixed")
    parser.add_argument("--devices", type=int, help="how many (default: all accelerators)")
    parser.set_defaults(handler=run)


def read_config(name: str) -> Any:
    """Settings of a shipped configuration or a file. Raises ConfigError on unknown keys."""
    return read_model(name)[1]


def read_model(name: str, changes: Sequence[str] = ()) -> tuple[Model, Any]:
    """The model that a configuration trains, and its settings. changes: of --set.

    Raises ConfigError as above, and for changes that it cannot read.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(config.stem for config in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"no configuration {path}; shipped: {shipped}")
    values = yaml.safe_load(path.read_text())
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: found {type(values).__name__}, expected keys and values")
    for change in changes:
        _put(values, change)
    chosen = values.pop("model", USUAL)
    if chosen not in MODELS:
        raise ConfigError(f"{path}: unknown model {chosen!r}; expected one of {', '.join(MODELS)}")
    model = MODELS[chosen]
    return model, settings_from(model.settings, values, str(path))


def run(args: argparse.Namespace) -> int:
    """Train; returns 0."""
    model, settings = read_model(args.config, args.set)
    for name in ("steps", "epochs"):
        if getattr(args, name):
            settings = _with(settings, name, getattr(args, name))
    if args.threads:
        torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)  # its thread pool does not survive the fork of loader workers
    last = args.out / "last.ckpt"
    start = None if last.is_file() else args.start_from
    if model.needs_start and start is None and not last.is_file():
        raise ConfigError(
            f"{args.config} trains {model.about}: give its checkpoint with --start-from"
        )
    lightning.seed_everything(settings.seed)
    module = model.make(settings, args.data, start)
    chosen = {"precision": args.precision, "devices": args.devices}
    trainer = lightning.Trainer(
        **{
            "logger": TensorBoardLogger(args.out, name="", version="log"),
            "reload_dataloaders_every_n_epochs": 1,
            "num_sanity_val_steps": 0,
            "enable_model_summary": False,
            **model.trainer(settings, args.out),
            **{name: value for name, value in chosen.items() if value},
        }
    )
    trainer.fit(module, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    trainer.save_checkpoint(args.out / "final.ckpt", weights_only=False)
    if not trainer.is_global_zero:
        return 0
    print(f"finished {trainer.global_step} steps: {args.out / 'final.ckpt'}")
    best = trainer.checkpoint_callback
    if isinstance(best, ModelCheckpoint) and best.monitor and best.best_model_score is not None:
        print(f"best {best.monitor} {float(best.best_model_score):.4g}: {best.best_model_path}")
    return 0


def _put(values: dict[str, Any], change: str) -> None:
    """Give a key of a configuration the value that KEY=VALUE names."""
    keys, equals, value = change.partition("=")
    *outer, last = keys.split(".")
    for key in outer:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {change}: {key} is {values!r} and has no inner keys")
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: {value!r} is no YAML value") from error
    if not equals or not last:
        raise ConfigError(f"--set {change}: expected KEY=VALUE, as in seed=1")
    values[last] = found


def _with(settings: Any, name: str, value: int) -> Any:
    if name not in {field.name for field in fields(settings)}:
        raise ConfigError(f"{type(settings).__name__} counts no {name}: leave out --{name}")
    return replace(settings, **{name: value})
