"""The stages of Image Resynthesis at the paper's size, as the runtime runs them.

Images come at the network's size, which may be any from 32x32 on. The score is the softmax of the
discrepancy network, not smoothed, stretched or cut; the authors' pictures stretch it in each image.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.methods.image_resynthesis.published import BDD100K, SWAPPED_CITYSCAPES
from training.methods.obsnet.paper_pipeline import Normalisation
from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pix2pixhd import GlobalGenerator, label_ids_one_hot
from training.stage import Stage


class SynthesisScaling(Enum):
    """How the discrepancy network gets the generator's image; its training saw UINT8, as files."""

    IMAGENET = "imagenet"  # normalised as the camera's image is
    RAW = "raw"  # in -1..1 as the generator gives it: the authors' joint pipeline
    UINT8 = "uint8"  # cut to whole grey levels, then normalised: the authors' pipeline over files


class Segmentation(Stage):
    """Image uint8 [N, H, W, 3] -> logits float32 [N, 19, H, W], labels uint8 [N, H, W]."""

    name, inputs, outputs = "segmentation", ("image",), ("logits", "labels")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.normalisation = Normalisation(BDD100K.mean, BDD100K.std)
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(self.normalisation(image))
        labels = logits.argmax(dim=1).float().to(torch.uint8)  # TensorRT casts floats to uint8
        return logits, labels


class Resynthesis(Stage):
    """Labels uint8 [N, H, W] -> synthesis float32 [N, 3, H, W] in 0..1."""

    name, inputs, outputs = "resynthesis", ("labels",), ("synthesis",)

    def __init__(self, network: GlobalGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(self, labels: Tensor) -> Tensor:
        return (self.network(label_ids_one_hot(labels)) + 1.0) / 2.0


class Dissimilarity(Stage):
    """Image, synthesis and labels -> score float32 [N, H, W] in 0..1: the labels are wrong."""

    name = "dissimilarity"
    inputs: ClassVar[tuple[str, ...]] = ("image", "synthesis", "labels")
    outputs = ("score",)

    def __init__(
        self, network: DiscrepancyNetwork, scaling: SynthesisScaling = SynthesisScaling.IMAGENET
    ) -> None:
        super().__init__()
        self.normalisation = Normalisation(SWAPPED_CITYSCAPES.mean, SWAPPED_CITYSCAPES.std)
        self.scaling = scaling
        self.network = network

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.logits(*tensors).softmax(dim=1)[:, 1]

    def logits(self, *tensors: Tensor) -> Tensor:
        """The `inputs` -> logits float32 [N, 2, H, W]: fitting, discrepant."""
        read = dict(zip(self.inputs, tensors, strict=True))
        read["image"] = self.normalisation(read["image"])
        if "synthesis" in read:
            read["synthesis"] = self.scaled(read["synthesis"])
        return self.network(*read.values())

    def scaled(self, synthesis: Tensor) -> Tensor:
        """Synthesis float32 [N, 3, H, W] in 0..1 as the network is to get it."""
        if self.scaling is SynthesisScaling.RAW:
            return 2.0 * synthesis - 1.0
        if self.scaling is SynthesisScaling.UINT8:
            # As the published code stores it: 256 levels over 0..1, the last one cut off.
            synthesis = (256.0 * synthesis).clamp(0.0, 255.0).floor() / 255.0
        return (synthesis - self.normalisation.mean) / self.normalisation.std


class DissimilarityWithoutSynthesis(Dissimilarity):
    """The variant "labels only"."""

    inputs: ClassVar[tuple[str, ...]] = ("image", "labels")


class DissimilarityWithoutLabels(Dissimilarity):
    """The variant "generated only"."""

    inputs: ClassVar[tuple[str, ...]] = ("image", "synthesis")


VARIANTS: dict[tuple[str, ...], type[Dissimilarity]] = {
    stage.inputs: stage
    for stage in (Dissimilarity, DissimilarityWithoutSynthesis, DissimilarityWithoutLabels)
}


def paper_stages(
    segmentation: nn.Module,
    generator: GlobalGenerator | None,
    discrepancy: DiscrepancyNetwork,
    *,
    scaling: SynthesisScaling = SynthesisScaling.IMAGENET,
) -> list[Stage]:
    """The chain of a variant, in the order it runs.

    generator: None where the discrepancy network reads no synthesis; ValueError where it does.
    """
    first: list[Stage] = [Segmentation(segmentation)]
    last = VARIANTS[discrepancy.reads](discrepancy, scaling)
    if "synthesis" not in discrepancy.reads:
        return [*first, last]
    if generator is None:
        raise ValueError("this discrepancy network reads a synthesis: give the generator")
    return [*first, Resynthesis(generator), last]
