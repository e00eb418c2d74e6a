"""Tiny bundles and pictures of a road for the detector's tests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tiny_bundle import (
    CLASS_COLORS,
    CLASS_NAMES,
    write_resynthesis_bundle,
    write_tiny_bundle,
)

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The tiny bundle once for each way to fit an image."""
    root = tmp_path_factory.mktemp("bundles")
    return {
        fit: Bundle.open(write_tiny_bundle(root / fit, fit=fit))
        for fit in ("squash", "letterbox", "crop")
    }


@pytest.fixture(scope="session")
def resynthesis_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The tiny bundle of three stages once for each way to fit an image."""
    root = tmp_path_factory.mktemp("resynthesis")
    return {
        fit: Bundle.open(write_resynthesis_bundle(root / fit, fit=fit))
        for fit in ("squash", "letterbox", "crop")
    }


@pytest.fixture(scope="session")
def bundle(bundles: dict[str, Bundle]) -> Bundle:
    return bundles["squash"]


@pytest.fixture
def detector(bundle: Bundle) -> Iterator[Detector]:
    with Detector(bundle, "onnxruntime", threads=1) as detector:
        yield detector


@pytest.fixture
def road() -> np.ndarray:
    """uint8 [128, 256, 3], twice the network's size: sky above row 64, road below."""
    image = np.empty((128, 256, 3), np.uint8)
    image[:64] = CLASS_COLORS[CLASS_NAMES.index("sky")]
    image[64:] = CLASS_COLORS[CLASS_NAMES.index("road")]
    return image
