"""Checkpoints of Image Resynthesis, light ones and parts of the paper's size, opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.methods.image_resynthesis.light_pipeline import (
    CHECKPOINT_KEY,
    VARIANTS,
    light_stages,
)
from training.methods.image_resynthesis.parts import (
    DiscrepancyPart,
    RoadPart,
    SegmentationPart,
    part_of,
)
from training.methods.image_resynthesis.road_pipeline import RoadReconstruction
from training.methods.obsnet.opening import light_segmenter
from training.methods.obsnet.published import IMAGENET_MEAN, IMAGENET_STD
from training.networks.light_discrepancy import LightDiscrepancy
from training.networks.light_generator import LightGenerator
from training.networks.light_pyramid import LightPyramid
from training.opened import Opened, fill
from training.segmenter import Segmenter

JOIN = "join the parts into a bundle with `python -m training import-weights image_resynthesis`"


@dataclass(frozen=True)
class LightResynthesis:
    """The light image resynthesis; size: rows and columns of its input."""

    variant: str
    size: tuple[int, int]
    segmentation: LightPyramid
    generator: LightGenerator
    discrepancy: LightDiscrepancy


def light_resynthesis(path: Path, content: Mapping[str, Any]) -> LightResynthesis:
    """The networks of a light discrepancy network's checkpoint. Raises CheckpointError."""
    told = content[CHECKPOINT_KEY]
    rows, columns = told["size"]
    chain = LightResynthesis(
        told["variant"],
        (int(rows), int(columns)),
        LightPyramid(),
        LightGenerator(),
        LightDiscrepancy(**VARIANTS[told["variant"]]),
    )
    parts = ("segmentation", "generator", "discrepancy")
    networks = {f"{part}.": getattr(chain, part) for part in parts}
    fill(path, content, networks, "the light image resynthesis")
    return chain


def open_light_resynthesis(path: Path, content: Mapping[str, Any]) -> Opened:
    """The whole chain. Raises CheckpointError as all openers do."""
    chain = light_resynthesis(path, content)
    return Opened(
        chain.size,
        light_segmenter(chain.segmentation, chain.size),
        tuple(light_stages(chain.segmentation, chain.generator, chain.discrepancy)),
    )


def open_segmentation(path: Path, content: Mapping[str, Any]) -> Opened:
    """A Bayesian SegNet or PSPNet."""
    part = part_of(SegmentationPart, path, content)
    red, green, blue = (255 * level for level in IMAGENET_MEAN)
    reds, greens, blues = (255 * level for level in IMAGENET_STD)
    segmenter = Segmenter(
        part.open(path, content),
        (red, green, blue),
        (reds, greens, blues),
        size=part.size,
        space=part.classes,
    )
    baseline = "mc_dropout_variance" if part.family == "bayes_segnet" else "deep_ensemble_variance"
    lacks = (
        "a segmentation, which has no score of its own: name a baseline (--method "
        f"{baseline}, max_softmax, ...), or {JOIN}"
    )
    return Opened(part.size, segmenter, lacks=lacks)


def open_discrepancy(path: Path, content: Mapping[str, Any]) -> Opened:
    """A discrepancy network, which scores nothing alone."""
    part = part_of(DiscrepancyPart, path, content)
    lacks = f"a discrepancy network without segmentation and generator: {JOIN}"
    return Opened(part.size, lacks=lacks)


def open_generator(path: Path, content: Mapping[str, Any]) -> Opened:
    """A generator, which draws and neither labels nor scores."""
    return Opened((0, 0), lacks=f"a generator alone: {JOIN}, or train on it")


def open_road_autoencoder(path: Path, content: Mapping[str, Any]) -> Opened:
    """The road autoencoder, which knows no classes."""
    part = part_of(RoadPart, path, content)
    lacks = "a road autoencoder, which predicts no classes: baselines need a segmentation"
    return Opened(part.size, None, (RoadReconstruction(part.open(path, content)),), lacks)
