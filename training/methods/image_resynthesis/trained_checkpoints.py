"""Checkpoints of `python -m training fit` in the place of published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.checkpoint_bundle import Checkpoint
from training.data.label_spaces import CITYSCAPES
from training.methods.image_resynthesis.generators import (
    CHECKPOINT_KEY as GENERATOR,
)
from training.methods.image_resynthesis.generators import PaperGenerator, load_generator
from training.methods.image_resynthesis.parts import DiscrepancyPart, SegmentationPart, part_of
from training.methods.image_resynthesis.published import SWAPPED_CITYSCAPES
from training.methods.obsnet.published import Trained
from training.weights import WeightsError, read_checkpoint

TRAINER = "python -m training fit"
UNTOLD = "a dataset that its checkpoint does not name"


def trained_segmentation(path: Path, family: str) -> Checkpoint | None:
    """A Bayesian SegNet or PSPNet of the 19 classes; None for a file that `fit` did not write.

    Raises WeightsError for another family or other classes, CheckpointError for a damaged file.
    """
    content = _content(path)
    if SegmentationPart.KEY not in content:
        return None
    part = part_of(SegmentationPart, path, content)
    if part.family != family:
        raise WeightsError(
            f"segmentation {path} is a {part.family}, not a {family}: give --network {part.family}"
        )
    if part.classes is not CITYSCAPES:
        raise WeightsError(
            f"segmentation {path} has the {len(part.classes.names)} classes of {part.space}; "
            "generator and discrepancy network know the 19 of Cityscapes"
        )
    return _checkpoint(path, part.open(path, content), part.data, part.size)


def trained_generator(path: Path) -> Checkpoint | None:
    """A generator of the paper's size; None as above. Raises WeightsError for a light one."""
    content = _content(path)
    if GENERATOR not in content:
        return None
    generator = load_generator(path)
    if not isinstance(generator, PaperGenerator):
        raise WeightsError(
            f"resynthesis {path} is a light generator, which belongs to the light chain: train "
            "model: generator with family: paper"
        )
    data = content[GENERATOR].get("data", UNTOLD)
    return _checkpoint(path, generator.network, data, SWAPPED_CITYSCAPES.size)


def trained_discrepancy(path: Path, variant: str) -> Checkpoint | None:
    """A discrepancy network; None as above. Raises WeightsError for another variant."""
    content = _content(path)
    if DiscrepancyPart.KEY not in content:
        return None
    part = part_of(DiscrepancyPart, path, content)
    if part.variant != variant:
        raise WeightsError(
            f"dissimilarity {path} is the variant {part.variant}, not {variant}: give --variant "
            f"{part.variant}"
        )
    return _checkpoint(path, part.open(path, content), part.data, part.size)


def _content(path: Path) -> Mapping[str, Any]:
    """Nothing for a file that cannot be read: whoever takes it for a published one says why."""
    try:
        return read_checkpoint(path)
    except WeightsError:
        return {}


def _checkpoint(path: Path, network: Any, data: str, size: tuple[int, int]) -> Checkpoint:
    trained: Trained = replace(
        SWAPPED_CITYSCAPES, name=data, size=size, licence="terms of its publishers"
    )
    return Checkpoint(path, network, trained, TRAINER)
