"""Nearest neighbours and the reservoir behind their bank."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_segmenters import centre_labels, images, labelled_frames, outputs, tiny_segmenter

from training.baselines import knn
from training.baselines.base import BaselineError
from training.baselines.knn import KNearest, kth_distance
from training.baselines.reservoir import Reservoir


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sampled(rows: torch.Tensor, cuts: list[int], capacity: int = 10, seed: int = 0) -> torch.Tensor:
    reservoir = Reservoir(capacity, seed)
    edges = [0, *sorted(cuts), len(rows)]
    for start, stop in pairwise(edges):
        reservoir.add(rows[start:stop])
    return reservoir.rows()


@given(st.lists(st.integers(0, 50), max_size=6))
@settings(deadline=None, max_examples=30)
def test_a_sample_is_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    rows = torch.arange(50.0)[:, None]
    assert torch.equal(sampled(rows, cuts), sampled(rows, []))


def test_every_row_is_as_likely_to_be_kept() -> None:
    rows = torch.arange(50.0)[:, None]
    kept = torch.cat([sampled(rows, [20], seed=seed) for seed in range(600)]).long().flatten()
    shares = torch.bincount(kept, minlength=50) / 600
    assert float(shares.sum()) == pytest.approx(10)
    assert shares.min() > 0.13 and shares.max() < 0.27  # 0.2 and its deviation 0.016


def test_a_short_stream_is_kept_whole() -> None:
    rows = torch.arange(8.0)[:, None]
    assert sorted(sampled(rows, [3]).flatten().tolist()) == list(range(8))


def test_the_score_is_the_distance_to_the_kth_nearest_known_feature(monkeypatch) -> None:
    monkeypatch.setattr(knn, "CHUNK", 7)
    segmenter, frames = tiny_segmenter(), labelled_frames()
    features = np.concatenate([outputs(segmenter, image)[1] for image, _ in frames])
    labels = np.concatenate([centre_labels(label).ravel() for _, label in frames])
    bank = unit(features[labels != 255])
    cells = unit(outputs(segmenter, images(1)[0].numpy())[1])
    distances = np.linalg.norm(cells[:, None] - bank, axis=2)
    baseline = KNearest(neighbours=4)
    baseline.fit(segmenter, iter(frames))
    score = baseline.score(segmenter, images(1)).score.numpy().ravel()
    np.testing.assert_allclose(score, np.sort(distances, axis=1)[:, 3], atol=2e-7)


def test_near_neighbours_keep_their_digits() -> None:
    angles = torch.tensor([0.0, 1e-4, 2e-4, 1.0], dtype=torch.double)
    bank = torch.stack([angles.cos(), angles.sin()], dim=1)
    for k, angle in ((1, 0.0), (2, 1e-4), (3, 2e-4)):
        assert float(kth_distance(bank[:1], bank, k)) == pytest.approx(angle, rel=1e-4, abs=1e-7)


def test_equal_features_are_neighbours_each() -> None:
    bank = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
    assert float(kth_distance(bank[:1], bank, 3)) == pytest.approx(0, abs=1e-7)
    assert float(kth_distance(bank[:1], bank, 4)) == pytest.approx(2**0.5)


def test_banks_depend_on_the_seed_alone() -> None:
    segmenter = tiny_segmenter()
    banks = []
    for seed in (1, 1, 2):
        baseline = KNearest(3, bank=20, seed=seed)
        baseline.fit(segmenter, labelled_frames())
        banks.append(baseline.state_dict()["bank"])
    assert torch.equal(banks[0], banks[1])
    assert not torch.equal(banks[0], banks[2])
    assert banks[0].shape == (20, 6)


def test_too_few_labelled_cells_are_refused() -> None:
    image, label = labelled_frames(1)[0]
    with pytest.raises(BaselineError, match="0 labelled cells, at least 10"):
        KNearest().fit(tiny_segmenter(), [(image, np.full_like(label, 255))])
