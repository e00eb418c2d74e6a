"""Features of VGG-16 at four strides, up to relu4_3.

K. Simonyan, A. Zisserman: Very Deep Convolutional Networks (ICLR 2015), configuration D without
batch norm, cut before its third and its last pooling as Image Resynthesis reads it.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from training.networks.taps import taps

LEVELS = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3)  # ends: relu1_2, 2_2, 3_3, 4_3


class VggFeatures(nn.Module):
    """Image normalised float32 [N, 3, H, W] -> relu1_2, relu2_2, relu3_3, relu4_3.

    64, 128, 256, 512 channels at strides 1, 2, 4, 8. width: factor of all channels; weights of
    ImageNet exist for 1.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        slices: list[nn.Sequential] = []
        channels = 3
        for level in LEVELS:
            sizes = (channels, *(round(width * count) for count in level))
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if slices else []
            for before, after in pairwise(sizes):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
            slices.append(nn.Sequential(*layers))
            channels = sizes[-1]
        self.slices = nn.ModuleList(slices)

    def forward(self, image: Tensor) -> list[Tensor]:
        return taps(self.slices, image)
