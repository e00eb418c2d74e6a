"""Checkpoints, mostly published ones, -> a bundle: what the imports of all methods share."""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from anomaly_seg_ros.bundle import Bundle, write_bundle
from anomaly_seg_ros.scenes import RoadSequence
from training.export import Gate, export_stages
from training.methods.obsnet.published import Trained
from training.stage import Stage
from training.weights import WeightsError, build, read_checkpoint

THRESHOLD = 0.5
RULE = "not calibrated: the middle of the score's range"
SAMPLE_SCENES = (1, 2)  # seeds of the procedural scenes that the parity check runs on
PUBLISHERS = "its publishers"
SMALLEST = 32  # pixels: five poolings leave one


@dataclass(frozen=True)
class Checkpoint:
    """A file, the network that its weights fill, what that was trained on, and by whom."""

    path: Path
    network: nn.Module
    trained: Trained
    trainer: str = PUBLISHERS

    def provenance(self) -> dict[str, str]:
        """Name and hash of the file, for bundle.yaml."""
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return {"file": self.path.name, "sha256": digest}


@dataclass(frozen=True)
class Origin:
    """A method, its paper, and its checkpoints by role; the classes are those of the first one."""

    method: str
    paper: str
    checkpoints: Mapping[str, Checkpoint]

    @property
    def trained(self) -> Trained:
        """What the classes come from."""
        return next(iter(self.checkpoints.values())).trained


def load_checkpoint(role: str, path: Path, network: str, trained: Trained) -> Checkpoint:
    """The published network METHOD/NETWORK with the weights of a file.

    role: what the file was given as, for messages. Raises WeightsError where the weights do not fit
    or know other classes than those of `trained`.
    """
    try:
        module = build(network, read_checkpoint(path))
    except WeightsError as error:
        raise WeightsError(f"{role} {path}: {error}") from error
    expected = len(trained.classes)
    classes = getattr(module, "classes", expected)
    if classes != expected:
        raise WeightsError(
            f"{role} {path} has {classes} classes, {trained.name} has {expected}: choose "
            "the network that it was trained as"
        )
    return Checkpoint(path, module, trained)


def bundle_checkpoints(
    out: Path,
    stages: Sequence[Stage],
    origin: Origin,
    *,
    name: str,
    size: tuple[int, int],
    gate: Gate,
) -> Bundle:
    """Export the stages at input size (H, W) and write them to the folder `out`, in fp32.

    Raises BundleError where the graphs differ from torch by more than `gate`.
    """
    images = [RoadSequence(seed, size=size).frame(10).image[None] for seed in SAMPLE_SCENES]
    with tempfile.TemporaryDirectory() as folder:
        exported = export_stages(stages, images, Path(folder), gate=gate, rounded=False)
        description = describe(name, size, [stage.description for stage in exported], origin)
        files = {stage.description["name"]: {"fp32": stage.file} for stage in exported}
        return write_bundle(out, description=description, stage_files=files)


def describe(
    name: str, size: tuple[int, int], stages: list[dict[str, Any]], origin: Origin
) -> dict[str, Any]:
    """bundle.yaml of imported networks."""
    trained = origin.trained
    checkpoints = origin.checkpoints.values()
    data = {entry.trained.name: entry.trained for entry in checkpoints}
    trainings = {f"{entry.trained.name}, by {entry.trainer}": None for entry in checkpoints}
    published = [entry.trainer == PUBLISHERS for entry in checkpoints]
    return {
        "format": 1,
        "name": name,
        "method": origin.method,
        "paper": origin.paper,
        "source": f"{'published ' if all(published) else ''}checkpoints, by python -m training "
        "import-weights",
        "input": {
            "height": size[0],
            "width": size[1],
            "fit": "squash",
            "resize": "bilinear",
            "antialias": True,
        },
        "classes": [
            {"id": i, "name": name, "color": list(colour), "drivable": name in trained.drivable}
            for i, (name, colour) in enumerate(trained.classes)
        ],
        "stages": stages,
        "score": {"display": [0.0, 1.0], "reference_quantiles": []},
        "operating_points": {
            "default": {
                "threshold": THRESHOLD,
                "rule": RULE,
                "data": "none",
                "focus": "everywhere",
            }
        },
        "provenance": {
            "checkpoints": {
                role: checkpoint.provenance() for role, checkpoint in origin.checkpoints.items()
            },
            "data": list(trainings),
            "data_licences": [f"{entry.name}: {entry.licence}" for entry in data.values()],
            "weights_licence": "not stated by their publishers"
            if any(published)
            else "terms of the data",
        },
    }


def add_bundle_arguments(verb: argparse.ArgumentParser, *, name: str) -> None:
    """--out, --size and --name; `name` says what the bundle is called by default."""
    verb.add_argument("--out", type=Path, required=True, help="bundle folder")
    verb.add_argument(
        "--size", type=size_of, help="network input, HEIGHTxWIDTH (default: as it was trained)"
    )
    verb.add_argument("--name", help=f"of the bundle (default: {name})")


def say(bundle: Bundle) -> None:
    """Print what was written: its size, how near it comes to torch, its threshold."""
    total = sum(file.path.stat().st_size for stage in bundle.stages for file in stage.files)
    parity = bundle.stages[0].files[0].parity
    print(f"{bundle.folder}: {total / 1e6:.0f} MB, torch against ONNX Runtime: {parity}")
    print(f"threshold {THRESHOLD}, {RULE}")


def size_of(text: str) -> tuple[int, int]:
    """ "360x480" -> (360, 480). Raises argparse.ArgumentTypeError for anything else."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or min(int(height), int(width)) < SMALLEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; expected HEIGHTxWIDTH of at least {SMALLEST} each, as 360x480"
        )
    return int(height), int(width)
