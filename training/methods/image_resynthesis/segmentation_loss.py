"""What Image Resynthesis trained its PSPNets with; the Bayesian SegNet has the first term alone."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from anomaly_seg_ros.classes import VOID

AUXILIARY_WEIGHT = 0.4


def pspnet_loss(logits: Tensor, auxiliary: Tensor, target: Tensor) -> Tensor:
    """(cross entropy of the logits + 0.4 that of the auxiliary head) / 1.4, a scalar.

    logits, auxiliary: float [N, C, H, W]; target: class ids int64 [N, H, W], 255 void.
    """
    main, aside = (
        functional.cross_entropy(scores, target, ignore_index=VOID)
        for scores in (logits, auxiliary)
    )
    return (main + AUXILIARY_WEIGHT * aside) / (1 + AUXILIARY_WEIGHT)
