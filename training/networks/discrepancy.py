"""Discrepancy network: where does the resynthesised image contradict the camera's?

K. Lis, K. Nakka, P. Fua, M. Salzmann: Detecting the Unexpected via Image Resynthesis (ICCV 2019),
section 3.3. One class for the article's three variants: they differ in what they read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.label_spaces import CLASSES
from training.networks.light_generator import one_hot
from training.networks.reflection import Margins, centred, margins_to, reflected
from training.networks.taps import taps
from training.networks.vgg_features import LEVELS, VggFeatures

MULTIPLE = 16  # three poolings need 8; the published network pads so, and its borders depend on it
# From full resolution to stride 8.
IMAGE_CHANNELS = tuple(level[-1] for level in LEVELS)
LABEL_CHANNELS = (32, 64, 128, 256)
DECODER_CHANNELS = (64, 128, 256, 256)
ROAD = 0


class DiscrepancyNetwork(nn.Module):
    """What it `reads` -> logits float32 [N, 2, H, W]; channel 1 is "discrepant".

    reads: `image`, then `synthesis` and `labels` unless switched off. width: factor of all channels
    between inputs and outputs; the published networks have 1. The paper keeps `vgg_extractor`, the
    same for both images, at its ImageNet weights. road_border: label maps are padded with class 0,
    which is road, as the published network without synthesis does, and not by reflection.

    In evaluation H and W may be anything from 9 on: inputs are padded to multiples of 16, the
    logits cropped. In training they must be multiples of 8.
    """

    def __init__(
        self,
        *,
        synthesis: bool = True,
        labels: bool = True,
        width: float = 1.0,
        road_border: bool = False,
    ) -> None:
        super().__init__()
        wanted = {"image": True, "synthesis": synthesis, "labels": labels}
        self.reads = tuple(name for name, read in wanted.items() if read)
        self.road_border = road_border
        of_image, of_labels, decoder = (
            [round(width * count) for count in channels]
            for channels in (IMAGE_CHANNELS, LABEL_CHANNELS, DECODER_CHANNELS)
        )
        self.vgg_extractor = VggFeatures(width=width)
        if labels:
            self.sem_extractor = label_extractor(of_labels)
        self.cmis = nn.ModuleList()
        self.decs = nn.ModuleList()
        before = 0  # channels of the deeper decoder
        for level in reversed(range(len(decoder))):
            image, out = of_image[level], decoder[level]
            seen = image * (1 + synthesis) + of_labels[level] * labels
            self.cmis.append(Fusion(seen, image, correlates=synthesis))
            self.decs.append(decoder_block(before + synthesis + image, out, enlarges=level > 0))
            before = out
        self.final = nn.Conv2d(before, 2, 1)

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the network `reads`, in that order, N of each.

        image, synthesis: normalised as for ImageNet, float32 [N, 3, H, W]; of a larger synthesis
        the upper left part counts. labels: train ids [N, H, W], of any dtype; void is no class.
        """
        named = dict(zip(self.reads, inputs, strict=True))
        height, width = named["image"].shape[-2:]
        margins = Margins(0, 0, 0, 0) if self.training else margins_to(MULTIPLE, named["image"])
        views = [self.vgg_extractor(reflected(named["image"], margins))]
        if "synthesis" in named:
            synthesis = named["synthesis"][..., :height, :width]
            views.append(self.vgg_extractor(reflected(synthesis, margins)))
        if "labels" in named:
            labels = self._bordered(named["labels"].float()[:, None], margins)[:, 0]
            views.append(taps(self.sem_extractor, one_hot(labels, CLASSES)[:, :CLASSES]))
        values: list[Tensor] = []
        for fusion, decoder, *features in zip(
            self.cmis, self.decs, *(reversed(levels) for levels in views), strict=True
        ):
            values = [decoder(torch.cat((*values, *fusion(features)), dim=1))]
        return centred(self.final(values[0]), margins)

    def _bordered(self, labels: Tensor, margins: Margins) -> Tensor:
        if self.road_border:
            return functional.pad(labels, margins, value=ROAD)
        return reflected(labels, margins)


class Fusion(nn.Module):
    """Features of image, synthesis and labels at one level -> their correlation and their mixture.

    The correlation [N, 1, h, w] sums products of all channels, unscaled: fp16 may not hold it.
    """

    def __init__(self, channels: int, out: int, *, correlates: bool) -> None:
        super().__init__()
        self.correlates = correlates
        self.conv_1x1 = nn.Conv2d(channels, out, 1)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        mixture = self.conv_1x1(torch.cat(tuple(features), dim=1))
        if not self.correlates:
            return [mixture]
        image, synthesis, *_ = features
        return [(image * synthesis).sum(dim=1, keepdim=True), mixture]


def label_extractor(channels: Sequence[int]) -> nn.ModuleList:
    """One-hot labels [N, 19, H, W] -> four levels at strides 1, 2, 4, 8."""
    first = (nn.ReflectionPad2d(3), nn.Conv2d(CLASSES, channels[0], 7), nn.ReLU(inplace=True))
    return nn.ModuleList(
        (
            nn.Sequential(*first),
            *(
                nn.Sequential(nn.Conv2d(*pair, 3, stride=2, padding=1), nn.ReLU(inplace=True))
                for pair in pairwise(channels)
            ),
        )
    )


def decoder_block(channels: int, out: int, *, enlarges: bool) -> nn.Sequential:
    """Float [N, channels, h, w] -> [N, out, h, w], or [N, out, 2h, 2w] if it enlarges."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, 3, padding=1),
        nn.SELU(inplace=True),
        nn.Conv2d(out, out, 3, padding=1),
        nn.SELU(inplace=True),
    ]
    if enlarges:
        layers.append(nn.ConvTranspose2d(out, out, 2, stride=2))
    return nn.Sequential(*layers)
