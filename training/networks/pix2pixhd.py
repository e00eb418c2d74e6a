"""Label map to image and its judge, the "global" generator and discriminator of pix2pixHD.

T.-C. Wang et al.: High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs
(CVPR 2018), without instance maps and style features, as Image Resynthesis uses it (ICCV 2019).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.cityscapes import EVALUATED_IDS
from training.networks.taps import taps

LABEL_IDS = 35  # 0 ... 33 and one that no label map holds
UNLABELLED = 0  # label id of whatever has no train id
VOID = len(EVALUATED_IDS)  # stands for every train id beyond the classes
TRAIN_IDS = {UNLABELLED: VOID} | {found: train_id for train_id, found in enumerate(EVALUATED_IDS)}
# Label id uint8 of every train id 0 ... 255.
TO_LABEL_ID = np.full(256, UNLABELLED, np.uint8)
TO_LABEL_ID[:VOID] = EVALUATED_IDS
WIDEST = 8  # channels of the discriminator's last maps, in those of its first


def label_ids_one_hot(labels: Tensor) -> Tensor:
    """Train ids [N, H, W], 255 void -> their Cityscapes label ids, float32 [N, 35, H, W].

    Void becomes id 0. By comparison, which every runtime can do.
    """
    absent = -1
    train_ids = torch.tensor(
        [float(TRAIN_IDS.get(label_id, absent)) for label_id in range(LABEL_IDS)],
        device=labels.device,
    )
    return (labels.float().clamp(max=VOID)[:, None] == train_ids[:, None, None]).float()


def to_uint8(image: Tensor) -> Tensor:
    """-1..1 float -> 0..255 uint8, cut off and not rounded; by 128, as the published code does."""
    return ((image + 1.0) * 128.0).clamp(0, 255).to(torch.uint8)


class GlobalGenerator(nn.Module):
    """One-hot labels float32 [N, labels, H, W] -> image float32 [N, 3, H, W] in -1..1.

    channels: after the first convolution, doubled by each downsampling. H and W may be anything
    that leaves at least two pixels at the coarsest level: an image that comes out larger is cropped
    to its upper left part.
    """

    def __init__(
        self,
        labels: int = LABEL_IDS,
        *,
        channels: int = 64,
        blocks: int = 9,
        downsamplings: int = 4,
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(downsamplings + 1)]
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(labels, channels, 7), *_activation(channels)]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), *_activation(wide)]
        layers += [ResidualBlock(widths[-1]) for _ in range(blocks)]
        for wide, narrow in pairwise(reversed(widths)):
            enlarge = nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=1)
            layers += [enlarge, *_activation(narrow)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(channels, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, labels: Tensor) -> Tensor:
        height, width = labels.shape[-2:]
        return self.model(labels)[..., :height, :width]


class ResidualBlock(nn.Module):
    """Two convolutions 3x3, added to what came in; no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *_activation(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, values: Tensor) -> Tensor:
        return values + self.conv_block(values)


def _activation(channels: int) -> list[nn.Module]:
    # Instance statistics in evaluation too, without weights of their own.
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]


class MultiscaleDiscriminator(nn.Module):
    """One-hot labels and image, float32 [N, inputs, H, W] -> the maps of each scale.

    channels: of the first map, doubled by each of `layers` more, up to eightfold.
    """

    def __init__(
        self, inputs: int = LABEL_IDS + 3, *, channels: int = 64, layers: int = 3, scales: int = 2
    ) -> None:
        super().__init__()
        self.scales, self.depth = scales, layers + 2
        widths = [channels * min(2**level, WIDEST) for level in range(layers + 1)]
        for scale in range(scales):
            self._add(scale, 0, nn.Conv2d(inputs, channels, 4, stride=2, padding=2), _leaky())
            for level, (narrow, wide) in enumerate(pairwise(widths), start=1):
                stride = 2 if level < layers else 1
                convolution = nn.Conv2d(narrow, wide, 4, stride=stride, padding=2)
                self._add(scale, level, convolution, nn.InstanceNorm2d(wide), _leaky())
            self._add(scale, layers + 1, nn.Conv2d(widths[-1], 1, 4, padding=2))

    def _add(self, scale: int, level: int, *parts: nn.Module) -> None:
        self.add_module(_key(scale, level), nn.Sequential(*parts))

    def forward(self, values: Tensor) -> list[list[Tensor]]:
        """Full resolution first, then half as large each; the last map of each is its verdict."""
        found = []
        for scale in reversed(range(self.scales)):  # the last key belongs to full resolution
            parts = (self.get_submodule(_key(scale, level)) for level in range(self.depth))
            found.append(taps(parts, values))
            values = functional.avg_pool2d(values, 3, 2, 1, count_include_pad=False)
        return found


def _key(scale: int, level: int) -> str:
    return f"scale{scale}_layer{level}"


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.2, inplace=True)
