"""PSPNet on a dilated ResNet-101, at output stride 8.

H. Zhao et al.: Pyramid Scene Parsing Network (CVPR 2017), in the form Image Resynthesis trained
(Lis et al., ICCV 2019). All enlarging is bilinear, corners not aligned.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet101

MIDDLE, DEEP, REDUCED = 1024, 2048, 512  # channels of layer3, of layer4, of each pyramid level
PYRAMID = (1, 2, 3, 6)  # cells each way
MOMENTUM = 0.95  # share of the newest batch in the running statistics of pyramid and head


def dilated(layer: nn.Module, rate: int) -> nn.Module:
    """A strided layer of ResNet without its stride, all its 3x3 convolutions dilated by `rate`."""
    for name, part in layer.named_modules():
        if isinstance(part, nn.Conv2d):
            part.stride = (1, 1)
            if name.endswith("conv2"):
                part.dilation = part.padding = (rate, rate)
    return layer


class CellMeans(nn.Module):
    """Float [N, C, h, w] -> [N, C, cells, cells] as torch's AdaptiveAvgPool2d, in matrix products.

    Exported, torch's own gathers each window where `cells` does not divide h and w.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, values: Tensor) -> Tensor:
        rows, columns = (_shares(side, self.cells).to(values) for side in values.shape[-2:])
        return rows @ values @ columns.T


class Pyramid(nn.Module):
    """Float [N, 2048, h, w] -> [N, 4096, h, w]: the map, then its means over ever smaller cells."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            nn.Sequential(
                CellMeans(cells),
                nn.Conv2d(DEEP, REDUCED, 1, bias=False),
                nn.BatchNorm2d(REDUCED, momentum=MOMENTUM),
                nn.ReLU(inplace=True),
            )
            for cells in PYRAMID
        )

    def forward(self, values: Tensor) -> Tensor:
        means = (_resized(level(values), values.shape[-2:]) for level in self.features)
        return torch.cat((values, *means), dim=1)


class PSPNet(nn.Module):
    """Image normalised float32 [N, 3, H, W] of any size -> logits [N, C, H, W].

    The auxiliary head helps training alone: see `with_auxiliary`.
    """

    def __init__(self, classes: int = 19) -> None:
        super().__init__()
        self.classes = classes
        trunk = resnet101(weights=None)
        self.layer0 = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.layer1, self.layer2 = trunk.layer1, trunk.layer2
        self.layer3, self.layer4 = dilated(trunk.layer3, 2), dilated(trunk.layer4, 4)
        self.ppm = Pyramid()
        self.final = nn.Sequential(
            nn.Conv2d(DEEP + len(PYRAMID) * REDUCED, REDUCED, 3, padding=1, bias=False),
            nn.BatchNorm2d(REDUCED, momentum=MOMENTUM),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(REDUCED, classes, 1),
        )
        self.aux_logits = nn.Conv2d(MIDDLE, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self._logits(self._middle(image), image)

    def with_auxiliary(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and those of the auxiliary head on layer3, both [N, C, H, W]."""
        middle = self._middle(image)
        return self._logits(middle, image), _resized(self.aux_logits(middle), image.shape[-2:])

    def _middle(self, image: Tensor) -> Tensor:
        return self.layer3(self.layer2(self.layer1(self.layer0(image))))

    def _logits(self, middle: Tensor, image: Tensor) -> Tensor:
        return _resized(self.final(self.ppm(self.layer4(middle))), image.shape[-2:])


def _shares(side: int, cells: int) -> Tensor:
    """Share of each of `side` places in the mean of each cell, float32 [cells, side].

    Cells begin at the rounded-down border and end at the rounded-up one, so they may overlap.
    """
    places, cell = np.arange(side), np.arange(cells)[:, None]
    inside = (places >= cell * side // cells) & (places < -(-(cell + 1) * side // cells))
    return torch.from_numpy((inside / inside.sum(axis=1, keepdims=True)).astype(np.float32))


def _resized(values: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)
