"""Mahalanobis distances and the running moments behind them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_segmenters import (
    CLASSES,
    centre_labels,
    images,
    labelled_frames,
    outputs,
    segmenter_of,
    tiny_segmenter,
)
from torch import nn

from training.baselines.base import BaselineError
from training.baselines.mahalanobis import Mahalanobis, gaussians, nearest
from training.baselines.moments import ClassMoments


def counted(rows: np.ndarray, classes: np.ndarray, cuts: list[int]) -> ClassMoments:
    moments = ClassMoments.empty(3, rows.shape[1], torch.device("cpu"))
    edges = [0, *sorted(cuts), len(rows)]
    for start, stop in pairwise(edges):
        moments.update(torch.from_numpy(rows[start:stop]), torch.from_numpy(classes[start:stop]))
    return moments


@given(st.lists(st.integers(0, 60), max_size=5), st.sampled_from([0.0, 1e6]))
@settings(deadline=None, max_examples=25)
def test_moments_are_the_same_however_the_stream_is_cut(cuts: list[int], shift: float) -> None:
    rng = np.random.default_rng(0)
    rows, classes = rng.standard_normal((60, 4)) + shift, rng.integers(0, 2, 60)
    moments = counted(rows, classes, cuts)
    products = np.zeros((4, 4))
    for label in (0, 1):
        member = rows[classes == label]
        deviations = member - member.mean(axis=0)
        products += deviations.T @ deviations
        np.testing.assert_allclose(
            moments.means[label], member.mean(axis=0), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(moments.squares[label], (deviations**2).sum(axis=0), rtol=1e-8)
    np.testing.assert_allclose(moments.products, products, rtol=1e-8, atol=1e-8)
    assert moments.counts.tolist() == [*np.bincount(classes), 0]


def test_the_score_is_the_distance_to_the_nearest_class() -> None:
    segmenter, frames = tiny_segmenter(), labelled_frames()
    features = np.concatenate([outputs(segmenter, image)[1] for image, _ in frames])
    labels = np.concatenate([centre_labels(label).ravel() for _, label in frames])
    means = np.stack([features[labels == k].mean(axis=0) for k in range(CLASSES)])
    known = labels != 255
    deviations = features[known] - means[labels[known]]
    inverse = np.linalg.inv(deviations.T @ deviations / known.sum())
    away = outputs(segmenter, images(1)[0].numpy())[1][:, None] - means
    expected = np.sqrt(np.einsum("pkd,de,pke->pk", away, inverse, away)).min(axis=1)

    baseline = Mahalanobis()
    baseline.fit(segmenter, iter(frames))
    score = baseline.score(segmenter, images(1)).score
    assert score.dtype == torch.float32
    np.testing.assert_allclose(score.numpy().ravel(), expected, rtol=1e-4)


def test_features_that_depend_on_each_other_do_not_break_it() -> None:
    rng = np.random.default_rng(0)
    rows, classes = rng.standard_normal((40, 2)), rng.integers(0, 3, 40)
    fitted = gaussians(counted(np.hstack([rows, rows]), classes, []))
    distance = nearest(torch.zeros(2, 4), **fitted)
    assert distance.isfinite().all()


def test_classes_without_labels_attract_nothing() -> None:
    rng = np.random.default_rng(0)
    fitted = gaussians(counted(rng.standard_normal((40, 2)) + 50, np.ones(40, np.int64), []))
    assert len(fitted["centres"]) == 1
    assert float(nearest(torch.zeros(1, 2), **fitted)) > 10


def test_constant_features_are_refused() -> None:
    with pytest.raises(BaselineError, match="do not vary"):
        gaussians(counted(np.ones((5, 2)), np.zeros(5, np.int64), []))


def test_scores_of_coarse_features_lie_on_the_grid_of_the_logits() -> None:
    class Coarse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_segmenter().network

        def forward(self, image):
            logits, features = self.inner(image)
            return logits, nn.functional.avg_pool2d(features, 2)

    segmenter = segmenter_of(Coarse(), feature_index=1)
    baseline = Mahalanobis()
    baseline.fit(segmenter, labelled_frames())
    scored = baseline.score(segmenter, images())
    assert scored.score.shape == scored.labels.shape == (3, 8, 12)
