"""Standardized max logit, with the boundary suppression and smoothing of its paper."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.baselines.base import BaselineError
from training.baselines.moments import ClassMoments
from training.baselines.post_hoc import FittedStage

FEWEST = 30  # pixels: a class predicted more seldom takes the statistics of all classes
LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Refinement:
    """Numbers of Jung et al. for logits at the image's full size; see `at_stride` for others.

    Around predicted class boundaries the score becomes the mean of its 3x3 neighbours off the
    boundary, with a boundary of `width` cells, then `step` fewer, until none is left. A dilated
    Gaussian smooths the result.
    """

    width: int = 8
    step: int = 2
    kernel: int = 7
    dilation: int = 6
    sigma: float = 1.0

    @staticmethod
    def at_stride(stride: int) -> Refinement:
        """The same reach in image pixels on a grid of `stride` pixels."""
        full = Refinement()
        return Refinement(
            width=max(1, full.width // stride),
            step=max(1, full.step // stride),
            dilation=max(1, round(full.dilation / stride)),
        )


class StandardizedMaxLogit(FittedStage):
    """Score = -(max logit - mean_k) / deviation_k, k the predicted class (Jung et al., ICCV 2021).

    Mean and deviation are those of the max logits that training frames get where k is predicted.
    Inputs: logits float32 [N, C, h, w]. Outputs: score float32 [N, h, w], unbounded.
    """

    name = "standardized_max_logit"
    inputs, outputs = ("logits",), ("score",)

    def __init__(self, refinement: Refinement | None = None) -> None:
        super().__init__()
        self.mean: Tensor  # [C], none before `fit`
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(0))
        self.register_buffer("deviation", torch.zeros(0))
        self.refinement = refinement

    def forward(self, logits: Tensor) -> Tensor:
        if logits.shape[1] != len(self.mean):
            raise BaselineError(
                f"{self.name} knows {len(self.mean)} classes, the logits have {logits.shape[1]}: "
                "fit it on frames of this network"
            )
        best, label = logits.max(dim=1)
        score = (self.mean[label] - best) / self.deviation[label]
        if self.refinement is None:
            return score
        return smoothed(suppressed(score, label, self.refinement), self.refinement)

    def fit(self, frames: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set mean and deviation from the predictions; labels, void included, play no part."""
        each = pooled = None
        for logits, _ in frames:
            best, label = (values.flatten() for values in logits.max(dim=1))
            each = each or ClassMoments.empty(logits.shape[1], 1, logits.device)
            pooled = pooled or ClassMoments.empty(1, 1, logits.device)
            each.update(best[:, None], label)
            pooled.update(best[:, None], torch.zeros_like(label))
        assert each is not None and pooled is not None  # no frames is an error of the stream
        seldom = each.counts < FEWEST
        self.mean = torch.where(seldom, pooled.means[:, 0], each.means[:, 0]).float()
        self.deviation = torch.where(seldom, _deviation(pooled), _deviation(each)).float()


def suppressed(score: Tensor, label: Tensor, refinement: Refinement) -> Tensor:
    """Score [N, h, w] with cells near class boundaries replaced by neighbours off the boundary.

    A cell is on a boundary of width r when another class is within r steps to the side, up or down.
    """
    border = _borders(label)
    for width in range(refinement.width, 0, -refinement.step):
        boundary = border
        for _ in range(width - 1):
            boundary = torch.maximum(
                functional.max_pool2d(boundary, (1, 3), stride=1, padding=(0, 1)),
                functional.max_pool2d(boundary, (3, 1), stride=1, padding=(1, 0)),
            )
        off = 1 - boundary
        share = functional.avg_pool2d(off, 3, stride=1, padding=1)
        total = functional.avg_pool2d(score * off, 3, stride=1, padding=1)
        reached = (boundary > 0) & (share > 0)
        score = torch.where(reached, total / share.clamp(min=0.01), score)
    return score


def smoothed(score: Tensor, refinement: Refinement) -> Tensor:
    """Score [N, h, w] under a dilated Gaussian of sum 1; edges repeat their last value."""
    half = refinement.kernel // 2
    offsets = torch.arange(-half, half + 1, dtype=score.dtype, device=score.device)
    weights = torch.exp(-offsets.square() / (2 * math.pow(refinement.sigma, 2)))
    weights = weights / weights.sum()
    reach, dilation = half * refinement.dilation, refinement.dilation
    wide = functional.pad(score[:, None], (reach,) * 4, mode="replicate")
    rows = functional.conv2d(wide, weights[None, None, None], dilation=dilation)
    return functional.conv2d(rows, weights[None, None, :, None], dilation=dilation)[:, 0]


def _deviation(moments: ClassMoments) -> Tensor:
    variance = moments.squares[:, 0] / moments.counts.clamp(min=1)
    return variance.sqrt().clamp(min=LEAST_DEVIATION)


def _borders(label: Tensor) -> Tensor:
    """1 where a neighbour to the side, above or below has another class; float32 [N, h, w]."""
    beside = (label[:, :, 1:] != label[:, :, :-1]).float()
    below = (label[:, 1:] != label[:, :-1]).float()
    return torch.maximum(
        torch.maximum(functional.pad(beside, (0, 1)), functional.pad(beside, (1, 0))),
        torch.maximum(functional.pad(below, (0, 0, 0, 1)), functional.pad(below, (0, 0, 1, 0))),
    )
