"""The two stages of ObsNet at the paper's size, as the runtime runs them.

Images come at the network's size. The score is the sigmoid of the observer's logit, as the paper
evaluates it; what the authors' picture script draws (a second sigmoid, stretched to 0..1 in each
image, kept on classes of movable things only) is not it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.methods.obsnet.published import Trained
from training.networks.deep_wide_resnet import DeepWV3Plus, DeepWV3PlusObserver
from training.networks.deeplab_v3plus import DeepLabV3Plus, DeepLabV3PlusObserver
from training.networks.pyramid_observer import PyramidObserver, PyramidSegmentation
from training.networks.segnet import SegNet
from training.networks.segnet_observer import SegNetObserver, SmallSegNetObserver
from training.stage import Stage


class Normalisation(nn.Module):
    """uint8 [N, H, W, 3] RGB -> float32 [N, 3, H, W]: over 255, minus mean, over std."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        # In the memory order of published code: another one rounds otherwise, and near-ties of
        # SegNet's pooling then fall on other pixels.
        pixels = image.float().permute(0, 3, 1, 2).contiguous()
        return (pixels / 255.0 - self.mean) / self.std


class Segmentation(Stage):
    """Image uint8 [N, H, W, 3] -> logits float32 [N, C, H, W], labels uint8 [N, H, W], features."""

    name, inputs = "segmentation", ("image",)

    def __init__(self, network: nn.Module, trained: Trained) -> None:
        super().__init__()
        self.normalisation = Normalisation(trained.mean, trained.std)
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, *taps = self.network(self.normalisation(image))
        labels = logits.argmax(dim=1).float().to(torch.uint8)  # TensorRT casts floats to uint8
        return logits, labels, *taps


class Observation(Stage):
    """Image and the segmentation's features -> score float32 [N, H, W] in 0..1, high = wrong."""

    name, outputs = "observer", ("score",)

    def __init__(self, network: nn.Module, trained: Trained) -> None:
        super().__init__()
        self.normalisation = Normalisation(trained.mean, trained.std)
        self.network = network

    def forward(self, *tensors: Tensor) -> Tensor:
        read = (
            self.normalisation(tensor) if name == "image" else tensor
            for name, tensor in zip(self.inputs, tensors, strict=True)
        )
        return torch.sigmoid(self.network(*read))[:, 0]


def _outputs(taps: Sequence[str]) -> tuple[str, ...]:
    return ("logits", "labels", *(f"features_{tap}" for tap in taps))


def _inputs(reads: Sequence[str]) -> tuple[str, ...]:
    return tuple(name if name in ("image", "logits") else f"features_{name}" for name in reads)


class SegNetSegmentation(Segmentation):
    outputs: ClassVar[tuple[str, ...]] = _outputs(SegNet.taps)


class DeepLabSegmentation(Segmentation):
    outputs: ClassVar[tuple[str, ...]] = _outputs(DeepLabV3Plus.taps)


class DeepWV3PlusSegmentation(Segmentation):
    outputs: ClassVar[tuple[str, ...]] = _outputs(DeepWV3Plus.taps)


class PyramidSegmentationStage(Segmentation):
    outputs: ClassVar[tuple[str, ...]] = _outputs(PyramidSegmentation.taps)


class SegNetObservation(Observation):
    inputs: ClassVar[tuple[str, ...]] = _inputs(SegNetObserver.reads)


class SmallSegNetObservation(Observation):
    inputs: ClassVar[tuple[str, ...]] = _inputs(SmallSegNetObserver.reads)


class DeepLabObservation(Observation):
    inputs: ClassVar[tuple[str, ...]] = _inputs(DeepLabV3PlusObserver.reads)


class DeepWV3PlusObservation(Observation):
    inputs: ClassVar[tuple[str, ...]] = _inputs(DeepWV3PlusObserver.reads)


class PyramidObservation(Observation):
    inputs: ClassVar[tuple[str, ...]] = _inputs(PyramidObserver.reads)


STAGES: dict[type[nn.Module], type[Segmentation] | type[Observation]] = {
    SegNet: SegNetSegmentation,
    SegNetObserver: SegNetObservation,
    SmallSegNetObserver: SmallSegNetObservation,
    DeepLabV3Plus: DeepLabSegmentation,
    DeepLabV3PlusObserver: DeepLabObservation,
    DeepWV3Plus: DeepWV3PlusSegmentation,
    DeepWV3PlusObserver: DeepWV3PlusObservation,
    PyramidSegmentation: PyramidSegmentationStage,
    PyramidObserver: PyramidObservation,
}


def paper_stages(segmentation: nn.Module, observer: nn.Module, trained: Trained) -> list[Stage]:
    """The stages of a segmentation network and its observer, in the order they run."""
    return [STAGES[type(network)](network, trained) for network in (segmentation, observer)]
