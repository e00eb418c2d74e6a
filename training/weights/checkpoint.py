"""Read a checkpoint file, and find the state_dict in it."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomaly_seg_ros.errors import AnomalySegError
from training.weights.numpy_numbers import STAND_INS

WRAPPERS = ("state_dict", "model_state", "weights")  # keys under which projects keep a state_dict
# What torch.load raises for pickled objects, for foreign files and for damaged ones.
UNREADABLE = (
    *(pickle.UnpicklingError, struct.error, OSError, EOFError, RuntimeError, ValueError),
    *(LookupError, TypeError, AttributeError, AssertionError, ArithmeticError),
)
PARALLEL = "module."  # what DataParallel puts before each key


class WeightsError(AnomalySegError):
    """A checkpoint that cannot be read, or that does not fit its network."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint file holds, on the CPU: a state_dict, bare or in a wrapper `build` knows.

    Only tensors, plain values and NumPy's numbers are read; nothing of the file is executed. Raises
    WeightsError for a file that is missing, is none of torch's, or holds objects of other kinds.
    """
    if not path.is_file():
        raise WeightsError(f"{path} is no file: expected a checkpoint written by torch.save")
    try:
        with torch.serialization.safe_globals(list(STAND_INS)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{path} cannot be read as tensors ({reason[0]}): expected a state_dict written by "
            "torch.save. Python objects in a checkpoint are refused, since loading them runs code: "
            "where you trust the file, save network.state_dict() alone and give that"
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}; expected a state_dict written by torch.save"
        )
    return content


def bare_state_dict(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state_dict in `content`, out of its wrapper and without `module.` before its keys.

    Raises WeightsError where there are no tensors under the keys.
    """
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    foreign = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if foreign or not content:
        raise WeightsError(
            f"no state_dict: found {listed(foreign) if foreign else 'nothing'}, expected tensors "
            f"by key, bare or under one of {', '.join(WRAPPERS)}"
        )
    return {str(key).removeprefix(PARALLEL): value for key, value in content.items()}


def listed(items: list[str], most: int = 6) -> str:
    """The first few items, and how many more there are."""
    rest = len(items) - most
    return ", ".join(map(str, items[:most])) + (f" and {rest} more" if rest > 0 else "")


def rows(state: Mapping[str, Tensor], key: str, usual: int) -> int:
    """Output channels of the layer with the weight `key`; the usual number where it is absent."""
    tensor = state.get(key)
    return usual if tensor is None or tensor.ndim == 0 else tensor.shape[0]
