"""Bayesian SegNet as Image Resynthesis trained it: VGG-19 with batch norm and a tied decoder.

After A. Kendall, V. Badrinarayanan, R. Cipolla: Bayesian SegNet (BMVC 2017), in the form of Lis et
al. (ICCV 2019): no pooling places are kept, transposed convolutions enlarge, encoder maps join the
decoder by concatenation, and batch norm and ReLU follow the last layer too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from training.networks.reflection import centred, margins_to, reflected

MULTIPLE = 32  # five poolings
ENCODER: tuple[tuple[int, ...], ...] = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)
DROPPED = ("enc3", "enc4", "enc5", "dec5", "dec4", "dec3")  # by whose output: in order of the pass
DROPOUT = 0.5


def unit(channels: int, out: int) -> list[nn.Module]:
    """Conv 3x3 with bias, batch norm, ReLU."""
    return [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


def encoder(channels: Sequence[int]) -> nn.Sequential:
    """One unit from each number of channels to the next, then 2x2 pooling."""
    units = (layer for pair in pairwise(channels) for layer in unit(*pair))
    return nn.Sequential(*units, nn.MaxPool2d(2))


def enlarging(channels: int) -> nn.ConvTranspose2d:
    """Twice the height and width, no activation."""
    return nn.ConvTranspose2d(channels, channels, 2, stride=2)


class Decoder(nn.Module):
    """Float [N, channels, h, w] -> [N, out, 2h, 2w]; the unit in the middle runs `again` times."""

    def __init__(self, channels: int, out: int, *, again: int = 0) -> None:
        super().__init__()
        half = channels // 2
        middle = unit(half, half) if again else []
        self.decode = nn.Sequential(
            enlarging(channels), *unit(channels, half), *(again * middle), *unit(half, out)
        )

    def forward(self, values: Tensor) -> Tensor:
        return self.decode(values)


class BayesianSegNet(nn.Module):
    """Image normalised float32 [N, 3, H, W] -> logits [N, C, H, W] >= 0; H and W at least 12.

    A unit that runs several times is one set of weights with a key for each place it runs at; of
    unequal values in a checkpoint the last place's are loaded. Putting the modules of `dropout`
    alone into training mode gives Monte-Carlo dropout. width: factor of all channels between image
    and outputs; the published network has 1.
    """

    def __init__(self, classes: int = 19, *, width: float = 1.0) -> None:
        super().__init__()
        self.classes = classes
        levels = [[round(width * count) for count in level] for level in ENCODER]
        one, two, three, four, five = (level[-1] for level in levels)
        self.enc1 = encoder([3, *levels[0]])
        self.enc2 = encoder([one, *levels[1]])
        self.enc3 = encoder([two, *levels[2]])
        self.enc4 = encoder([three, *levels[3]])
        self.enc5 = encoder([four, *levels[4]])
        self.dec5 = nn.Sequential(enlarging(five), *(4 * unit(five, four)))
        self.dec4 = Decoder(2 * four, three, again=2)
        self.dec3 = Decoder(2 * three, two, again=2)
        self.dec2 = Decoder(2 * two, one)
        self.dec1 = Decoder(2 * one, classes)
        self.dropout = nn.ModuleDict({name: nn.Dropout2d(DROPOUT) for name in DROPPED})

    def forward(self, image: Tensor) -> Tensor:
        margins = margins_to(MULTIPLE, image)
        one = self.enc1(reflected(image, margins))
        two = self.enc2(one)
        three = self._dropped("enc3", two)
        four = self._dropped("enc4", three)
        values = self._dropped("dec5", self._dropped("enc5", four))
        values = self._dropped("dec4", torch.cat((four, values), dim=1))
        values = self._dropped("dec3", torch.cat((three, values), dim=1))
        values = self.dec2(torch.cat((two, values), dim=1))
        return centred(self.dec1(torch.cat((one, values), dim=1)), margins)

    def _dropped(self, name: str, values: Tensor) -> Tensor:
        return self.dropout[name](self.get_submodule(name)(values))
