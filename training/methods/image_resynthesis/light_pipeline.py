"""The three stages of the light image resynthesis, as the runtime runs them.

The segmentation hands its trunk's maps on, so that the discrepancy network computes features of the
synthesis only. Labels come at stride 2: the generator draws two pixels per label.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from training.networks.light_discrepancy import LightDiscrepancy
from training.networks.light_generator import LightGenerator
from training.networks.light_pyramid import LightPyramid
from training.stage import Stage

VARIANTS = {
    "full": {"synthesis": True, "labels": True},
    "generated_only": {"synthesis": True, "labels": False},
    "labels_only": {"synthesis": False, "labels": True},
}  # what the discrepancy network looks at beside the image
CHECKPOINT_KEY = "resynthesis"  # of what a training checkpoint says about itself
TEMPERATURE = 3.0  # of the score: spreads what the weighted loss pushes to 0 and 1
MAPS = ("features_4", "features_8", "features_16")  # of the segmentation's trunk


class Segmentation(Stage):
    """Image uint8 [N, H, W, 3] -> logits float32 [N, 19, H/4, W/4], labels uint8 [N, H/2, W/2] and
    the maps of the trunk."""

    name = "segmentation"
    inputs = ("image",)
    outputs = ("logits", "labels", *MAPS)

    def __init__(self, network: LightPyramid) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        normalised = (image.float().permute(0, 3, 1, 2) - 127.0) / 128.0
        maps = self.network.encoder(normalised)
        logits = self.network.decode(maps)[0]
        labels = labels_at_stride_2(logits)
        return logits, labels, *maps[: len(MAPS)]


class Resynthesis(Stage):
    """Labels uint8 [N, h, w] -> synthesis float32 [N, 3, 2h, 2w] in 0..1."""

    name, inputs, outputs = "resynthesis", ("labels",), ("synthesis",)

    def __init__(self, network: LightGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(self, labels: Tensor) -> Tensor:
        return (self.network(labels) + 1.0) / 2.0


class Dissimilarity(Stage):
    """What the discrepancy network reads -> score [N, h, w] in 0..1, of the labels' size."""

    name = "dissimilarity"
    inputs: ClassVar[tuple[str, ...]] = (*MAPS, "synthesis", "labels")
    outputs = ("score",)

    def __init__(self, network: LightDiscrepancy) -> None:
        super().__init__()
        self.network = network

    def forward(self, *tensors: Tensor) -> Tensor:
        named = dict(zip(self.inputs, tensors, strict=True))
        logits = self.network(
            [named[name] for name in MAPS], named.get("synthesis"), named.get("labels")
        )
        wide = functional.interpolate(logits, scale_factor=2, mode="bilinear") / TEMPERATURE
        return wide.softmax(dim=1)[:, 1]


class DissimilarityWithoutLabels(Dissimilarity):
    inputs: ClassVar[tuple[str, ...]] = (*MAPS, "synthesis")


class DissimilarityWithoutSynthesis(Dissimilarity):
    inputs: ClassVar[tuple[str, ...]] = (*MAPS, "labels")


def labels_at_stride_2(logits: Tensor) -> Tensor:
    """Logits [N, C, h, w] -> class ids uint8 [N, 2h, 2w]."""
    wide = functional.interpolate(logits, scale_factor=2, mode="bilinear")
    return wide.argmax(dim=1).float().to(torch.uint8)  # TensorRT casts floats to uint8


def light_stages(
    segmentation: LightPyramid, generator: LightGenerator, discrepancy: LightDiscrepancy
) -> list[Stage]:
    """The chain of a variant, in the order it runs; labels only needs no resynthesis."""
    first: list[Stage] = [Segmentation(segmentation)]
    if discrepancy.trunk is None:
        return [*first, DissimilarityWithoutSynthesis(discrepancy)]
    first.append(Resynthesis(generator))
    if discrepancy.label_features is None:
        return [*first, DissimilarityWithoutLabels(discrepancy)]
    return [*first, Dissimilarity(discrepancy)]
