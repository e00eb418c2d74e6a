"""SegNet: an encoder that remembers its pooling places and a decoder that unpools with them.

V. Badrinarayanan, A. Kendall, R. Cipolla: SegNet (TPAMI 2017), in the form ObsNet uses: VGG-16
encoder with batch norm, Bayesian dropout in the middle, batch norm and ReLU after the last layer
too, so that its logits are never negative.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from training.networks.unpool import max_pool, max_unpool

ENCODER: dict[str, tuple[int, ...]] = {
    "down1": (3, 64, 64),
    "down2": (64, 128, 128),
    "down3": (128, 256, 256, 256),
    "down4": (256, 512, 512, 512),
    "down5": (512, 512, 512, 512),
}
DECODER: dict[str, tuple[int, ...]] = {
    "up5": (512, 512, 512, 512),
    "up4": (512, 512, 512, 256),
    "up3": (256, 256, 256, 128),
    "up2": (128, 128, 64),
}  # up1 ends with the number of outputs
DROPOUT = {"down3": 0.5, "down4": 0.5, "down5": 0.5, "up5": 0.5, "up4": 0.4, "up3": 0.3}


class Unit(nn.Module):
    """Conv 3x3 with bias, batch norm, ReLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.cbr_unit = nn.Sequential(
            nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
        )

    def forward(self, values: Tensor) -> Tensor:
        return self.cbr_unit(values)


def units(channels: Sequence[int]) -> nn.Sequential:
    """One unit from each number of channels to the next, named conv1, conv2, ..."""
    pairs = enumerate(pairwise(channels), start=1)
    return nn.Sequential(OrderedDict((f"conv{j}", Unit(*pair)) for j, pair in pairs))


class SegNetStages(nn.Module):
    """The ten stages; SegNet and its observer differ in outputs and in what they pass on.

    dropout: rate by the stage whose output it acts on, before the next stage. Putting these
    nn.Dropout modules alone into training mode gives Monte-Carlo dropout. width: factor of all
    channels between image and outputs; the published networks have 1.
    """

    def __init__(self, outputs: int, dropout: Mapping[str, float], *, width: float = 1.0) -> None:
        super().__init__()
        # What every runtime can do; training may take torch's own, which are faster and equal.
        self.pool: Callable[[Tensor], tuple[Tensor, Any]] = max_pool
        self.unpool: Callable[[Tensor, Any], Tensor] = max_unpool
        named = {**ENCODER, **DECODER, "up1": (64, 64, outputs)}.items()
        stages = {name: [round(width * count) for count in channels] for name, channels in named}
        stages["down1"][0], stages["up1"][-1] = 3, outputs
        for name, channels in stages.items():
            self.add_module(name, units(channels))
        self.dropout = nn.ModuleDict({name: nn.Dropout(rate) for name, rate in dropout.items()})

    def walk(self, image: Tensor, added: Sequence[Tensor] = ()) -> dict[str, Tensor]:
        """Output of each stage by its name; `added` goes, one by one, into the next stage's input.

        image: normalised float32 [N, 3, H, W], at least 32x32. The encoder's outputs are pooled:
        strides 2, 4, 8, 16, 32; the decoder's: 16, 8, 4, 2, 1.
        """
        values = image
        places: list[Any] = []
        outputs: dict[str, Tensor] = {}
        for index, name in enumerate((*ENCODER, *DECODER, "up1")):
            stage = self.get_submodule(name)
            if name in ENCODER:
                values, place = self.pool(stage(values))
                places.append(place)
            else:
                values = stage(self.unpool(values, places.pop()))
            outputs[name] = values
            if name in self.dropout:
                values = self.dropout[name](values)
            if index < len(added):
                values = values + added[index]
        return outputs


class SegNet(SegNetStages):
    """Image normalised float32 [N, 3, H, W] -> logits [N, C, H, W] >= 0 and the nine `taps`."""

    taps: ClassVar[tuple[str, ...]] = (*ENCODER, *DECODER)

    def __init__(self, classes: int = 12, *, width: float = 1.0) -> None:
        super().__init__(classes, DROPOUT, width=width)
        self.classes = classes

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits, then the outputs of down1 ... down5, up5 ... up2, before any dropout."""
        outputs = self.walk(image)
        return outputs["up1"], *(outputs[name] for name in self.taps)
