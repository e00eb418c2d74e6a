"""ODIN: the gradient, the step and the score."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_segmenters import CLASSES, images, network_of, segmenter_of, softmax, tiny_segmenter

from training.baselines.odin import Odin, loss_gradient


def double_logits(segmenter, prepared: np.ndarray) -> np.ndarray:
    network = copy.deepcopy(segmenter.network).double()
    with torch.no_grad():
        return network(torch.from_numpy(prepared))[0].numpy()


def cross_entropy(logits: np.ndarray, target: np.ndarray, temperature: float) -> float:
    chosen = np.take_along_axis(softmax(logits / temperature), target[:, None], axis=1)
    return float(-np.log(chosen).mean())


def test_the_gradient_agrees_with_finite_differences() -> None:
    plain = tiny_segmenter()
    segmenter = segmenter_of(copy.deepcopy(plain.network).double())
    prepared = plain.prepare(images(1)).double()
    target = double_logits(plain, prepared.numpy()).argmax(axis=1)
    gradient = loss_gradient(segmenter, prepared, torch.from_numpy(target), 1.2)
    rng = np.random.default_rng(0)
    for place in zip(*(rng.integers(0, side, 25) for side in prepared.shape), strict=True):
        values = []
        for step in (1e-5, -1e-5):
            moved = prepared.numpy().copy()
            moved[place] += step
            values.append(cross_entropy(double_logits(plain, moved), target, 1.2))
        numeric = (values[0] - values[1]) / 2e-5
        assert float(gradient[place]) == pytest.approx(numeric, rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("official_bug", [False, True])
def test_the_score_is_that_of_the_moved_image(official_bug: bool) -> None:
    plain, temperature, epsilon = tiny_segmenter(), 1.5, 0.05
    prepared = plain.prepare(images(1)).double()
    before = double_logits(plain, prepared.numpy())
    target = np.zeros_like(before.argmax(axis=1)) if official_bug else before.argmax(axis=1)
    double = segmenter_of(copy.deepcopy(plain.network).double())
    step_temperature = 1.0 if official_bug else temperature
    gradient = loss_gradient(double, prepared, torch.from_numpy(target), step_temperature).numpy()
    after = double_logits(plain, prepared.numpy() - epsilon * np.sign(gradient))
    expected = 1 - softmax(after / temperature).max(axis=1)
    scored = Odin(temperature, epsilon, official_bug=official_bug).score(plain, images(1))
    np.testing.assert_array_equal(scored.labels.numpy(), before.argmax(axis=1))
    np.testing.assert_allclose(scored.score.numpy(), expected, atol=2e-5)


def test_without_a_step_the_score_is_the_scaled_max_softmax() -> None:
    segmenter = tiny_segmenter()
    logits = segmenter.logits(segmenter.prepare(images())).detach().numpy()
    score = Odin(2.0, epsilon=0.0).score(segmenter, images()).score
    np.testing.assert_allclose(score.numpy(), 1 - softmax(logits / 2).max(axis=1), atol=1e-6)


def test_the_step_makes_the_network_surer_of_its_classes() -> None:
    segmenter = tiny_segmenter()
    still, moved = (Odin(1.0, step).score(segmenter, images()).score for step in (0.0, 0.01))
    assert moved.mean() < still.mean()


def test_the_network_keeps_no_gradient_and_inference_mode_is_no_hindrance() -> None:
    segmenter = tiny_segmenter()
    expected = Odin().score(segmenter, images()).score
    with torch.inference_mode():
        inside = Odin().score(segmenter, images()).score
    assert torch.equal(inside, expected)
    assert all(p.grad is None and p.requires_grad for p in segmenter.network.parameters())
    assert not expected.requires_grad


def test_huge_logits_give_finite_scores() -> None:
    segmenter = tiny_segmenter()
    torch.nn.init.constant_(network_of(segmenter).head.weight, 1e30)
    score = Odin().score(segmenter, images()).score
    assert score.isfinite().all() and score.max() <= 1 - 1 / CLASSES + 1e-6
