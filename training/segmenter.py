"""A trained segmentation network with the way images go in: what baselines and benchmarks run."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.label_spaces import CITYSCAPES, LabelSpace


@dataclass(eq=False)
class Segmenter:
    """network: normalised float32 [N, 3, h, w] -> logits [N, C, h', w'], or a tuple, logits first.

    mean, std: in 0..255 units. size: (height, width) that images are resized to, None = their own,
    rounded up to `multiple`. space: what the C classes are. void_class: index of a class that was
    trained on void pixels, if any, beyond those of `space`. feature_index: which element of the
    network's tuple holds the features [N, D, h'', w''] that feature baselines read; None where
    there is none.
    """

    network: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: tuple[int, int] | None = None
    multiple: int = 32
    space: LabelSpace = field(default=CITYSCAPES)
    void_class: int | None = None
    feature_index: int | None = None

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are."""
        return next(self.network.parameters()).device

    def prepare(self, image: Tensor) -> Tensor:
        """RGB [N, H, W, 3] -> normalised float32 [N, 3, h, w] (antialiased bilinear).

        image: uint8, or float32 in 0..255 where an image was computed.
        """
        pixels = image.to(self.device).permute(0, 3, 1, 2).float()
        rows, columns = self.size or (
            -(-side // self.multiple) * self.multiple for side in pixels.shape[-2:]
        )
        if pixels.shape[-2:] != (rows, columns):
            pixels = functional.interpolate(
                pixels, size=(rows, columns), mode="bilinear", antialias=True
            )
        mean = pixels.new_tensor(self.mean)[:, None, None]
        std = pixels.new_tensor(self.std)[:, None, None]
        return (pixels - mean) / std

    def logits(self, prepared: Tensor) -> Tensor:
        """Normalised float32 [N, 3, h, w] -> class scores before softmax [N, C, h', w']."""
        return logits_of(self.network(prepared))

    def logits_and_features(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """As `logits`, with the features [N, D, h'', w'']. ValueError where there are none."""
        made = self.network(prepared)
        if self.feature_index is None or not isinstance(made, tuple):
            raise ValueError("this network hands out no features: feature baselines need a tap")
        return made[0], made[self.feature_index]

    def restore(self, grid: np.ndarray, size: tuple[int, int], *, fill: float) -> np.ndarray:
        """Bring float32 [h', w'] that covers the input evenly to the image's (height, width).

        fill: the value where the network did not look, for those that do not look everywhere.
        """
        if grid.shape == size:
            return grid
        return cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def logits_of(made: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The logits of what a segmenter's network returned."""
    return made[0] if isinstance(made, tuple) else made
