"""Noise on the weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_segmenters import TinyNetwork, entropy, images, segmenter_of, softmax, tiny_segmenter

from training.baselines.gaussian_perturbation import GaussianPerturbation


def test_the_score_is_the_entropy_of_the_mean_over_noisy_networks() -> None:
    segmenter, passes, deviation = tiny_segmenter(), 5, 0.05
    generator = torch.Generator().manual_seed(2)
    prepared = segmenter.prepare(images(1)).double()
    answers = []
    for _ in range(passes):
        noisy = copy.deepcopy(segmenter.network).double()
        with torch.no_grad():
            for weight in noisy.parameters():
                weight.add_(deviation * torch.randn(weight.shape, generator=generator).double())
            answers.append(noisy(prepared)[0].numpy())
    mean = softmax(np.stack(answers), axis=2).mean(axis=0)
    scored = GaussianPerturbation(passes, deviation, seed=2).score(segmenter, images(1))
    np.testing.assert_allclose(scored.score.numpy(), entropy(mean), atol=1e-5)
    plain = segmenter.logits(segmenter.prepare(images(1)))
    assert torch.equal(scored.labels.long(), plain.argmax(dim=1))


def test_weights_come_back_bit_by_bit() -> None:
    segmenter = tiny_segmenter()
    before = {key: value.clone() for key, value in segmenter.network.state_dict().items()}
    places = {name: weight.data_ptr() for name, weight in segmenter.network.named_parameters()}
    GaussianPerturbation(3).score(segmenter, images())
    for key, value in segmenter.network.state_dict().items():
        assert value.numpy().tobytes() == before[key].numpy().tobytes()
    for name, weight in segmenter.network.named_parameters():
        assert weight.data_ptr() == places[name]


def test_weights_come_back_when_a_pass_fails() -> None:
    class Tired(TinyNetwork):
        passes = 0

        def forward(self, image):
            self.passes += 1
            if self.passes == 3:
                raise MemoryError("third pass")
            return super().forward(image)

    segmenter = segmenter_of(Tired())
    before = {key: value.clone() for key, value in segmenter.network.state_dict().items()}
    with pytest.raises(MemoryError):
        GaussianPerturbation(5).score(segmenter, images(1))
    for key, value in segmenter.network.state_dict().items():
        assert torch.equal(value, before[key])


def test_scores_depend_on_the_seed_alone() -> None:
    segmenter = tiny_segmenter()
    first, again, other = (
        GaussianPerturbation(3, 0.1, seed=seed).score(segmenter, images()).score
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
