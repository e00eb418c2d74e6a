"""Weights seeded by their keys, as the golden vectors were made, and how near numbers must come."""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from golden import ROOT
from torch import Tensor

OFTEN = 0.999  # share of pixels: near-ties of pooling move a few between builds of torch
# The same where a network pools with indices through five stages: another processor decides a
# near-tie of a deep stage otherwise, which moves a tenth of the picture.
DEEP_TIES = 0.85


@lru_cache
def seeded_weights() -> ModuleType:
    """The module that fills a state_dict from its keys; skips the test where there is none."""
    file = ROOT / "seeded_weights.py"
    if not file.is_file():
        pytest.skip("no golden vectors: set ANOMALY_SEG_PARITY to their root folder")
    spec = importlib.util.spec_from_file_location("seeded_weights", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seeds(method: str) -> dict[str, int]:
    """Salt of the weights and base seed of the images of a method's vectors."""
    return json.loads((ROOT / method / "vectors" / "set.json").read_text())


def seeded_state(method: str, manifest: str, *, salt: int = 0) -> dict[str, Tensor]:
    """Seeded weights by the keys of a manifest; salt is added to that of the set."""
    weights = seeded_weights()
    shapes = json.loads((ROOT / method / "manifests" / f"{manifest}.json").read_text())
    return weights.seeded_state_dict(shapes, seeds(method)["salt"] + salt)


def normalised(image: np.ndarray, mean: Any, std: Any) -> Tensor:
    """uint8 [H, W, 3] or [N, H, W, 3] -> float32 [N, 3, H, W]."""
    batch = image.reshape(-1, *image.shape[-3:])
    values = (batch / np.float32(255) - np.float32(mean)) / np.float32(std)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def assert_near(found: Any, golden: np.ndarray, tolerance: float) -> None:
    """Every value."""
    found = np.asarray(found)
    assert found.shape == golden.shape
    assert np.abs(found.astype(np.float64) - golden).max() <= tolerance


def assert_mostly_near(
    found: Any, golden: np.ndarray, tolerance: float = 1e-4, *, share: float = OFTEN
) -> None:
    """`share` of the values within the tolerance, and half of them within a fifth of it."""
    found = np.asarray(found)
    assert found.shape == golden.shape
    error = np.abs(found - golden.astype(np.float32))
    assert (error <= tolerance).mean() >= share
    assert np.median(error) <= tolerance / 5


def assert_mostly_equal(found: Any, golden: np.ndarray, *, share: float = OFTEN) -> None:
    assert_mostly_near(np.asarray(found, np.float32), golden, 0.0, share=share)


def assert_relatively_near(found: Any, golden: np.ndarray, tolerance: float = 1e-5) -> None:
    """For logits of any scale: errors relative to the largest one."""
    found = np.asarray(found)
    assert found.shape == golden.shape
    assert np.abs(found - golden).max() <= tolerance * np.abs(golden).max()
