"""Maximum softmax probability."""

from __future__ import annotations

from torch import Tensor

from training.stage import Stage


class MaxSoftmax(Stage):
    """Score = 1 - the largest class probability (Hendrycks and Gimpel, ICLR 2017).

    Inputs: logits float32 [N, C, h, w]. Outputs: score float32 [N, h, w] in 0..1 - 1/C.
    """

    name = "max_softmax"
    inputs, outputs = ("logits",), ("score",)

    def forward(self, logits: Tensor) -> Tensor:
        return 1 - logits.softmax(dim=1).amax(dim=1)
