"""Networks of a few convolutions, frames for them, and the formulas tests compare with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.segmenter import Segmenter

CLASSES = 5
SIZE = (16, 24)  # of the frames; the logits have half of it
DEFAULT_ROOT = Path(__file__).resolve().parents[3].parent / "shared" / "parity"
ROOT = Path(os.environ.get("ANOMALY_SEG_PARITY") or DEFAULT_ROOT)


class TinyNetwork(nn.Module):
    """Image [N, 3, H, W] -> logits [N, C, H / 2, W / 2], features [N, 6, H / 2, W / 2].

    Smooth, so that finite differences hold.
    """

    def __init__(self, classes: int = CLASSES, rate: float = 0.3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.channels = nn.Dropout2d(rate)
        self.body = nn.Conv2d(6, 6, 3, padding=1)
        self.cells = nn.Dropout(rate)
        self.head = nn.Conv2d(6, classes, 1)
        nn.init.uniform_(self.norm.get_buffer("running_mean"), -0.2, 0.2)
        nn.init.uniform_(self.norm.get_buffer("running_var"), 0.1, 0.3)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        early = self.channels(torch.tanh(self.norm(self.stem(image))))
        features = torch.tanh(self.body(early))
        return 4 * self.head(self.cells(features)), features


class FixedAnswer(nn.Module):
    """Answers every image with the same logits."""

    def __init__(self, logits: np.ndarray) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.from_numpy(logits))

    def forward(self, image: Tensor) -> Tensor:
        return self.answer.expand(len(image), -1, -1, -1)


def tiny_segmenter(
    seed: int = 0, *, classes: int = CLASSES, rate: float = 0.3, void_class: int | None = None
) -> Segmenter:
    torch.manual_seed(seed)
    return segmenter_of(TinyNetwork(classes, rate).eval(), void_class=void_class, feature_index=1)


def network_of(segmenter: Segmenter) -> TinyNetwork:
    assert isinstance(segmenter.network, TinyNetwork)
    return segmenter.network


def segmenter_of(
    network: nn.Module, *, void_class: int | None = None, feature_index: int | None = None
) -> Segmenter:
    return Segmenter(
        network,
        (127.0, 120.0, 110.0),
        (128.0, 60.0, 50.0),
        multiple=2,
        void_class=void_class,
        feature_index=feature_index,
    )


def images(count: int = 3, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, *SIZE, 3), np.uint8))


def labelled_frames(count: int = 4, seed: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames whose labels hold every class and void."""
    rng = np.random.default_rng(seed)
    ids = np.array([*range(CLASSES), 255], np.uint8)
    return [
        (rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.choice(ids, SIZE)) for _ in range(count)
    ]


def centre_labels(label: np.ndarray) -> np.ndarray:
    """Nearest label of each 2x2 cell: centres of cells fall on corners, the later pixel counts."""
    return label[1::2, 1::2]


def outputs(segmenter: Segmenter, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits [h * w, C] and features [h * w, D] of one frame, double."""
    with torch.no_grad():
        made = segmenter.network(segmenter.prepare(torch.from_numpy(image)[None]))
    return tuple(m[0].double().flatten(1).T.numpy() for m in made)


def softmax(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def entropy(probabilities: np.ndarray, axis: int = 1) -> np.ndarray:
    """Entropy over `axis` / ln C."""
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logarithms).sum(axis=axis) / np.log(probabilities.shape[axis])


def vectors(method: str, name: str) -> Mapping[str, np.ndarray]:
    file = ROOT / method / "vectors" / f"{name}.npz"
    if not file.is_file():
        pytest.skip("no golden vectors: set ANOMALY_SEG_PARITY to their root folder")
    return np.load(file)
