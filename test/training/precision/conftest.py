"""The small chain, its convolutions' graph and images of classes that it tells apart."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_chain import HEIGHT, WIDTH, write_small_chain
from tiny_bundle import CLASS_COLORS

from anomaly_seg_ros.bundle import Bundle
from training.precision.graphs import prepared


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_small_chain(tmp_path_factory.mktemp("chain") / "small")


@pytest.fixture(scope="session")
def graph(chain: Bundle) -> onnx.ModelProto:
    return prepared(chain.stages[0].files[0].path)


@pytest.fixture(scope="session")
def feeds() -> list[dict[str, np.ndarray]]:
    """Blocks of class colours, the same on every run."""
    rng = np.random.default_rng(5)
    blocks = rng.integers(0, len(CLASS_COLORS), (3, HEIGHT // 16, WIDTH // 16))
    images = np.array(CLASS_COLORS, np.uint8)[blocks].repeat(16, axis=1).repeat(16, axis=2)
    return [{"image": image[None]} for image in images]
