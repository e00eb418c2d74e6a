"""Observers of a SegNet: one logit per pixel, high where the SegNet is wrong.

V. Besnier, A. Bursuc, D. Picard, A. Briot: Triggering Failures (ICCV 2021), section 3.1.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from training.networks.segnet import DROPOUT, SegNet, SegNetStages, units

OBSERVER_DROPOUT = dict.fromkeys(DROPOUT, 0.1)
SMALL_DROPOUT = 0.3


class SegNetObserver(SegNetStages):
    """A second SegNet that adds the first one's features to its own, stage by stage.

    It unpools with its own places. The published last unit ends with ReLU and feeds a 1x1
    convolution, so the logit is bounded on one side by that convolution's bias, and most pixels lie
    on the bound. bounded False leaves that ReLU out: every pixel gets a score of its own.
    """

    reads: ClassVar[tuple[str, ...]] = ("image", *SegNet.taps)

    def __init__(self, *, width: float = 1.0, bounded: bool = True) -> None:
        super().__init__(1, OBSERVER_DROPOUT, width=width)
        if not bounded:
            last = self.get_submodule("up1.conv2.cbr_unit")
            assert isinstance(last, nn.Sequential)
            last[-1] = nn.Identity()
        self.fc = nn.Conv2d(1, 1, 1)

    def forward(self, image: Tensor, *taps: Tensor) -> Tensor:
        """Normalised image [N, 3, H, W] and the SegNet's nine taps -> logit [N, 1, H, W]."""
        return self.fc(self.walk(image, added=taps)["up1"])


class SmallSegNetObserver(nn.Module):
    """A decoder on the SegNet's `up4` alone, enlarging by nearest neighbour instead of unpooling.

    The published code leaves the dropout on when it evaluates; here it follows `eval()`.
    """

    reads: ClassVar[tuple[str, ...]] = ("up4",)

    def __init__(self) -> None:
        super().__init__()
        self.up3 = units((256, 256, 256, 128))
        self.dropout = nn.Dropout(SMALL_DROPOUT)
        self.up2 = units((128, 128, 64))
        self.up1 = units((64, 64, 1))
        self.fc = nn.Conv2d(1, 1, 1)

    def forward(self, up4: Tensor) -> Tensor:
        """up4 [N, 256, h, w] -> logit [N, 1, 8h, 8w]: the image's size if that divides by 8."""
        values = self.dropout(self.up3(_doubled(up4)))
        return self.fc(self.up1(_doubled(self.up2(_doubled(values)))))


def _doubled(values: Tensor) -> Tensor:
    return functional.interpolate(values, scale_factor=2.0, mode="nearest")
