"""What the light ObsNet starts from: ImageNet, a run's checkpoint, or a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from anomaly_seg_ros.bundle import Bundle, StageSpec
from anomaly_seg_ros.errors import BundleError
from training.bundle_weights import load_folded, row_lengths, unfold_norms
from training.checkpoints import open_obsnet
from training.data.catalogue import MIXTURE_SETS
from training.methods.obsnet.training import LightObsNet, normalise
from training.networks.light_pyramid import LightPyramid

NORM_FRAMES = 8  # of each training set, to measure batch norms on when a bundle is the start


def load_weights(model: LightObsNet, source: str, data: Path) -> None:
    """Start `model` from the averaged weights of a run's checkpoint, or from those of a bundle.

    The observer stays as it is where the settings say `observer_init: random`. Raises
    CheckpointError for another file, BundleError for a bundle of another network.
    """
    networks: dict[str, nn.Module] = {"segmentation": model.segmentation}
    if model.settings.observer_init == "start":
        networks["observer"] = model.observer
    if source.endswith(".ckpt"):
        for network, trained in zip(networks.values(), open_obsnet(Path(source)), strict=False):
            network.load_state_dict(trained.state_dict())
    else:
        _load_bundle(model, networks, Bundle.open(source), data)
    model.observer.ignore(model.settings.observer_ignores)
    model.train()  # Lightning trains in the mode that it finds


def _load_bundle(
    model: LightObsNet, networks: Mapping[str, nn.Module], bundle: Bundle, data: Path
) -> None:
    size = (bundle.input.width, bundle.input.height)
    lengths = {name: row_lengths(network) for name, network in networks.items()}
    for name, network in networks.items():
        load_folded(network, _stage(bundle, name))
    for name, network in networks.items():
        unfold_norms(network, _answers(model, size, data), lengths[name])


def load_segmentation(network: LightPyramid, source: str) -> None:
    """Give `network`, which is not to be trained on, the weights of a checkpoint or bundle.

    Raises CheckpointError and BundleError as above.
    """
    if source.endswith(".ckpt"):
        network.load_state_dict(open_obsnet(Path(source))[0].state_dict())
    else:
        load_folded(network, _stage(Bundle.open(source), "segmentation"))


def _stage(bundle: Bundle, name: str) -> StageSpec:
    for stage in bundle.stages:
        if stage.name == name:
            return stage
    raise BundleError(f"bundle {bundle.name} has no stage {name}: expected a light ObsNet's")


def _answers(model: LightObsNet, size: tuple[int, int], data: Path) -> Iterator[Tensor]:
    """The observer's answers to a few training frames of each set, at (width, height) `size`."""
    model.eval()
    for name in model.settings.mixture.weights:
        frames = MIXTURE_SETS[name](data, "train")
        for index in np.linspace(0, frames.count - 1, NORM_FRAMES).astype(int):
            image = cv2.resize(frames.read(int(index))[0], size)
            with torch.no_grad():
                features = model.segmentation(normalise(torch.from_numpy(image)[None]))
                yield model.observer(*features)
