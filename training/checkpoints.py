"""Opens what training wrote: a checkpoint becomes the networks that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from anomaly_seg_ros.errors import AnomalySegError
from training.methods.obsnet.paper_networks import FAMILIES, Networks
from training.methods.obsnet.paper_pipeline import paper_stages
from training.methods.obsnet.pipeline import Observation, Segmentation
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid
from training.segmenter import Segmenter
from training.stage import Stage
from training.weights import WeightsError, read_checkpoint
from training.weights.checkpoint import bare_state_dict

SIZE = (384, 768)  # rows and columns that the light networks run at
PYRAMID = 1  # place of the pyramid features in LightPyramid's answer
NAMED = 3  # keys that a message names of each kind
LIGHT = "the light ObsNet"


class CheckpointError(AnomalySegError):
    """A checkpoint file that is missing, damaged or of another network."""


def open_segmenter(path: Path) -> Segmenter:
    """The segmentation of a checkpoint that `python -m training fit` wrote: of the light ObsNet or
    of the paper's networks, in evaluation mode on the CPU. Raises CheckpointError as `open_obsnet`.
    """
    content = _content(path)
    networks = _networks(path, content)
    if networks is None:
        light, _ = _light(path, content)
        return Segmenter(light, (127.0,) * 3, (128.0,) * 3, size=SIZE, feature_index=PYRAMID)
    recipe = networks.recipe
    red, green, blue = (255 * level for level in recipe.trained.mean)
    reds, greens, blues = (255 * level for level in recipe.trained.std)
    return Segmenter(
        _paper(path, content, networks)[0],
        (red, green, blue),
        (reds, greens, blues),
        size=networks.size,
        space=recipe.space,
        void_class=recipe.void_class,
        feature_index=FAMILIES[networks.family],
    )


def open_stages(path: Path) -> list[Stage]:
    """The chain of stages image -> labels, score of a checkpoint as above, in evaluation mode.

    Raises CheckpointError as above, and for a segmentation of the paper without an observer.
    """
    content = _content(path)
    networks = _networks(path, content)
    if networks is None:
        segmentation, observer = _light(path, content)
        return [Segmentation(segmentation), Observation(observer)]
    if not networks.observed:
        raise CheckpointError(
            f"{path} holds a segmentation without an observer, which has no score of its own: name "
            "a baseline (--method max_softmax), or train the observer"
        )
    network, watcher = _paper(path, content, networks)
    return paper_stages(network, watcher, networks.recipe.trained)


def open_obsnet(path: Path) -> tuple[LightPyramid, LightObserver]:
    """Segmentation and observer of a light ObsNet's checkpoint, as above.

    Raises CheckpointError for a file that cannot be read, for missing and unexpected tensors and
    for tensors of another shape.
    """
    return _light(path, _content(path))


def _light(path: Path, content: Mapping[str, Any]) -> tuple[LightPyramid, LightObserver]:
    segmentation, observer = LightPyramid(), LightObserver()
    _fill(path, content, {"segmentation.": segmentation, "observer.": observer}, LIGHT)
    return segmentation, observer


def _paper(path: Path, content: Mapping[str, Any], networks: Networks) -> list[nn.Module]:
    """The segmentation and, where there is one, its observer."""
    parts = {"segmentation.": networks.segmentation()}
    if networks.observed:
        parts["observer."] = networks.observer()
    _fill(path, content, parts, f"{networks.family} of width {networks.width:g}")
    return list(parts.values())


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_checkpoint(path)
    except WeightsError as error:
        raise CheckpointError(f"{path} is no checkpoint of {LIGHT}: {error}") from error


def _networks(path: Path, content: Mapping[str, Any]) -> Networks | None:
    try:
        return Networks.of_checkpoint(content)
    except WeightsError as error:
        raise CheckpointError(f"{path} holds {error}") from error


def _fill(
    path: Path, content: Mapping[str, Any], networks: Mapping[str, nn.Module], what: str
) -> None:
    """Give the networks, by the prefix of their keys, the tensors of a checkpoint, strictly."""
    try:
        state = bare_state_dict(content)
    except WeightsError as error:
        raise CheckpointError(f"{path} is no checkpoint of {what}: {error}") from error
    expected = {
        prefix + key: tensor
        for prefix, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    faults = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {list(state[key].shape)} instead of {list(tensor.shape)}"
            for key, tensor in expected.items()
            if key in state and state[key].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        found = "; ".join(
            f"{len(keys)} {kind}: {', '.join(keys[:NAMED])}{' ...' if len(keys) > NAMED else ''}"
            for kind, keys in faults.items()
            if keys
        )
        raise CheckpointError(
            f"{path} is no checkpoint of {what}: of {len(expected)} tensors {found}. "
            "Expected what `python -m training fit` writes"
        )
    for prefix, network in networks.items():
        network.load_state_dict(_part(state, prefix))
        network.eval()


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
