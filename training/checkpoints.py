"""Opens what training wrote: a checkpoint of the light ObsNet becomes networks again."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from anomaly_seg_ros.errors import AnomalySegError
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid
from training.segmenter import Segmenter
from training.weights import WeightsError, read_checkpoint
from training.weights.checkpoint import bare_state_dict

SIZE = (384, 768)  # rows and columns that the light networks run at
PYRAMID = 1  # place of the pyramid features in LightPyramid's answer
NAMED = 3  # keys that a message names of each kind


class CheckpointError(AnomalySegError):
    """A checkpoint file that is missing, damaged or of another network."""


def open_segmenter(path: Path) -> Segmenter:
    """The segmentation network of a light ObsNet checkpoint, in evaluation mode on the CPU.

    Raises CheckpointError as `open_obsnet`.
    """
    network, _ = open_obsnet(path)
    return Segmenter(network, (127.0,) * 3, (128.0,) * 3, size=SIZE, feature_index=PYRAMID)


def open_obsnet(path: Path) -> tuple[LightPyramid, LightObserver]:
    """Segmentation and observer of a checkpoint that `python -m training fit` wrote, as above.

    Raises CheckpointError for a file that cannot be read, for missing and unexpected tensors and
    for tensors of another shape.
    """
    state = _read(path)
    segmentation, observer = LightPyramid(), LightObserver()
    networks: dict[str, nn.Module] = {"segmentation.": segmentation, "observer.": observer}
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
            f"{path} is no checkpoint of the light ObsNet: of {len(expected)} tensors {found}. "
            "Expected what `python -m training fit` writes"
        )
    for prefix, network in networks.items():
        _fill(network, state, prefix)
    return segmentation, observer


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return bare_state_dict(read_checkpoint(path))
    except WeightsError as error:
        raise CheckpointError(f"{path} is no checkpoint of the light ObsNet: {error}") from error


def _fill(network: nn.Module, state: dict[str, Tensor], prefix: str) -> None:
    part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    network.load_state_dict(part)
    network.eval()
