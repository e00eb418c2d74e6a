"""What several answers of networks to one image say together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.baselines.entropy import entropy_of_log

LEAST_PROBABILITY = 1e-9  # SynthCP's


@dataclass
class Samples:
    """Running means over logits float32 [N, C, h, w]: memory does not grow with their number."""

    count: int
    logits: Tensor  # mean logits [N, C, h, w]
    probabilities: Tensor  # mean softmax [N, C, h, w]
    squares: Tensor  # sum of squared deviations from the mean softmax [N, C, h, w]
    entropy: Tensor  # mean of the answers' entropies / ln C [N, h, w]

    @staticmethod
    def like(logits: Tensor) -> Samples:
        """No answer yet, for answers of this shape."""
        zero = torch.zeros_like(logits)
        return Samples(0, zero, zero.clone(), zero.clone(), zero[:, 0].clone())

    def add(self, logits: Tensor) -> None:
        """Count one answer [N, C, h, w]."""
        self.count += 1
        logarithms = logits.log_softmax(dim=1)
        shift = logarithms.exp() - self.probabilities
        self.probabilities += shift / self.count
        self.squares += shift * (logarithms.exp() - self.probabilities)
        self.logits += (logits - self.logits) / self.count
        self.entropy += (entropy_of_log(logarithms) - self.entropy) / self.count


Measure = Callable[[Samples], Tensor]


def predictive_entropy(samples: Samples) -> Tensor:
    """Entropy of the mean softmax / ln C, float32 [N, h, w] in 0..1."""
    return entropy_of_log(samples.probabilities.log())


def mutual_information(samples: Samples) -> Tensor:
    """Entropy of the mean minus mean of the entropies, / ln C: what the answers disagree about.

    Float32 [N, h, w] in 0..1 (Gal, 2016, section 3.3.1).
    """
    return (predictive_entropy(samples) - samples.entropy).clamp(min=0)


def class_variance(samples: Samples) -> Tensor:
    """Sum over the classes of the unbiased softmax variance (Lis et al., ICCV 2019).

    Float32 [N, h, w], at least two samples; at most n / (n - 1) for n of them.
    """
    return samples.squares.sum(dim=1) / (samples.count - 1)


def entropy_of_mean_logits(samples: Samples) -> Tensor:
    """Entropy of softmax(mean logits) / ln C as SynthCP has it, float32 [N, h, w] in 0..1."""
    probabilities = samples.logits.softmax(dim=1)
    logarithms = (probabilities + LEAST_PROBABILITY).log()
    return -(probabilities * logarithms).sum(dim=1) / math.log(probabilities.shape[1])


def class_confidence(samples: Samples) -> Tensor:
    """Image-level confidence in each class, float32 [N, C] at most 0 (SynthCP, section 4.1).

    Spatial mean of p ln p + q ln q, q = 1 - p, of the softmax of the mean logits.
    """
    probabilities = samples.logits.softmax(dim=1)
    others = 1 - probabilities
    terms = [p * (p + LEAST_PROBABILITY).log() for p in (probabilities, others)]
    return (terms[0] + terms[1]).mean(dim=(2, 3))
