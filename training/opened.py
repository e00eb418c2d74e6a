"""What every kind of checkpoint that `python -m training fit` writes is opened with, and into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from anomaly_seg_ros.errors import AnomalySegError
from training.segmenter import Segmenter
from training.stage import Stage
from training.weights import WeightsError
from training.weights.checkpoint import bare_state_dict

NAMED = 3  # keys that a message names of each kind


class CheckpointError(AnomalySegError):
    """A checkpoint file that is missing, damaged or of another network."""


@dataclass(frozen=True, eq=False)
class Opened:
    """The networks of a checkpoint, in evaluation mode on the CPU.

    size: rows and columns that images are brought to. segmenter: None where no classes are
    predicted. stages: the chain image -> score, with labels where there are classes; none where
    the checkpoint has no score of its own. lacks: what to say where one of both is missing.
    """

    size: tuple[int, int]
    segmenter: Segmenter | None = None
    stages: tuple[Stage, ...] = ()
    lacks: str = ""


def fill(
    path: Path, content: Mapping[str, Any], networks: Mapping[str, nn.Module], what: str
) -> None:
    """Give the networks, by the prefix of their keys, the tensors of a checkpoint, strictly.

    They come out in evaluation mode. Raises CheckpointError naming the tensors that do not fit.
    """
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
        network.load_state_dict(part(state, prefix))
        network.eval()


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """What has the prefix, without it."""
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
