import numpy as np
import pytest
import torch

from training.data.label_spaces import CAMVID, NORMAL, OUTLIER, SPACES, VOID
from training.methods.obsnet.losses import (
    LABEL_SHARES,
    FoldedCrossEntropy,
    observer_loss,
    outlier_entropy,
)


@pytest.mark.parametrize("offset", [1.1, 1.02])
def test_folded_cross_entropy_equals_the_formula_in_double_precision(offset):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 19, 4, 5))
    truth = rng.integers(0, 11, (1, 4, 5))
    truth[0, 0, 0], truth[0, 1, 1] = VOID, OUTLIER
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    weight = 1 / np.log(offset + np.array(LABEL_SHARES["camvid"]))
    weight /= weight.mean()
    loss, mass = 0.0, 0.0
    for y, x in np.ndindex(4, 5):
        label = truth[0, y, x]
        if label < 11:
            share = probabilities[0, list(CAMVID.groups[label]), y, x].sum()
            loss -= weight[label] * np.log(share)
            mass += weight[label]
    ours = FoldedCrossEntropy(offset)(
        torch.tensor(logits).float().log_softmax(1),
        torch.tensor(truth),
        torch.tensor([SPACES.index(CAMVID)]),
    )
    assert float(ours) == pytest.approx(loss / mass, rel=1e-4)


def test_images_of_different_spaces_share_one_mean():
    logits = torch.randn(2, 19, 4, 4)
    target = torch.zeros(2, 4, 4, dtype=torch.int64)
    loss = FoldedCrossEntropy()(logits.log_softmax(1), target, torch.tensor([0, 2]))
    assert torch.isfinite(loss)


@pytest.mark.parametrize("label", [VOID, NORMAL])
def test_only_void_or_normal_costs_nothing(label):
    target = torch.full((1, 4, 4), label)
    loss = FoldedCrossEntropy()(torch.randn(1, 19, 4, 4).log_softmax(1), target, torch.tensor([0]))
    assert float(loss) == 0.0


def test_outlier_entropy_is_least_for_a_uniform_answer():
    target = torch.full((1, 2, 2), OUTLIER)
    uniform = outlier_entropy(torch.zeros(1, 19, 2, 2).log_softmax(1), target)
    peaked = outlier_entropy(
        torch.eye(19)[:1, :, None, None].mul(5).log_softmax(1), target[:, :1, :1]
    )
    assert float(uniform) == pytest.approx(np.log(19), rel=1e-5)
    assert float(peaked) > float(uniform)


def test_observer_loss_without_focus_is_weighted_cross_entropy():
    logit = torch.tensor([[[0.3, -1.2]]])
    unknown, valid = torch.tensor([[[True, False]]]), torch.ones(1, 1, 2, dtype=torch.bool)
    expected = (3 * np.log1p(np.exp(-0.3)) + np.log1p(np.exp(-1.2))) / 2
    assert float(observer_loss(logit, unknown, valid, gamma=0.0)) == pytest.approx(
        expected, rel=1e-5
    )


def test_invalid_pixels_do_not_count():
    logit = torch.tensor([[[0.3, 50.0]]])
    unknown, valid = torch.tensor([[[True, False]]]), torch.tensor([[[True, False]]])
    assert float(observer_loss(logit, unknown, valid)) < 3.0
