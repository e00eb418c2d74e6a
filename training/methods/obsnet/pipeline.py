"""The two stages of the light ObsNet, as the runtime runs them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.data.label_spaces import CLASSES
from training.networks.channel_softmax import channel_softmax
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid
from training.stage import Stage

FLOOR = 0.05  # keeps the observer's word where the segmentation is wholly sure


class Segmentation(Stage):
    """Image uint8 [N, H, W, 3] -> logits float32 [N, 19, H/4, W/4], labels uint8, features."""

    name = "segmentation"
    inputs = ("image",)
    outputs = ("logits", "labels", "features_pyramid", "features_4", "features_8")

    def __init__(self, network: LightPyramid) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        normalised = (image.float().permute(0, 3, 1, 2) - 127.0) / 128.0
        logits, pyramid, early_4, early_8 = self.network(normalised)
        return logits, logits.argmax(dim=1).float().to(torch.uint8), pyramid, early_4, early_8


class Observation(Stage):
    """Evidence of the segmentation -> score float32 [N, H/4, W/4] in 0..1, high = unknown.

    score = sqrt(sigmoid(observer) * (u + floor) / (1 + floor)) with u = 1 - max softmax stretched
    to 0..1; the product is averaged over 3x3 cells: both the observer and the segmentation must
    doubt, and their neighbours too. The root spreads small values.
    """

    name = "observer"
    inputs = ("logits", "features_pyramid", "features_4", "features_8")
    outputs = ("score",)

    def __init__(self, network: LightObserver) -> None:
        super().__init__()
        self.network = network

    def forward(self, logits: Tensor, pyramid: Tensor, early_4: Tensor, early_8: Tensor) -> Tensor:
        doubt = torch.sigmoid(self.network(logits, pyramid, early_4, early_8))
        _, surest = channel_softmax(logits)
        unsure = (1.0 - surest[:, 0]) * (CLASSES / (CLASSES - 1))
        product = doubt * (unsure + FLOOR) / (1.0 + FLOOR)
        smooth = functional.avg_pool2d(product, 3, stride=1, padding=1, count_include_pad=False)
        return smooth.clamp(0, 1).sqrt()
