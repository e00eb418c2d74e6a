"""Probability of a class that was trained on void pixels."""

from __future__ import annotations

from torch import Tensor

from training.stage import Stage


class VoidClassifier(Stage):
    """Score = softmax probability of the void class (Blum et al., IJCV 2021).

    The ObsNet release ranks by the raw logit of that class instead, which is no probability.
    Inputs: logits float32 [N, C, h, w]. Outputs: score float32 [N, h, w] in 0..1.
    """

    name = "void_classifier"
    inputs, outputs = ("logits",), ("score",)

    def __init__(self, void_class: int) -> None:
        super().__init__()
        self.void_class = void_class

    def forward(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1)[:, self.void_class]
