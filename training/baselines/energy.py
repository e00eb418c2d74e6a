"""Free energy."""

from __future__ import annotations

from torch import Tensor

from training.stage import Stage


class Energy(Stage):
    """Score = -T ln sum_c exp(logit_c / T) (Liu et al., NeurIPS 2020, eq. 4).

    Inputs: logits float32 [N, C, h, w]. Outputs: score float32 [N, h, w], unbounded.
    """

    name = "energy"
    inputs, outputs = ("logits",), ("score",)

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: Tensor) -> Tensor:
        return -self.temperature * (logits / self.temperature).logsumexp(dim=1)
