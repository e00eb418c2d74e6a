"""Maximum softmax probability after temperature scaling."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from training.baselines.base import BaselineError
from training.baselines.labelled import rows
from training.baselines.post_hoc import FittedStage
from training.baselines.reservoir import Reservoir
from training.data.label_spaces import VOID

PIXELS = 100_000  # sampled for the fit: T is then known to a fraction of a percent
RANGE = (0.05, 20.0)  # of T: where all pixels are right, or wrong, the best T is 0 or infinite
HALVINGS = 45


class Temperature(FittedStage):
    """Score = 1 - max softmax(logits / T), T fitted on held-out labels (Guo et al., ICML 2017).

    Inputs: logits float32 [N, C, h, w]. Outputs: score float32 [N, h, w] in 0..1 - 1/C.
    """

    name = "temperature"
    inputs, outputs = ("logits",), ("score",)

    def __init__(self, temperature: float = 1.0, *, seed: int = 0) -> None:
        super().__init__()
        self.temperature: Tensor
        self.register_buffer("temperature", torch.tensor(temperature))
        self.seed = seed

    def forward(self, logits: Tensor) -> Tensor:
        return 1 - (logits / self.temperature).softmax(dim=1).amax(dim=1)

    def fit(self, frames: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set T to the minimum of the negative log likelihood over a sample of labelled pixels."""
        sample = Reservoir(PIXELS, self.seed)
        for logits, labels in frames:
            known = labels.flatten() != VOID
            classes = rows(logits)[known].double()  # [n, C]
            truth = labels.flatten()[known][:, None]
            sample.add(classes - classes.gather(1, truth))
        if not sample.rows().numel():
            raise BaselineError("temperature: no labelled pixel in the frames, all are void")
        self.temperature.fill_(best_temperature(sample.rows()))


def best_temperature(excess: Tensor) -> float:
    """T in RANGE that minimises mean ln sum_c exp(e_c / T), e = logits minus the true class's.

    excess: double [n, C]. The mean is convex in 1 / T, so its slope there changes sign once: the
    interval of 1 / T is halved towards the change.
    """
    low, high = 1 / RANGE[1], 1 / RANGE[0]
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        slope = ((excess * middle).softmax(dim=1) * excess).sum(dim=1).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return 1 / math.sqrt(low * high)
