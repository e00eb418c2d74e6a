"""Softmax entropy."""

from __future__ import annotations

import math

from torch import Tensor

from training.stage import Stage

LEAST_LOG = -200.0  # exp of it is 0 in float32, and 0 * LEAST_LOG is 0 where 0 * -inf is NaN


class Entropy(Stage):
    """Score = -sum_c p_c ln p_c / ln C, the entropy of the class probabilities.

    Inputs: logits float32 [N, C, h, w]. Outputs: score float32 [N, h, w] in 0..1.
    """

    name = "entropy"
    inputs, outputs = ("logits",), ("score",)

    def forward(self, logits: Tensor) -> Tensor:
        return entropy_of_log(logits.log_softmax(dim=1))


def entropy_of_log(log_probabilities: Tensor) -> Tensor:
    """Entropy over dim 1 divided by ln C, in 0..1; probabilities of 0 count as 0."""
    finite = log_probabilities.clamp(min=LEAST_LOG)
    return -(finite.exp() * finite).sum(dim=1) / math.log(log_probabilities.shape[1])
