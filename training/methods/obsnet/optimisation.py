"""Optimisers and the course of the learning rate, counted in epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from anomaly_seg_ros.errors import AnomalySegError

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
COURSES = ("steps", "cosine")


@dataclass(frozen=True)
class Optimisation:
    """kind: a name of OPTIMISERS. course: `steps` multiplies the rate by `decay` at each epoch of
    `milestones` (none: it stays), `cosine` brings it to zero. warmup: epochs of linear rise."""

    kind: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    course: str = "steps"
    milestones: tuple[int, ...] = ()
    decay: float = 0.2
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in OPTIMISERS or self.course not in COURSES:
            raise AnomalySegError(
                f"optimisation {self.kind!r} with course {self.course!r}; expected one of "
                f"{', '.join(OPTIMISERS)} with one of {', '.join(COURSES)}"
            )

    def share(self, epoch: float, epochs: int) -> float:
        """Of the learning rate at a time in epochs, of `epochs` in all."""
        if epoch < self.warmup:
            return (epoch + 1e-2) / (self.warmup + 1e-2)
        if self.course == "steps":
            return self.decay ** sum(epoch >= milestone for milestone in self.milestones)
        progress = min(1.0, (epoch - self.warmup) / max(1e-6, epochs - self.warmup))
        return 0.5 * (1 + math.cos(math.pi * progress))


def optimisers(
    parameters: Iterable[nn.Parameter], settings: Optimisation, *, epochs: int, steps: int
) -> OptimizerLRScheduler:
    """For Lightning. steps: of one epoch."""
    optimiser = OPTIMISERS[settings.kind](
        parameters,
        lr=settings.learning_rate,  # type: ignore[call-arg]
        weight_decay=settings.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: settings.share(step / steps, epochs)
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
