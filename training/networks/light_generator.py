"""Light label-to-image generator: a small pix2pixHD with skip connections, for CPUs.

After T.-C. Wang et al., pix2pixHD (CVPR 2018). Batch norm in place of instance norm folds into the
convolutions, and does not erase what a flat label map says; skips carry the label borders past the
bottleneck; a pixel shuffle replaces the widest layers.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

STEM, DOWN, BLOCKS = 32, (64, 128, 192), 5


class ConvUnit(nn.Sequential):
    """Conv 3x3, batch norm, ReLU."""

    def __init__(self, channels: int, out: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvUnit(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, values: Tensor) -> Tensor:
        return values + self.second(self.first(values))


class LightGenerator(nn.Module):
    """Labels uint8 [N, h, w], h and w multiples of 8 -> image float32 [N, 3, 2h, 2w] in -1..1.

    Labels from `classes` on (255, void) share one input channel of their own.
    """

    label_stride = 2  # image pixels per label cell

    def __init__(self, classes: int = 19) -> None:
        super().__init__()
        self.classes = classes
        widths = (STEM, *DOWN)
        self.stem = ConvUnit(classes + 1, STEM)
        self.down = nn.ModuleList(
            ConvUnit(channels, out, stride=2) for channels, out in pairwise(widths)
        )
        self.blocks = nn.Sequential(*(ResidualBlock(DOWN[-1]) for _ in range(BLOCKS)))
        self.up = nn.ModuleList(
            ConvUnit(channels + out, out) for channels, out in pairwise(reversed(widths))
        )
        self.to_pixels = nn.Sequential(nn.Conv2d(STEM, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, labels: Tensor) -> Tensor:
        values = self.stem(self.condition(labels))
        skips = []
        for down in self.down:
            skips.append(values)
            values = down(values)
        values = self.blocks(values)
        for up in self.up:
            skip = skips.pop()
            raised = functional.interpolate(values, size=skip.shape[-2:], mode="bilinear")
            values = up(torch.cat((raised, skip), dim=1))
        return torch.tanh(self.to_pixels(values))

    def condition(self, labels: Tensor) -> Tensor:
        """One-hot of labels of any size: what generator and discriminator are told."""
        return one_hot(labels, self.classes)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels uint8 [N, h, w] -> float32 [N, classes + 1, h, w]; the last channel is void.

    By comparison, which every runtime can do.
    """
    ids = torch.arange(classes + 1, dtype=torch.float32, device=labels.device)
    known = labels.float().clamp(max=classes)[:, None]
    return (known == ids[:, None, None]).float()
