"""The road autoencoder as the one stage of a chain."""

from __future__ import annotations

from torch import Tensor

from training.networks.road_autoencoder import RoadAutoencoder
from training.stage import Stage


class RoadReconstruction(Stage):
    """Image uint8 [N, H, W, 3] -> score float32 [N, H, W] in 0..1, high = unlike the road.

    Whatever is no road scores high, too: read it on the road. A score is relative to the mean error
    of its own image, where the published figures take the mean of 50 frames.
    """

    name, inputs, outputs = "reconstruction", ("image",), ("score",)

    def __init__(self, network: RoadAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image.float().permute(0, 3, 1, 2))[0]
