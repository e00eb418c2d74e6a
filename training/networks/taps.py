"""What each part of a chain gives, not only the last."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def taps(parts: Iterable[nn.Module], values: Tensor) -> list[Tensor]:
    """Run `values` through the parts in turn; the output of each."""
    outputs = []
    for part in parts:
        values = part(values)
        outputs.append(values)
    return outputs
