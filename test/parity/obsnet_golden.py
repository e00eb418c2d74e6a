"""Seeded networks of ObsNet's published kinds, and how near they must come to the official numbers.

Every network goes through the door of the published checkpoints, `training.weights.build`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from golden import ROOT
from torch import Tensor, nn

from training.methods.obsnet.published import Trained
from training.weights import build

FOLDER = ROOT / "obsnet"
SEGNET, OBSERVER = "segnet_camvid", "obsnet_segnet"
DEEPLAB = "deeplabv3plus_r101_os16"
OFTEN = 0.999  # share of pixels: near-ties of pooling move a few between builds of torch

TRUNKS = ["seresnext50", "seresnext101", "resnet50"]

Golden = Mapping[str, np.ndarray]


@lru_cache
def seeded_weights() -> ModuleType:
    file = ROOT / "seeded_weights.py"
    if not file.is_file():
        pytest.skip("no golden vectors: set ANOMALY_SEG_PARITY to their root folder")
    spec = importlib.util.spec_from_file_location("seeded_weights", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seeds() -> dict[str, int]:
    return json.loads((FOLDER / "vectors" / "set.json").read_text())


def state_dict(manifest: str, *, variance: float = 1.0, salt: int = 0) -> dict[str, Tensor]:
    """Seeded weights; salt is added to that of the set, variance multiplies each running one."""
    weights = seeded_weights()
    shapes = json.loads((FOLDER / "manifests" / f"{manifest}.json").read_text())
    state = weights.seeded_state_dict(shapes, seeds()["salt"] + salt)
    return {k: v * variance if k.endswith("running_var") else v for k, v in state.items()}


def network(manifest: str, *, variance: float = 1.0, salt: int = 0) -> nn.Module:
    return build(f"obsnet/{manifest}", state_dict(manifest, variance=variance, salt=salt))


@lru_cache
def segnet_pair() -> tuple[nn.Module, nn.Module]:
    return network(SEGNET), network(OBSERVER)


def plain(prefix: str) -> Golden:
    """The file without a `_var4` twin's name."""
    seeded_weights()
    return np.load(sorted((FOLDER / "vectors").glob(f"{prefix}*.npz"))[0])


def normalised(image: np.ndarray, trained: Trained) -> Tensor:
    """uint8 [H, W, 3] or [N, H, W, 3] -> float32 [N, 3, H, W]."""
    batch = image.reshape(-1, *image.shape[-3:])
    mean, std = (np.array(values, np.float32) for values in (trained.mean, trained.std))
    values = (batch / np.float32(255) - mean) / std
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def levels(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    """0..1 -> 0..255."""
    red, green, blue = shares
    return 255 * red, 255 * green, 255 * blue


def assert_mostly_near(found: Any, golden: np.ndarray, tolerance: float = 1e-4) -> None:
    found = np.asarray(found)
    assert found.shape == golden.shape
    assert (np.abs(found - golden.astype(np.float32)) <= tolerance).mean() >= OFTEN


def assert_mostly_equal(found: Any, golden: np.ndarray) -> None:
    assert_mostly_near(np.asarray(found, np.float32), golden, 0.0)


def assert_relatively_near(found: Any, golden: np.ndarray, tolerance: float = 1e-5) -> None:
    """For logits of any scale: errors relative to the largest one."""
    found = np.asarray(found)
    assert found.shape == golden.shape
    assert np.abs(found - golden).max() <= tolerance * np.abs(golden).max()


def assert_sample(found: Tensor, golden: Golden, name: str) -> None:
    """Shape, every n-th value, mean and standard deviation of a feature map."""
    values = found.numpy()
    assert list(values.shape) == golden[f"{name}_shape"].tolist()
    sample = golden[f"{name}_sample"]
    scale = max(1.0, float(np.abs(sample).max()))
    assert_mostly_near(values.ravel()[:: golden[f"{name}_step"]] / scale, sample / scale, 2e-5)
    assert values.mean(dtype=np.float64) == pytest.approx(
        float(golden[f"{name}_mean"]), abs=1e-4 * scale
    )
    assert values.std(dtype=np.float64) == pytest.approx(
        float(golden[f"{name}_std"]), abs=1e-4 * scale
    )
