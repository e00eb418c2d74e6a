"""Softmax over the channels, written for engines."""

from __future__ import annotations

from torch import Tensor


def channel_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """logits [N, C, h, w] -> probabilities of the same shape, and the largest [N, 1, h, w].

    ONNX Runtime transposes for a Softmax over an inner axis and back, which takes longer than the
    arithmetic; reductions and elementwise operators need no transposition, and the largest
    probability falls out: exp(0) / sum.
    """
    exponentials = (logits - logits.amax(dim=1, keepdim=True)).exp()
    total = exponentials.sum(dim=1, keepdim=True)
    return exponentials / total, total.reciprocal()
