"""Reflected borders that bring an image to a multiple of a network's stride, and their removal."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


class Margins(NamedTuple):
    """Rows and columns that are added around an image, in the order of torch's `pad`."""

    left: int
    right: int
    top: int
    bottom: int


def margins_to(multiple: int, image: Tensor) -> Margins:
    """What brings H and W of image [..., H, W] to multiples; the smaller half goes left and top."""
    rows, columns = (-side % multiple for side in image.shape[-2:])
    return Margins(columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)


def reflected(image: Tensor, margins: Margins) -> Tensor:
    """Float [N, C, H, W] with mirrored margins, the border row itself not repeated.

    Each side must be longer than its margins.
    """
    return functional.pad(image, margins, mode="reflect") if any(margins) else image


def centred(values: Tensor, margins: Margins) -> Tensor:
    """[..., H, W] without its margins."""
    height, width = values.shape[-2:]
    return values[..., margins.top : height - margins.bottom, margins.left : width - margins.right]
