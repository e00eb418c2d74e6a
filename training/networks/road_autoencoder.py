"""Road autoencoder: what a small model of road patches cannot reproduce is no road.

After C. Creusot, A. Munawar: Real-time small obstacle detection on highways using compressive RBM
road reconstruction (IV 2015), in the form Lis et al. compare with (ICCV 2019): an autoencoder with
tied weights, no Boltzmann machine.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH, STRIDE = 8, 6  # pixels
VALUES = 3 * PATCH * PATCH
HIDDEN = 20


class RoadAutoencoder(nn.Module):
    """RGB float32 [N, 3, H, W] in 0..255 -> score [N, H, W] in 0..1 and the image, reconstructed.

    Patches of 8x8 on a grid of 6 pixels, each without its mean; what overlaps is averaged, and 0
    where the grid ends before the image does. H and W at least 8.

    The score relates a patch's error to the mean one of its own image: 1 - min(mean / error, 1).
    The published evaluation takes the mean of 50 images at once; for a single one both are equal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(VALUES, HIDDEN)
        self.bias_visible = nn.Parameter(torch.zeros(VALUES))
        # Cutting into patches and laying them back, as convolutions: every runtime has those.
        self.place: Tensor
        self.window: Tensor
        place = torch.eye(VALUES).reshape(VALUES, 3, PATCH, PATCH)
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("window", torch.ones(1, 1, PATCH, PATCH), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        patches, means = self.patches(image)
        found = self.reconstructed(patches)
        pixels = (found * 255 + means).clamp(0, 255)
        score = self._laid(self.patch_score(patches, found), self.window, image)
        return score[:, 0], self._laid(pixels, self.place, image)

    def patches(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Patches over 255 without their means, [N, 192, h, w], and the means, [N, 1, h, w]."""
        values = functional.conv2d(image, self.place, stride=STRIDE)
        means = values.mean(dim=1, keepdim=True)
        return (values - means) / 255, means

    def reconstructed(self, patches: Tensor) -> Tensor:
        """[N, 192, h, w] -> the same patches through the bottleneck."""
        weight = self.linear_layer.weight[..., None, None]
        hidden = functional.conv2d(patches, weight, self.linear_layer.bias).sigmoid()
        return functional.conv2d(hidden, weight.transpose(0, 1), self.bias_visible)

    def patch_score(self, patches: Tensor, reconstructed: Tensor) -> Tensor:
        """[N, 1, h, w] in 0..1: a patch at or below its image's mean error has 0."""
        error = (patches - reconstructed).abs().mean(dim=1, keepdim=True)
        return 1 - (error.mean(dim=(1, 2, 3), keepdim=True) / error).clamp(0, 1)

    def _laid(self, patches: Tensor, kernel: Tensor, image: Tensor) -> Tensor:
        """[N, K, h, w] -> [N, C, H, W] by a kernel [K, C, 8, 8], overlapping patches averaged."""
        total = functional.conv_transpose2d(patches, kernel, stride=STRIDE)
        ones = torch.ones_like(patches[:1, :1])
        mean = total / functional.conv_transpose2d(ones, self.window, stride=STRIDE)
        rows, columns = (a - b for a, b in zip(image.shape[-2:], mean.shape[-2:], strict=True))
        return functional.pad(mean, (0, columns, 0, rows))
