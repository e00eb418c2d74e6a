"""Standardized max logits and their refinement against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_segmenters import images, labelled_frames, outputs, tiny_segmenter

from training.baselines.base import BaselineError
from training.baselines.post_hoc import PostHoc
from training.baselines.standardized_max_logit import (
    FEWEST,
    Refinement,
    StandardizedMaxLogit,
    smoothed,
    suppressed,
)


def frames_of(*logits: np.ndarray) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [
        (torch.from_numpy(part), torch.zeros(part[:, 0].shape, dtype=torch.int64))
        for part in logits
    ]


def random_logits(count: int, shift: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        (3 * rng.standard_normal((1, 4, 12, 16)) + shift).astype(np.float32) for _ in range(count)
    ]


@pytest.mark.parametrize("shift", [0.0, 5000.0])
def test_statistics_are_those_of_the_max_logits_of_each_predicted_class(shift: float) -> None:
    parts = random_logits(3, shift)
    stage = StandardizedMaxLogit()
    stage.fit(frames_of(*parts))
    rows = np.concatenate([p[0].reshape(4, -1).T for p in parts]).astype(np.float64)
    for label in range(4):
        best = rows.max(axis=1)[rows.argmax(axis=1) == label]
        assert len(best) >= FEWEST
        assert float(stage.mean[label]) == pytest.approx(best.mean(), rel=1e-6)
        assert float(stage.deviation[label]) == pytest.approx(best.std(), rel=1e-6)


def test_chunks_give_what_all_frames_at_once_give() -> None:
    parts = random_logits(4)
    whole, streamed = StandardizedMaxLogit(), StandardizedMaxLogit()
    whole.fit(frames_of(np.concatenate(parts)))
    streamed.fit(frames_of(*parts))
    torch.testing.assert_close(whole.mean, streamed.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(whole.deviation, streamed.deviation, rtol=1e-6, atol=0)


def test_classes_that_are_hardly_predicted_take_the_statistics_of_all() -> None:
    logits = np.zeros((1, 4, 10, 10), np.float32)
    logits[0, 0] = np.random.default_rng(0).uniform(1, 2, (10, 10))
    logits[0, 1, 0, : FEWEST // 5] = 9.0
    stage = StandardizedMaxLogit()
    stage.fit(frames_of(logits))
    best = logits[0].max(axis=0).astype(np.float64)
    for label in (1, 2, 3):
        assert float(stage.mean[label]) == pytest.approx(best.mean(), rel=1e-6)
        assert float(stage.deviation[label]) == pytest.approx(best.std(), rel=1e-6)
    assert float(stage.mean[0]) == pytest.approx(best[logits[0, 1] < 9].mean(), rel=1e-6)


def test_a_constant_max_logit_does_not_divide_by_zero() -> None:
    logits = np.zeros((1, 4, 10, 10), np.float32)
    stage = StandardizedMaxLogit()
    stage.fit(frames_of(logits))
    assert (stage(torch.from_numpy(logits)) == 0).all()


def test_scores_are_standardised_by_the_predicted_class() -> None:
    segmenter, frames = tiny_segmenter(), labelled_frames()
    baseline = PostHoc(StandardizedMaxLogit())
    baseline.fit(segmenter, frames)
    state = {key: value.numpy() for key, value in baseline.state_dict().items()}
    scored = baseline.score(segmenter, images(1))
    logits = outputs(segmenter, images(1)[0].numpy())[0]
    label = logits.argmax(axis=1)
    expected = -(logits.max(axis=1) - state["mean"][label]) / state["deviation"][label]
    np.testing.assert_allclose(scored.score.numpy().ravel(), expected, rtol=1e-5, atol=1e-5)


def test_an_unfitted_stage_says_so() -> None:
    with pytest.raises(BaselineError, match="knows 0 classes, the logits have 4"):
        StandardizedMaxLogit()(torch.zeros(1, 4, 2, 2))


def slowly_suppressed(score: np.ndarray, label: np.ndarray, r: Refinement) -> np.ndarray:
    rows, columns = score.shape
    cells = [(y, x) for y in range(rows) for x in range(columns)]
    score = score.astype(np.float64)
    for width in range(r.width, 0, -r.step):
        off = np.ones((rows, columns), bool)
        for y, x in cells:
            off[y, x] = all(
                label[v, u] == label[y, x] for v, u in cells if abs(v - y) + abs(u - x) <= width
            )
        before = score.copy()
        for y, x in cells:
            near = (slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
            if not off[y, x] and off[near].any():
                score[y, x] = before[near][off[near]].mean()
    return score


def test_scores_near_class_boundaries_come_from_beside_the_boundary() -> None:
    rng = np.random.default_rng(1)
    score = rng.standard_normal((14, 18)).astype(np.float32)
    label = np.zeros((14, 18), np.int64)
    label[3:9, 5:] = 1
    label[10:, :4] = 2
    for refinement in (Refinement(width=4, step=2), Refinement(width=3, step=1)):
        found = suppressed(torch.from_numpy(score)[None], torch.from_numpy(label)[None], refinement)
        expected = slowly_suppressed(score, label, refinement)
        assert not np.allclose(expected, score)
        np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_frames_without_boundaries_stay_as_they_are() -> None:
    score = torch.randn(1, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(suppressed(score, torch.ones(1, 9, 9), Refinement()), score)


def test_smoothing_is_a_dilated_gaussian() -> None:
    score = np.random.default_rng(2).standard_normal((11, 13))
    r = Refinement(kernel=5, dilation=2, sigma=1.3)
    reach = range(-2, 3)
    weights = {(v, u): np.exp(-(v * v + u * u) / (2 * 1.3**2)) for v in reach for u in reach}
    expected = np.zeros_like(score)
    for y, x in np.ndindex(score.shape):
        for (v, u), weight in weights.items():
            row, column = np.clip(y + 2 * v, 0, 10), np.clip(x + 2 * u, 0, 12)
            expected[y, x] += weight * score[row, column] / sum(weights.values())
    np.testing.assert_allclose(smoothed(torch.from_numpy(score)[None], r)[0], expected, atol=1e-12)


def test_a_constant_score_survives_the_refinement() -> None:
    label = torch.randint(0, 3, (1, 20, 20), generator=torch.Generator().manual_seed(0))
    flat = torch.full((1, 20, 20), -2.5)
    refined = smoothed(suppressed(flat, label, Refinement()), Refinement())
    torch.testing.assert_close(refined, flat)


def test_a_grid_of_stride_four_keeps_the_reach_in_the_image() -> None:
    assert Refinement.at_stride(1) == Refinement()
    assert Refinement.at_stride(4) == Refinement(width=2, step=1, dilation=2)
