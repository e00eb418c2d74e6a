"""ODIN: one step that would make the network surer, then temperature-scaled max softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.baselines.base import Baseline, Scored, labels_of
from training.segmenter import Segmenter

TEMPERATURE = 1.2  # as in the ObsNet release; Liang et al. take 1000 for image classifiers
EPSILON = 0.025  # normalised units, as in the ObsNet release for CamVid


class Odin(Baseline):
    """Score = 1 - max softmax(logits(x') / T), x' = x - eps * sign(d CE(logits(x) / T, y) / dx).

    Liang et al., ICLR 2018, eq. 2; y is the predicted class. Score float32 in 0..1 - 1/C.
    `official_bug` scores as the ObsNet release does, where y is class 0 everywhere and the step
    forgets T.
    """

    name = "odin"

    def __init__(
        self,
        temperature: float = TEMPERATURE,
        epsilon: float = EPSILON,
        *,
        official_bug: bool = False,
    ) -> None:
        super().__init__()
        self.temperature, self.epsilon = temperature, epsilon
        self.official_bug = official_bug

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        prepared = segmenter.prepare(image)
        labels = labels_of(segmenter.logits(prepared))
        target = torch.zeros_like(labels) if self.official_bug else labels
        temperature = 1.0 if self.official_bug else self.temperature
        gradient = loss_gradient(segmenter, prepared, target.long(), temperature)
        moved = segmenter.logits(prepared - self.epsilon * gradient.sign())
        return Scored(labels, 1 - (moved / self.temperature).softmax(dim=1).amax(dim=1))


def loss_gradient(
    segmenter: Segmenter, prepared: Tensor, target: Tensor, temperature: float
) -> Tensor:
    """Gradient [N, 3, H, W] of the mean cross-entropy of logits / T to target int64 [N, h, w]."""
    with torch.enable_grad():
        start = prepared.detach().clone().requires_grad_()
        loss = functional.cross_entropy(segmenter.logits(start) / temperature, target)
        (gradient,) = torch.autograd.grad(loss, start)
    return gradient
