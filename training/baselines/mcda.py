"""Monte Carlo data augmentation: how the answer moves with the colours of the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import functional as colours

from training.baselines.base import Baseline, Scored, labels_of
from training.baselines.samples import Measure, Samples, predictive_entropy
from training.segmenter import Segmenter

PASSES = 25  # ObsNet


@dataclass(frozen=True)
class Jitter:
    """Ranges of uniform draws, as in ObsNet; hue in turns of the colour wheel."""

    gamma: tuple[float, float] = (1.0, 1.3)
    saturation: tuple[float, float] = (0.9, 1.1)
    hue: tuple[float, float] = (-0.03, 0.03)
    brightness: tuple[float, float] = (0.8, 1.2)
    contrast: tuple[float, float] = (0.8, 1.2)

    def draw(self, generator: torch.Generator) -> Jitter:
        """One draw of each, as ranges of no width."""
        drawn = {}
        for name, (low, high) in vars(self).items():
            share = torch.rand((), generator=generator, dtype=torch.double).item()
            drawn[name] = (low + share * (high - low),) * 2
        return Jitter(**drawn)


class MCDA(Baseline):
    """Entropy of the mean softmax over colour-jittered images (Ayhan and Berens, MIDL 2018).

    Jittered images are normalised as any other; the ObsNet release feeds them without. The labels
    are those of the image as it is. Same seed, same jitters for every frame.
    """

    name = "mcda"

    def __init__(
        self,
        passes: int = PASSES,
        *,
        jitter: Jitter = Jitter(),
        measure: Measure = predictive_entropy,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.passes, self.jitter, self.measure, self.seed = passes, jitter, measure, seed

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        plain = segmenter.logits(segmenter.prepare(image))
        samples = Samples.like(plain)
        generator = torch.Generator().manual_seed(self.seed)
        image = image.to(segmenter.device)
        for _ in range(self.passes):
            moved = jittered(image, self.jitter.draw(generator))
            samples.add(segmenter.logits(segmenter.prepare(moved)))
        return Scored(labels_of(plain), self.measure(samples))


def jittered(image: Tensor, jitter: Jitter) -> Tensor:
    """Image uint8 [N, H, W, 3] under the lower ends of `jitter`: float32 in 0..255, not rounded.

    In this order: gamma, saturation, hue, brightness, contrast; clamped after each.
    """
    values = image.permute(0, 3, 1, 2).float() / 255
    values = colours.adjust_gamma(values, jitter.gamma[0])
    values = colours.adjust_saturation(values, jitter.saturation[0])
    values = colours.adjust_hue(values, jitter.hue[0])
    values = colours.adjust_brightness(values, jitter.brightness[0])
    values = colours.adjust_contrast(values, jitter.contrast[0])
    return values.permute(0, 2, 3, 1) * 255
