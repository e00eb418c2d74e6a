"""Gaussian noise on the weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from training.baselines.base import Baseline, Scored, labels_of
from training.baselines.samples import Measure, Samples, predictive_entropy
from training.segmenter import Segmenter, logits_of

PASSES = 50  # ObsNet
DEVIATION = 0.002  # ObsNet


class GaussianPerturbation(Baseline):
    """Entropy of the mean softmax over passes with every parameter + N(0, deviation^2).

    As ObsNet compares with (after Franchi et al., ECCV 2020); buffers stay. The labels are those of
    the plain pass. The network's own weights are never written: the passes run on copies. Same
    seed, same noise for every frame.
    """

    name = "gaussian_perturbation"

    def __init__(
        self,
        passes: int = PASSES,
        deviation: float = DEVIATION,
        *,
        measure: Measure = predictive_entropy,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.passes, self.deviation = passes, deviation
        self.measure, self.seed = measure, seed

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        prepared = segmenter.prepare(image)
        plain = segmenter.logits(prepared)
        samples = Samples.like(plain)
        generator = torch.Generator(prepared.device).manual_seed(self.seed)
        for _ in range(self.passes):
            noisy = {
                name: value
                + self.deviation
                * torch.randn(
                    value.shape, generator=generator, dtype=value.dtype, device=value.device
                )
                for name, value in segmenter.network.named_parameters()
            }
            samples.add(logits_of(functional_call(segmenter.network, noisy, (prepared,))))
        return Scored(labels_of(plain), self.measure(samples))
