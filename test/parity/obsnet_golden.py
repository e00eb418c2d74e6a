"""Seeded networks of ObsNet's published kinds, and how near they must come to the official numbers.

Every network goes through the door of the published checkpoints, `training.weights.build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pytest
import seeded
from golden import ROOT
from seeded import DEEP_TIES as DEEP_TIES
from seeded import assert_mostly_equal as assert_mostly_equal
from seeded import assert_mostly_near as assert_mostly_near
from seeded import assert_relatively_near as assert_relatively_near
from torch import Tensor, nn

from training.methods.obsnet.published import Trained
from training.weights import build

FOLDER = ROOT / "obsnet"
SEGNET, OBSERVER = "segnet_camvid", "obsnet_segnet"
DEEPLAB = "deeplabv3plus_r101_os16"

TRUNKS = ["seresnext50", "seresnext101", "resnet50"]

Golden = Mapping[str, np.ndarray]


def seeds() -> dict[str, int]:
    return seeded.seeds("obsnet")


def state_dict(manifest: str, *, variance: float = 1.0, salt: int = 0) -> dict[str, Tensor]:
    """Seeded weights; salt is added to that of the set, variance multiplies each running one."""
    state = seeded.seeded_state("obsnet", manifest, salt=salt)
    return {k: v * variance if k.endswith("running_var") else v for k, v in state.items()}


def network(manifest: str, *, variance: float = 1.0, salt: int = 0) -> nn.Module:
    return build(f"obsnet/{manifest}", state_dict(manifest, variance=variance, salt=salt))


@lru_cache
def segnet_pair() -> tuple[nn.Module, nn.Module]:
    return network(SEGNET), network(OBSERVER)


def plain(prefix: str) -> Golden:
    """The file without a `_var4` twin's name."""
    seeded.seeded_weights()
    return np.load(sorted((FOLDER / "vectors").glob(f"{prefix}*.npz"))[0])


def normalised(image: np.ndarray, trained: Trained) -> Tensor:
    """uint8 [H, W, 3] or [N, H, W, 3] -> float32 [N, 3, H, W]."""
    return seeded.normalised(image, trained.mean, trained.std)


def levels(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    """0..1 -> 0..255."""
    red, green, blue = shares
    return 255 * red, 255 * green, 255 * blue


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
