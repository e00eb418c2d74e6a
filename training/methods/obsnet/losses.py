"""Losses of the segmentation, of outliers and of the observer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.label_spaces import OUTLIER, SPACES, VOID

# Pixel share of each label, measured on the training splits.
LABEL_SHARES = {
    "cityscapes": (
        *(0.324, 0.049, 0.196, 0.0055, 0.0075, 0.0067, 0.001, 0.0033, 0.136, 0.009, 0.034),
        *(0.0085, 0.0007, 0.056, 0.0024, 0.002, 0.002, 0.0007, 0.0035),
    ),
    "camvid": (0.17, 0.23, 0.01, 0.29, 0.06, 0.11, 0.013, 0.012, 0.06, 0.0065, 0.0025),
    "idd_lite": (0.323, 0.022, 0.013, 0.081, 0.113, 0.257, 0.19),
    "yamaha_cmu": (0.297, 0.587, 0.105, 0.01),
}


class FoldedCrossEntropy(nn.Module):
    """Cross-entropy in each image's own label space, weighted 1 / log(offset + share of the label).

    ENet's weights (Paszke et al., 2016, section 5.2), there with offset 1.02: the smaller, the more
    a rare class counts. On Cityscapes the rarest weighs 3.7 times road at 1.1, 14 times at 1.02.
    """

    def __init__(self, offset: float = 1.1) -> None:
        super().__init__()
        for index, space in enumerate(SPACES):
            self.register_buffer(f"fold_{index}", torch.from_numpy(space.matrix), persistent=False)
            shares = torch.tensor(LABEL_SHARES[space.name])
            weight = 1.0 / torch.log(offset + shares)
            self.register_buffer(f"weight_{index}", weight / weight.mean(), persistent=False)

    def forward(self, log_probabilities: Tensor, target: Tensor, spaces: Tensor) -> Tensor:
        """log_probabilities [N, 19, h, w], target int64 [N, h, w], spaces int64 [N] -> scalar."""
        total = log_probabilities.new_zeros(())
        mass = log_probabilities.new_full((), 1e-6)
        for index, space in enumerate(SPACES):
            rows = spaces == index
            if not bool(rows.any()):
                continue
            folded = log_probabilities[rows]
            if len(space.groups) != folded.shape[1]:
                fold = self.get_buffer(f"fold_{index}")
                sums = torch.einsum("nchw,cg->nghw", folded.exp(), fold)
                folded = (sums + 1e-6).log()
            folded = folded.contiguous()  # nll_loss has no channels-last backward on the CPU
            ids = target[rows].clone()
            ids[ids >= len(space.groups)] = VOID  # outliers have a loss of their own, NORMAL none
            weight = self.get_buffer(f"weight_{index}")
            total = total + functional.nll_loss(
                folded, ids, weight, ignore_index=VOID, reduction="sum"
            )
            known = ids[ids != VOID]
            mass = mass + weight[known].sum()
        return total / mass


def outlier_entropy(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """Mean negative log probability over all classes on outlier pixels: pushes towards uniform.

    Chan et al., Entropy Maximization and Meta Classification (ICCV 2021), eq. 2.
    """
    outlier = target == OUTLIER
    if not bool(outlier.any()):
        return log_probabilities.new_zeros(())
    return -(log_probabilities.mean(dim=1)[outlier]).mean()


def observer_loss(
    logit: Tensor, unknown: Tensor, valid: Tensor, *, weight: float = 3.0, gamma: float = 2.0
) -> Tensor:
    """Focal binary cross-entropy; logit float32, unknown and valid bool [N, h, w]."""
    truth = unknown.float()
    plain = functional.binary_cross_entropy_with_logits(logit, truth, reduction="none")
    surprise = (1.0 - torch.exp(-plain)) ** gamma
    pixel = surprise * plain * torch.where(unknown, weight, 1.0)
    return (pixel * valid).sum() / valid.sum().clamp(min=1)


def error_loss(
    logit: Tensor, wrong: Tensor, valid: Tensor, *, weight: float, gamma: float = 0.0
) -> Tensor:
    """The paper's loss of the observer; logit float32, wrong and valid bool [N, h, w].

    b = binary cross-entropy with wrong pixels `weight` times heavier; mean of (1 - exp(-b))^gamma b
    over the valid pixels. The release trains with gamma 0; its focal form is wired to nothing. The
    light family's loss differs: there the weight stands outside the focus.
    """
    pixel = functional.binary_cross_entropy_with_logits(
        logit, wrong.float(), reduction="none", pos_weight=logit.new_tensor(weight)
    )
    if gamma:
        pixel = (1.0 - torch.exp(-pixel)) ** gamma * pixel
    return (pixel * valid).sum() / valid.sum().clamp(min=1)
