"""The DeepLabv3+ decoder of Y. Zhu et al. (Improving Semantic Segmentation via Video Propagation
and Label Relaxation, CVPR 2019), shared by its trunks. All enlarging is bilinear, corners aligned.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

BRANCH = 256  # channels of each pyramid branch
RATES = (12, 24, 36)  # at output stride 8


class Aspp(nn.Module):
    """Pyramid of dilated convolutions, [N, C, h, w] -> [N, 1280, h, w]; image branch first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            [_branch(channels, 1), *(_branch(channels, 3, dilation=rate) for rate in RATES)]
        )
        self.img_conv = _branch(channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        whole = self.img_conv(values.mean(dim=(2, 3), keepdim=True))
        whole = whole.expand(-1, -1, *values.shape[-2:])
        return torch.cat((whole, *(branch(values) for branch in self.features)), dim=1)


def _branch(channels: int, kernel: int, *, dilation: int = 1) -> nn.Sequential:
    padding = dilation if kernel == 3 else 0
    return nn.Sequential(
        nn.Conv2d(channels, BRANCH, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(BRANCH),
        nn.ReLU(inplace=True),
    )


class DeepV3PlusDecoder(nn.Module):
    """Pyramid on a deep level of stride 8, joined with a fine level. A trunk derives from it.

    fine, deep: channels of the two levels. outputs: channels of the result.
    """

    def __init__(self, fine: int, deep: int, outputs: int) -> None:
        super().__init__()
        self.aspp = Aspp(deep)
        self.bot_fine = nn.Conv2d(fine, 48, 1, bias=False)
        self.bot_aspp = nn.Conv2d(5 * BRANCH, 256, 1, bias=False)
        self.final = nn.Sequential(
            nn.Conv2d(48 + 256, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, outputs, 1, bias=False),
        )

    def decode(
        self,
        fine: Tensor,
        deep: Tensor,
        size: tuple[int, int] | torch.Size,
        tap: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> Tensor:
        """fine [N, F, h, w], deep [N, D, h', w'] -> [N, outputs, *size].

        tap: sees the pyramid, the reduced fine level and their join, and may replace each.
        """
        pyramid = self.bot_aspp(tap(self.aspp(deep)))
        reduced = tap(self.bot_fine(fine))
        joined = tap(torch.cat((reduced, resized(pyramid, reduced.shape[-2:])), dim=1))
        return resized(self.final(joined), size)


def resized(values: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear, corners aligned: [N, C, h, w] -> [N, C, *size]."""
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=True)
