"""Checkpoints of ObsNet, light or of the paper's size, opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.methods.obsnet.paper_networks import FAMILIES, Networks
from training.methods.obsnet.paper_pipeline import paper_stages
from training.methods.obsnet.pipeline import Observation, Segmentation
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid
from training.opened import CheckpointError, Opened, fill
from training.segmenter import Segmenter
from training.weights import WeightsError

SIZE = (384, 768)  # rows and columns that the light networks run at
PYRAMID = 1  # place of the pyramid features in LightPyramid's answer
LIGHT = "the light ObsNet"


def open_light(path: Path, content: Mapping[str, Any]) -> Opened:
    """The light ObsNet. Raises CheckpointError as all openers do."""
    segmentation, observer = light_networks(path, content)
    stages = (Segmentation(segmentation), Observation(observer))
    return Opened(SIZE, light_segmenter(segmentation, SIZE), stages)


def light_networks(path: Path, content: Mapping[str, Any]) -> tuple[LightPyramid, LightObserver]:
    """Segmentation and observer."""
    segmentation, observer = LightPyramid(), LightObserver()
    fill(path, content, {"segmentation.": segmentation, "observer.": observer}, LIGHT)
    return segmentation, observer


def light_segmenter(network: LightPyramid, size: tuple[int, int]) -> Segmenter:
    """The light segmentation with the way its images go in."""
    return Segmenter(network, (127.0,) * 3, (128.0,) * 3, size=size, feature_index=PYRAMID)


def open_paper(path: Path, content: Mapping[str, Any]) -> Opened:
    """A segmentation of the paper, with its observer where that was trained."""
    try:
        networks = Networks.of_checkpoint(content)
    except WeightsError as error:
        raise CheckpointError(f"{path} holds {error}") from error
    if networks is None:
        raise CheckpointError(f"{path} does not tell its networks as `python -m training fit` does")
    parts = {"segmentation.": networks.segmentation()}
    if networks.observed:
        parts["observer."] = networks.observer()
    fill(path, content, parts, f"{networks.family} of width {networks.width:g}")
    network, *watchers = parts.values()
    recipe = networks.recipe
    red, green, blue = (255 * level for level in recipe.trained.mean)
    reds, greens, blues = (255 * level for level in recipe.trained.std)
    segmenter = Segmenter(
        network,
        (red, green, blue),
        (reds, greens, blues),
        size=networks.size,
        space=recipe.space,
        void_class=recipe.void_class,
        feature_index=FAMILIES[networks.family],
    )
    return Opened(
        networks.size,
        segmenter,
        tuple(
            stage
            for watcher in watchers
            for stage in paper_stages(network, watcher, recipe.trained)
        ),
        "a segmentation without an observer, which has no score of its own: name a baseline "
        "(--method max_softmax), or train the observer",
    )
