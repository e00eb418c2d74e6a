"""The light pyramid in the paper's form: a segmentation that hands out features, and an observer
of the same shape that adds them to its own.

V. Besnier, A. Bursuc, D. Picard, A. Briot: Triggering Failures (ICCV 2021), section 3.1. The small
observer of the default model is `light_observer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from training.networks.light_pyramid import ENCODER_CHANNELS, Pyramid

DROPOUT = 0.1  # of whole channels of each of the pyramid's maps
LEVELS = len(ENCODER_CHANNELS)


class PyramidStages(Pyramid):
    """What the two share. H and W are multiples of 32; the answer has the image's size."""

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.dropouts = nn.ModuleList(nn.Dropout2d(DROPOUT) for _ in range(LEVELS))

    def walk(self, image: Tensor, added: Sequence[Tensor] = ()) -> tuple[Tensor, list[Tensor]]:
        """Answer float32 [N, outputs, H, W] to a normalised image [N, 3, H, W], and eight maps: the
        encoder's at strides 4, 8, 16, 32, the pyramid's at 32, 16, 8, 4. `added`: eight such maps,
        each added to its own as it is made."""

        def finish(place: int, made: Tensor) -> Tensor:
            kept = self.dropouts[place](made)
            return kept + added[LEVELS + place] if added else kept

        levels = self.encoder(image)
        if added:
            levels = [own + other for own, other in zip(levels, added[:LEVELS], strict=True)]
        pyramid = self.merge(levels, finish)
        answer = functional.interpolate(
            self.head(pyramid[-1]), size=image.shape[-2:], mode="bilinear"
        )
        return answer, [*levels, *pyramid]


class PyramidSegmentation(PyramidStages):
    """Logits and the features that the observer reads."""

    taps: ClassVar[tuple[str, ...]] = (
        *(f"encoder_{stride}" for stride in (4, 8, 16, 32)),
        *(f"pyramid_{stride}" for stride in (32, 16, 8, 4)),
    )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalised image [N, 3, H, W] -> logits [N, C, H, W], then the taps."""
        logits, maps = self.walk(image)
        return logits, *maps


class PyramidObserver(PyramidStages):
    """One logit per pixel, high where the segmentation is wrong."""

    reads: ClassVar[tuple[str, ...]] = ("image", *PyramidSegmentation.taps)

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, image: Tensor, *taps: Tensor) -> Tensor:
        """Normalised image [N, 3, H, W] and the segmentation's taps -> logit [N, 1, H, W]."""
        return self.walk(image, taps)[0]
