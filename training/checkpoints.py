"""Opens what training wrote: a checkpoint becomes the networks that it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from training.methods.image_resynthesis.generators import CHECKPOINT_KEY as GENERATOR
from training.methods.image_resynthesis.light_pipeline import CHECKPOINT_KEY as LIGHT_RESYNTHESIS
from training.methods.image_resynthesis.opening import (
    LightResynthesis,
    light_resynthesis,
    open_discrepancy,
    open_generator,
    open_light_resynthesis,
    open_road_autoencoder,
    open_segmentation,
)
from training.methods.image_resynthesis.parts import DiscrepancyPart, RoadPart, SegmentationPart
from training.methods.obsnet.opening import light_networks, open_light, open_paper
from training.methods.obsnet.paper_networks import Networks
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid
from training.opened import CheckpointError, Opened
from training.segmenter import Segmenter
from training.stage import Stage
from training.weights import WeightsError, read_checkpoint

__all__ = [
    "CheckpointError",
    "LightResynthesis",
    "Opened",
    "open_chain",
    "open_checkpoint",
    "open_obsnet",
    "open_resynthesis",
    "open_segmenter",
    "open_stages",
]

# By the key under which a checkpoint tells what it holds; without any it is a light ObsNet's.
OPENERS: dict[str, Callable[[Path, Mapping[str, Any]], Opened]] = {
    Networks.KEY: open_paper,
    LIGHT_RESYNTHESIS: open_light_resynthesis,
    GENERATOR: open_generator,
    SegmentationPart.KEY: open_segmentation,
    DiscrepancyPart.KEY: open_discrepancy,
    RoadPart.KEY: open_road_autoencoder,
}


def open_checkpoint(path: Path) -> Opened:
    """What a checkpoint of `python -m training fit` holds, in evaluation mode on the CPU.

    Raises CheckpointError for a file that cannot be read, for missing and unexpected tensors and
    for tensors of another shape.
    """
    content = _content(path)
    for key, opener in OPENERS.items():
        if key in content:
            return opener(path, content)
    return open_light(path, content)


def open_segmenter(path: Path) -> Segmenter:
    """The segmentation of a checkpoint. Raises CheckpointError as above, or where it has none."""
    opened = open_checkpoint(path)
    if opened.segmenter is None:
        raise CheckpointError(f"{path} holds {opened.lacks}")
    return opened.segmenter


def open_chain(path: Path) -> Opened:
    """The chain of a checkpoint. Raises CheckpointError as above, or where it has no score of its
    own."""
    opened = open_checkpoint(path)
    if not opened.stages:
        raise CheckpointError(f"{path} holds {opened.lacks}")
    return opened


def open_stages(path: Path) -> list[Stage]:
    """The stages image -> labels, score of a checkpoint. Raises CheckpointError as `open_chain`."""
    return list(open_chain(path).stages)


def open_obsnet(path: Path) -> tuple[LightPyramid, LightObserver]:
    """Segmentation and observer of a light ObsNet's checkpoint. Raises CheckpointError as above."""
    return light_networks(path, _content(path))


def open_resynthesis(path: Path) -> LightResynthesis:
    """The networks of a light discrepancy network's checkpoint. Raises CheckpointError."""
    content = _content(path)
    if LIGHT_RESYNTHESIS not in content:
        raise CheckpointError(
            f"{path} holds no light image resynthesis: expected what `python -m training fit "
            "resynthesis_lite_discrepancy` writes"
        )
    return light_resynthesis(path, content)


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_checkpoint(path)
    except WeightsError as error:
        raise CheckpointError(f"{path} is no checkpoint of training: {error}") from error
