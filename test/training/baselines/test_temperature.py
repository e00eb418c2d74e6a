"""The fitted temperature is where the likelihood of the labels is highest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny_segmenters import centre_labels, labelled_frames, outputs, softmax, tiny_segmenter

from training.baselines.base import BaselineError
from training.baselines.post_hoc import PostHoc
from training.baselines.temperature import RANGE, Temperature


def chunk(logits: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [n, C] and labels [n] as one frame of height 1."""
    cells = torch.from_numpy(np.asarray(logits, np.float32)).T[None, :, None]
    return cells, torch.from_numpy(np.asarray(labels, np.int64))[None, None]


def likelihood_loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    probabilities = softmax(logits / temperature)
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def drawn(temperature: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(0)
    logits = 4 * rng.standard_normal((count, 4))
    shares = softmax(logits / temperature).cumsum(axis=1)
    return logits, (shares < rng.random((count, 1))).sum(axis=1).clip(max=3)


def fitted(*chunks: tuple[torch.Tensor, torch.Tensor]) -> float:
    stage = Temperature()
    stage.fit(chunks)
    return float(stage.temperature)


@pytest.mark.parametrize("true", [0.6, 2.5])
def test_the_temperature_of_the_labels_is_found(true: float) -> None:
    logits, labels = drawn(true)
    found = fitted(chunk(logits, labels))
    assert found == pytest.approx(true, rel=0.06)
    best = likelihood_loss(logits, labels, found)
    for near in (0.999 * found, 1.001 * found):
        assert likelihood_loss(logits, labels, near) > best


def test_chunks_give_what_all_pixels_at_once_give() -> None:
    logits, labels = drawn(1.5)
    whole = fitted(chunk(logits, labels))
    cuts = [0, 7, 1000, 1001, 4000]
    parts = [chunk(logits[a:b], labels[a:b]) for a, b in pairwise(cuts)]
    assert fitted(*parts) == whole


def test_void_pixels_do_not_count() -> None:
    logits, labels = drawn(1.5)
    void = np.full(500, 255)
    strange = 30 * np.ones((500, 4)) * np.arange(4)
    assert fitted(chunk(logits, labels), chunk(strange, void)) == fitted(chunk(logits, labels))


def test_a_network_that_is_always_right_gets_the_lowest_temperature() -> None:
    logits = 9 * np.eye(4)
    assert fitted(chunk(logits, np.arange(4))) == pytest.approx(RANGE[0])
    assert fitted(chunk(logits, np.roll(np.arange(4), 1))) == pytest.approx(RANGE[1])


def test_huge_logits_do_not_break_the_fit() -> None:
    logits, labels = drawn(1.0)
    assert RANGE[0] <= fitted(chunk(1e30 * logits, labels)) <= RANGE[1] * (1 + 1e-6)


def test_frames_of_void_alone_are_refused() -> None:
    with pytest.raises(BaselineError, match="all are void"):
        fitted(chunk(np.zeros((3, 4)), np.full(3, 255)))


def test_labels_are_read_at_the_cells_of_the_logits() -> None:
    segmenter, frames = tiny_segmenter(), labelled_frames()
    baseline = PostHoc(Temperature())
    baseline.fit(segmenter, frames)
    logits = np.concatenate([outputs(segmenter, image)[0] for image, _ in frames])
    labels = np.concatenate([centre_labels(label).ravel() for _, label in frames])
    known = labels != 255
    expected = fitted(chunk(logits[known], labels[known]))
    assert float(baseline.state_dict()["temperature"]) == pytest.approx(expected, rel=1e-5)
