"""Deep ensembles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_segmenters import entropy, images, softmax, tiny_segmenter

from training.baselines.base import BaselineError
from training.baselines.deep_ensemble import DeepEnsemble


def test_the_score_is_the_entropy_of_the_members_mean() -> None:
    members = [tiny_segmenter(seed) for seed in range(3)]
    members[2].mean = (0.0, 0.0, 0.0)  # each member prepares the image its own way
    with torch.no_grad():
        answers = [m.logits(m.prepare(images())).numpy() for m in members]
    mean = softmax(np.stack(answers), axis=2).mean(axis=0)
    scored = DeepEnsemble(members[1:]).score(members[0], images())
    np.testing.assert_allclose(scored.score.numpy(), entropy(mean), atol=1e-6)
    np.testing.assert_array_equal(scored.labels.numpy(), mean.argmax(axis=1))


def test_members_in_training_mode_are_evaluated_and_left_so() -> None:
    first, second = tiny_segmenter(0), tiny_segmenter(1)
    expected = DeepEnsemble([second]).score(first, images()).score
    second.network.train()
    assert torch.equal(DeepEnsemble([second]).score(first, images()).score, expected)
    assert second.network.training


def test_one_network_is_no_ensemble() -> None:
    with pytest.raises(BaselineError, match="at least two checkpoints"):
        DeepEnsemble([])


def test_networks_with_other_classes_are_refused() -> None:
    with pytest.raises(BaselineError, match="answer with"):
        DeepEnsemble([tiny_segmenter(1, classes=7)]).score(tiny_segmenter(), images(1))
