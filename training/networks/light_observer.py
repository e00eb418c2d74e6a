"""Light observer: says where the segmentation cannot be trusted, from its own features.

After Besnier et al. (ICCV 2021), whose observer mirrors the whole segmentation network; this one
reads the segmentation's pyramid, its probabilities and early encoder features instead, and costs
a fraction of it.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.label_spaces import CLASSES
from training.networks.channel_softmax import channel_softmax
from training.networks.light_pyramid import ENCODER_CHANNELS, PYRAMID_CHANNELS, Separable

WIDTH = 48
EARLY_CHANNELS = ENCODER_CHANNELS[0] + ENCODER_CHANNELS[1]
EVIDENCE = ("pyramid", "answer", "early")
"""What the observer reads, in this order: the pyramid; probabilities, entropy and largest logit;
the encoder's features at strides 4 and 8, which are the nearest to the image."""


class LightObserver(nn.Module):
    """Evidence of the segmentation -> one logit per pixel at stride 4, high = unknown."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.channels = (PYRAMID_CHANNELS, classes + 2, EARLY_CHANNELS)
        self.reduce = nn.Sequential(
            nn.Conv2d(sum(self.channels), WIDTH, 1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU6(inplace=True),
        )
        self.near = Separable(WIDTH, WIDTH)
        self.far = Separable(WIDTH, WIDTH, dilation=3)
        self.head = nn.Conv2d(WIDTH, 1, 1)

    def ignore(self, evidence: Collection[str]) -> None:
        """Read nothing of `evidence`, names of EVIDENCE, now and in training: weights of zero.

        The network keeps its shape, so its checkpoints open and export as all others.
        """
        if not evidence:
            return
        wanted = [float(name not in evidence) for name in EVIDENCE]
        weight = self.get_parameter("reduce.0.weight")
        kept = torch.tensor(wanted).repeat_interleave(torch.tensor(self.channels))[:, None, None]
        with torch.no_grad():
            weight.mul_(kept)
        weight.register_hook(lambda gradient: gradient * kept.to(gradient.device))

    def forward(self, logits: Tensor, pyramid: Tensor, early_4: Tensor, early_8: Tensor) -> Tensor:
        """logits [N, 19, h, w], pyramid [N, 96, h, w], encoder strides 4 and 8 -> [N, h, w]."""
        probabilities, _ = channel_softmax(logits)
        entropy = -(probabilities * (probabilities + 1e-7).log()).sum(dim=1, keepdim=True)
        peak = logits.amax(dim=1, keepdim=True) / 10.0
        raised = functional.interpolate(early_8, size=early_4.shape[-2:], mode="bilinear")
        evidence = torch.cat((pyramid, probabilities, entropy, peak, early_4, raised), dim=1)
        hidden = self.reduce(evidence)
        hidden = self.near(hidden) + hidden
        hidden = self.far(hidden) + hidden
        return self.head(hidden)[:, 0]
