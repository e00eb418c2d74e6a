"""Maximum logit."""

from __future__ import annotations

from torch import Tensor

from training.stage import Stage


class MaxLogit(Stage):
    """Score = minus the largest class logit (Hendrycks et al., ICML 2022, eq. 1).

    With a cosine classifier, whose logits are s * cos, this orders pixels as 1 - (max cos + 1) / 2
    does (Fontanel et al., CVPR Workshops 2021).
    Inputs: logits float32 [N, C, h, w]. Outputs: score float32 [N, h, w], unbounded.
    """

    name = "max_logit"
    inputs, outputs = ("logits",), ("score",)

    def forward(self, logits: Tensor) -> Tensor:
        return -logits.amax(dim=1)
