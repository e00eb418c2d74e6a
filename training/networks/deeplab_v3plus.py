"""DeepLabv3+ on ResNet-101 at output stride 16, and its observer.

L.-C. Chen et al.: Encoder-Decoder with Atrous Separable Convolution (ECCV 2018); the observer after
V. Besnier et al., Triggering Failures (ICCV 2021). All enlarging is bilinear, corners not aligned.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet101
from torchvision.models.segmentation.deeplabv3 import ASPP

LOW_LEVEL, OUT = 256, 2048  # channels of layer1 (stride 4) and layer4 (stride 16)
RATES = (6, 12, 18)


def backbone() -> nn.Sequential:
    """torchvision's ResNet-101 without its classifier; layer4 dilated instead of strided."""
    whole = resnet101(weights=None, replace_stride_with_dilation=[False, False, True])
    parts = OrderedDict(whole.named_children())
    del parts["avgpool"], parts["fc"]
    return nn.Sequential(parts)


def levels(trunk: nn.Sequential, image: Tensor) -> tuple[Tensor, Tensor]:
    """Image [N, 3, H, W] -> layer1 [N, 256, H/4, W/4] and layer4 [N, 2048, H/16, W/16]."""
    low_level = values = image
    for name, part in trunk.named_children():
        values = part(values)
        if name == "layer1":
            low_level = values
    return low_level, values


class Head(nn.Module):
    """Pyramid of dilated convolutions on the deep level, joined with the low level."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(LOW_LEVEL, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(inplace=True)
        )
        self.aspp = ASPP(OUT, RATES, 256)
        self.aspp.project[-1] = nn.Dropout(0.1)  # torchvision's has 0.5
        self.classifier = nn.Sequential(
            nn.Conv2d(48 + 256, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, classes, 1),
        )

    def forward(self, low_level: Tensor, out: Tensor) -> Tensor:
        """[N, 256, h, w] and [N, 2048, h', w'] -> logits [N, C, h, w]."""
        fine = self.project(low_level)
        deep = _resized(self.aspp(out), fine.shape[-2:])
        return self.classifier(torch.cat((fine, deep), dim=1))


class DeepLabV3Plus(nn.Module):
    """Image normalised float32 [N, 3, H, W] -> logits [N, C, H, W] and the two `taps`."""

    taps: ClassVar[tuple[str, ...]] = ("low_level", "out")

    def __init__(self, classes: int = 19) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = backbone()
        self.classifier = Head(classes)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, layer1 [N, 256, H/4, W/4], layer4 [N, 2048, H/16, W/16]."""
        low_level, out = levels(self.backbone, image)
        return _resized(self.classifier(low_level, out), image.shape[-2:]), low_level, out


class DeepLabV3PlusObserver(nn.Module):
    """A second DeepLabv3+ that adds the first one's levels and logits to its own.

    `classes` must be those of the network it observes.
    """

    reads: ClassVar[tuple[str, ...]] = ("image", *DeepLabV3Plus.taps, "logits")

    def __init__(self, classes: int = 19) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = backbone()
        self.classifier = Head(classes)
        self.uncertainty = nn.Sequential(
            nn.BatchNorm2d(classes),
            nn.ReLU(inplace=True),
            nn.Conv2d(classes, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 1, 3, padding=1),
        )

    def forward(self, image: Tensor, low_level: Tensor, out: Tensor, logits: Tensor) -> Tensor:
        """Normalised image and what DeepLabV3Plus gave -> logit [N, 1, H, W]."""
        own_low, own_out = levels(self.backbone, image)
        own = self.classifier(own_low + low_level, own_out + out)
        return self.uncertainty(_resized(own, image.shape[-2:]) + logits)


def _resized(values: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)
