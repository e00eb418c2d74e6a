"""Running means and deviations per class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class ClassMoments:
    """Counts, means and squared deviations of D values per class, double precision.

    Merged chunk by chunk (Chan et al., 1979), so that large means cost no digits.
    """

    counts: Tensor  # [C]
    means: Tensor  # [C, D]
    squares: Tensor  # [C, D] sums of squared deviations from the class mean
    products: Tensor  # [D, D] sums of products of deviations, over all classes

    @staticmethod
    def empty(classes: int, values: int, device: torch.device) -> ClassMoments:
        """No rows yet."""
        shapes = ((classes,), (classes, values), (classes, values), (values, values))
        return ClassMoments(*(torch.zeros(s, dtype=torch.double, device=device) for s in shapes))

    def update(self, rows: Tensor, classes: Tensor) -> None:
        """Count rows [n, D] of classes int64 [n]."""
        rows = rows.double()
        member = functional.one_hot(classes, len(self.counts)).double()  # [n, C]
        counts = member.sum(dim=0)
        means = member.T @ rows / counts.clamp(min=1)[:, None]
        deviations = rows - means[classes]
        total = (self.counts + counts).clamp(min=1)
        shift = means - self.means
        between = (self.counts * counts / total)[:, None] * shift
        self.squares += member.T @ deviations.square() + between * shift
        self.products += deviations.T @ deviations + between.T @ shift
        self.means += shift * (counts / total)[:, None]
        self.counts += counts
