"""Losses of the label-to-image generator (pix2pixHD, CVPR 2018, as the method trains it)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from training.networks.light_pyramid import load_efficientnet_lite0
from training.weights import WeightsError, read_checkpoint
from training.weights.checkpoint import bare_state_dict
from training.weights.imagenet import imagenet_weights

Scales = Sequence[Sequence[Tensor]]  # per scale of a discriminator the maps of its layers

VGG19_LAYERS = (1, 6, 11, 20, 29)  # relu1_1, 2_1, 3_1, 4_1, 5_1 of torchvision's vgg19.features
VGG19_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


def adversarial_loss(scales: Scales, real: bool) -> Tensor:
    """Least squares: the last map of each scale against 1 for real, 0 for synthetic."""
    goal = 1.0 if real else 0.0
    losses = [(maps[-1].float() - goal).square().mean() for maps in scales]
    return torch.stack(losses).sum()


def feature_matching_loss(synthetic: Scales, real: Scales) -> Tensor:
    """Mean over scales of the summed L1 distances of all maps but the last; real ones detached."""
    losses = [
        functional.l1_loss(ours.float(), theirs.detach().float())
        for mine, other in zip(synthetic, real, strict=True)
        for ours, theirs in zip(mine[:-1], other[:-1], strict=True)
    ]
    return torch.stack(losses).sum() / len(synthetic)


class Vgg19Distance(nn.Module):
    """Weighted L1 distance of torchvision's VGG-19 features, of images in -1..1 as they are.

    weights: a `vgg19` file of torchvision, which nobody ships here. Raises WeightsError.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        vgg = torchvision.models.vgg19(weights=None)
        try:
            vgg.load_state_dict(bare_state_dict(read_checkpoint(weights)))
        except (RuntimeError, WeightsError) as error:
            raise WeightsError(f"{weights} is no vgg19 file of torchvision: {error}") from error
        self.features = vgg.features[: VGG19_LAYERS[-1] + 1].eval().requires_grad_(False)

    def forward(self, synthetic: Tensor, real: Tensor) -> Tensor:
        distance = synthetic.new_zeros(())
        for index, layer in enumerate(self.features):
            synthetic, real = layer(synthetic), layer(real)
            if index in VGG19_LAYERS:
                weight = VGG19_WEIGHTS[VGG19_LAYERS.index(index)]
                distance = distance + weight * functional.l1_loss(synthetic.float(), real.float())
        return distance


class EfficientNetDistance(nn.Module):
    """L1 distance of EfficientNet-Lite0's features (ImageNet) at strides 2, 4, 8 and 16.

    Each level counts relative to the mean size of the real image's features, so that none
    outweighs another; the sum is a few tenths of the VGG distance's range.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model(
            "tf_efficientnet_lite0", features_only=True, out_indices=(0, 1, 2, 3)
        )
        load_efficientnet_lite0(self.encoder, imagenet_weights())
        self.encoder.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> EfficientNetDistance:
        """Its batch norms keep ImageNet's statistics."""
        return super().train(False)

    def forward(self, synthetic: Tensor, real: Tensor) -> Tensor:
        """Images float32 [N, 3, H, W] in -1..1 -> scalar."""
        with torch.no_grad():
            theirs = self.encoder(_normalised(real))
        distances = [
            functional.l1_loss(ours.float(), other.float()) / other.float().abs().mean()
            for ours, other in zip(self.encoder(_normalised(synthetic)), theirs, strict=True)
        ]
        return torch.stack(distances).mean()


def _normalised(image: Tensor) -> Tensor:
    """-1..1 -> (v - 127) / 128 of v in 0..255."""
    return ((image + 1.0) * 127.5 - 127.0) / 128.0
