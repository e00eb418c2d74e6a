"""2x2 max-pooling that remembers where its maxima came from, and the way back, without indices.

Equal to torch's MaxPool2d(2, return_indices=True) and MaxUnpool2d(2), ties and odd sizes included:
of equal values the first in row-major order wins. Index outputs and scattering have no TensorRT
counterpart; comparisons, selection and depth-to-space do, and a tournament of comparisons has
exactly one winner in any number format.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Winners(NamedTuple):
    """Where the maximum of each 2x2 window lies: bool tensors [N, C, H // 2, W // 2]."""

    upper: Tensor  # in the upper row
    upper_left: Tensor  # the upper row's left value is at least its right one
    lower_left: Tensor  # the same for the lower row
    size: tuple[int, int]  # H, W before pooling


def max_pool(values: Tensor) -> tuple[Tensor, Winners]:
    """float [N, C, H, W] -> maxima [N, C, H // 2, W // 2] of 2x2 windows, and their places.

    An odd last row or column belongs to no window. NaN wins nothing.
    """
    height, width = values.shape[-2:]
    even = values.detach()[..., : height // 2 * 2, : width // 2 * 2]
    a, b = even[..., ::2, ::2], even[..., ::2, 1::2]
    c, d = even[..., 1::2, ::2], even[..., 1::2, 1::2]
    upper = torch.maximum(a, b) >= torch.maximum(c, d)
    return functional.max_pool2d(values, 2), Winners(upper, a >= b, c >= d, (height, width))


def max_unpool(values: Tensor, winners: Winners) -> Tensor:
    """float [N, C, H // 2, W // 2] -> [N, C, H, W], each value at its window's winner, else 0."""
    upper, upper_left, lower_left, (height, width) = winners
    places = (
        upper & upper_left,
        upper & ~upper_left,
        ~upper & lower_left,
        ~upper & ~lower_left,
    )
    zero = values.new_zeros(())
    corners = torch.stack([torch.where(place, values, zero) for place in places], dim=2)
    spread = functional.pixel_shuffle(corners.flatten(1, 2), 2)
    rows, columns = height - spread.shape[-2], width - spread.shape[-1]
    return functional.pad(spread, (0, columns, 0, rows)) if rows or columns else spread
