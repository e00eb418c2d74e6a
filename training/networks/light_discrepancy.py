"""Light discrepancy network: where do camera image, synthesis and labels not belong together?

After Lis et al., Detecting the Unexpected (ICCV 2019), section 3.2. The trunk of the light
segmentation takes VGG's place, so that the camera image's features come for free; the correlation
is a cosine per group of channels, which has no range to overflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.light_generator import one_hot

TRUNK_CHANNELS = (24, 40, 112)  # strides 4, 8, 16 of EfficientNet-Lite0
LABEL_CHANNELS = (24, 32, 48)
WIDTHS = (48, 64, 96)
STAGES = 5  # of the encoder, until stride 16
GROUPS = 8  # of channels, each with a correlation of its own


def trunk() -> nn.Module:
    """EfficientNet-Lite0 up to stride 16: normalised image -> maps at strides 4, 8 and 16."""
    encoder = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3))
    blocks = encoder.get_submodule("blocks")
    assert isinstance(blocks, nn.Sequential)
    encoder.blocks = blocks[:STAGES]  # timm keeps the rest, which nothing reads
    return encoder


class LabelFeatures(nn.Module):
    """Labels uint8 [N, h, w] at stride 2, void last -> maps at strides 4, 8 and 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        widths = (classes + 1, *LABEL_CHANNELS)
        self.levels = nn.ModuleList(
            nn.Conv2d(channels, out, 3, stride=2, padding=1) for channels, out in pairwise(widths)
        )

    def forward(self, labels: Tensor) -> list[Tensor]:
        values, maps = one_hot(labels, self.classes), []
        for level in self.levels:
            values = functional.relu(level(values))
            maps.append(values)
        return maps


class Decoder(nn.Sequential):
    """Two convolutions 3x3 with SELU, as in the paper."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(channels, out, 3, padding=1),
            nn.SELU(),
            nn.Conv2d(out, out, 3, padding=1),
            nn.SELU(),
        )


class LightDiscrepancy(nn.Module):
    """Camera image's trunk maps, synthesis and labels -> logits [N, 2, H/4, W/4], 1 = discrepant.

    synthesis, labels: which of the two it looks at (full, generated only, labels only).
    """

    def __init__(self, classes: int = 19, *, synthesis: bool = True, labels: bool = True) -> None:
        super().__init__()
        if not (synthesis or labels):
            raise ValueError("a discrepancy needs the synthesis, the labels or both")
        self.trunk = trunk() if synthesis else None
        self.label_features = LabelFeatures(classes) if labels else None
        self.fuse, self.decode = nn.ModuleList(), nn.ModuleList()
        below = 0
        for level in (2, 1, 0):
            width, image = WIDTHS[level], TRUNK_CHANNELS[level]
            seen = image + synthesis * image + labels * LABEL_CHANNELS[level]
            self.fuse.append(nn.Conv2d(seen, width, 1))
            self.decode.append(Decoder(below + width + synthesis * GROUPS, width))
            below = width
        self.head = nn.Conv2d(WIDTHS[0], 2, 1)

    def forward(
        self, image_maps: Sequence[Tensor], synthesis: Tensor | None, labels: Tensor | None
    ) -> Tensor:
        """image_maps: of `trunk` on the camera image. synthesis: float32 [N, 3, H, W] in 0..1, H
        and W multiples of 16. labels: uint8 [N, H/2, W/2], void 255."""
        synthetic_maps = label_maps = None
        if self.trunk is not None:
            assert synthesis is not None
            synthetic_maps = self.trunk((255.0 * synthesis - 127.0) / 128.0)
        if self.label_features is not None:
            assert labels is not None
            label_maps = self.label_features(labels)
        values: Tensor | None = None
        for step, level in enumerate((2, 1, 0)):
            image = image_maps[level]
            seen, parts = [image], []
            if values is not None:
                parts.append(functional.interpolate(values, size=image.shape[-2:], mode="bilinear"))
            if synthetic_maps is not None:
                seen.append(synthetic_maps[level])
                parts.append(correlation(image, synthetic_maps[level]))
            if label_maps is not None:
                seen.append(label_maps[level])
            parts.append(self.fuse[step](torch.cat(seen, dim=1)))
            values = self.decode[step](torch.cat(parts, dim=1))
        assert values is not None
        return self.head(values)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of two maps [N, C, h, w] in each of GROUPS groups of channels: [N, GROUPS, h, w]."""
    batch, channels, rows, columns = one.shape
    shape = (batch, GROUPS, channels // GROUPS, rows, columns)
    one, other = one.reshape(shape), other.reshape(shape)
    size = (one.square().sum(dim=2) * other.square().sum(dim=2) + 1e-6).sqrt()
    return (one * other).sum(dim=2) / size
