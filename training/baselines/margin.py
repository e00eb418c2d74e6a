"""Distance of the two most likely classes."""

from __future__ import annotations

from torch import Tensor

from training.stage import Stage


class Margin(Stage):
    """Score = 1 - (p1 - p2), p1 and p2 the two largest class probabilities (as in SynBoost).

    Inputs: logits float32 [N, C, h, w], C at least 2. Outputs: score float32 [N, h, w] in 0..1.
    """

    name = "margin"
    inputs, outputs = ("logits",), ("score",)

    def forward(self, logits: Tensor) -> Tensor:
        first, second = logits.softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
        return 1 - (first - second)
