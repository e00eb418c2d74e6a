"""Light segmentation network: EfficientNet-Lite0 encoder and a depthwise feature pyramid.

Encoder: M. Tan and Q. Le, EfficientNet (ICML 2019), Lite variant without squeeze-and-excite and
with ReLU6, made for int8. Pyramid: Lin et al. (CVPR 2017) with separable convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.label_spaces import CLASSES

ENCODER_CHANNELS = (24, 40, 112, 320)  # strides 4, 8, 16, 32
PYRAMID_CHANNELS = 96


class Separable(nn.Sequential):
    """Depthwise 5x5 and pointwise 1x1, each with batch norm and ReLU6."""

    def __init__(self, channels: int, out: int, *, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(
                channels,
                channels,
                5,
                padding=2 * dilation,
                dilation=dilation,
                groups=channels,
                bias=False,
            ),
            nn.BatchNorm2d(channels),
            nn.ReLU6(inplace=True),
            nn.Conv2d(channels, out, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU6(inplace=True),
        )


class Pyramid(nn.Module):
    """The layers, without a way through the head."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encoder = timm.create_model(
            "tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)
        )
        self.context = nn.Conv2d(ENCODER_CHANNELS[-1], PYRAMID_CHANNELS, 1)
        self.lateral = nn.ModuleList(nn.Conv2d(c, PYRAMID_CHANNELS, 1) for c in ENCODER_CHANNELS)
        self.refine = nn.ModuleList(
            Separable(PYRAMID_CHANNELS, PYRAMID_CHANNELS) for _ in ENCODER_CHANNELS
        )
        self.widen = Separable(PYRAMID_CHANNELS, PYRAMID_CHANNELS, dilation=3)
        self.head = nn.Conv2d(PYRAMID_CHANNELS, outputs, 1)

    def merge(
        self, levels: Sequence[Tensor], finish: Callable[[int, Tensor], Tensor] = lambda _, m: m
    ) -> list[Tensor]:
        """The encoder's maps at strides 4 to 32 -> the pyramid's at strides 32, 16, 8 and 4.

        finish: what is done to each map, by its place, before the next one is made from it.
        """
        top = levels[-1]
        context = self.context(top.mean(dim=(2, 3), keepdim=True))
        merged = self.refine[3](self.lateral[3](top) + context)
        pyramid = [finish(0, self.widen(merged) + merged)]
        for place, level in enumerate((2, 1, 0), start=1):
            lateral = self.lateral[level](levels[level])
            raised = functional.interpolate(pyramid[-1], size=lateral.shape[-2:], mode="bilinear")
            pyramid.append(finish(place, self.refine[level](lateral + raised)))
        return pyramid

    def load_imagenet_encoder(self, weights: Path) -> None:
        """Start the encoder from ImageNet: `load_efficientnet_lite0`."""
        load_efficientnet_lite0(self.encoder, weights)


class LightPyramid(Pyramid):
    """Image float32 [N, 3, H, W] in (x - 127) / 128, H and W multiples of 32 -> see `forward`."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__(classes)
        self.dropout = nn.Dropout2d(0.1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits [N, C, H/4, W/4], pyramid [N, 96, H/4, W/4], encoder strides 4 and 8."""
        levels = self.encoder(image)
        return *self.decode(levels), levels[0], levels[1]

    def decode(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The encoder's maps at strides 4 to 32 -> logits and pyramid, as in `forward`."""
        merged = self.merge(levels)[-1]
        return self.head(self.dropout(merged)), merged


def load_efficientnet_lite0(encoder: nn.Module, weights: Path) -> None:
    """Load the published EfficientNet-Lite0 weights: same tensors, same order, other names.

    encoder: any front part of timm's network. Raises ValueError where a shape differs. The
    published tensors beyond the encoder's are not used.
    """
    published = torch.load(weights, map_location="cpu", weights_only=True)
    ours = encoder.state_dict()
    for (name, tensor), (source, value) in zip(ours.items(), published.items(), strict=False):
        if tensor.shape != value.shape:
            raise ValueError(
                f"{weights.name}: {source} is {tuple(value.shape)}, "
                f"{name} needs {tuple(tensor.shape)}"
            )
        ours[name] = value
    encoder.load_state_dict(ours)
