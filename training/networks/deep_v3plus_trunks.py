"""DeepV3Plus on ResNet-50 and SE-ResNeXt trunks: Y. Zhu et al. (CVPR 2019), dilated to stride 8.

Squeeze-and-excitation trunks: J. Hu et al. (CVPR 2018), from timm; ResNet-50 from torchvision.
"""

from __future__ import annotations

from collections.abc import Callable

import timm
from torch import Tensor, nn
from torchvision.models import resnet50

from training.networks.deep_v3plus_decoder import DeepV3PlusDecoder

Layers = tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]  # layer0 ... layer4


class DeepV3Plus(DeepV3PlusDecoder):
    """Image normalised float32 [N, 3, H, W] -> logits [N, C, H, W].

    trunk: makes layer0 (stride 4, max-pool included) to layer4, of bottlenecks with 256 to 2048
    output channels; the strides of layer3 and layer4 become dilations 2 and 4.
    """

    def __init__(self, trunk: Callable[[], Layers], classes: int = 19) -> None:
        super().__init__(fine=256, deep=2048, outputs=classes)
        self.classes = classes
        self.layer0, self.layer1, self.layer2, self.layer3, self.layer4 = trunk()
        dilate(self.layer3, 2)
        dilate(self.layer4, 4)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.layer1(self.layer0(image))
        deep = self.layer4(self.layer3(self.layer2(fine)))
        return self.decode(fine, deep, image.shape[-2:])


def resnet_50() -> Layers:
    """torchvision's ResNet-50."""
    whole = resnet50(weights=None)
    start = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool)
    return start, whole.layer1, whole.layer2, whole.layer3, whole.layer4


def se_resnext_50() -> Layers:
    """SE-ResNeXt-50 32x4d."""
    return _se_resnext("legacy_seresnext50_32x4d")


def se_resnext_101() -> Layers:
    """SE-ResNeXt-101 32x4d."""
    return _se_resnext("legacy_seresnext101_32x4d")


def _se_resnext(name: str) -> Layers:
    whole = timm.create_model(name, pretrained=False)
    start = whole.get_submodule("layer0")
    start.add_module("pool", whole.get_submodule("pool0"))
    first, second, third, last = (whole.get_submodule(f"layer{i}") for i in range(1, 5))
    return start, first, second, third, last


def dilate(layer: nn.Module, rate: int) -> None:
    """Replace the strides of a residual layer by dilation `rate` of its 3x3 convolutions."""
    for part in layer.modules():
        if isinstance(part, nn.Conv2d):
            part.stride = (1, 1)
            if part.kernel_size == (3, 3):
                part.dilation = part.padding = (rate, rate)
