"""The binned pixel metrics of SegmentMeIfYouCan against a plain reading of their definition."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import (
    ExactScores,
    FrameResult,
    SmiycPixel,
    SmiycPixelScores,
    SmiycPixelUniform,
)

UNIFORM_EDGES = np.linspace(-0.01, 1.01, 4097, dtype=np.float32)
FLOAT32, FLOAT16, UNIFORM = SmiycPixel, partial(SmiycPixel, half=True), SmiycPixelUniform
ALL = pytest.mark.parametrize("metric", [FLOAT32, FLOAT16, UNIFORM])
Metric = Callable[[], Any]
Pixels = list[tuple[float, int]]

scores_in_unit = st.one_of(
    st.integers(0, 8).map(lambda value: value / 8),  # ties
    st.floats(0, 1, width=32),
)
pixels = st.lists(
    st.tuples(scores_in_unit, st.sampled_from([0, 0, 1, 255])), min_size=1, max_size=30
)
several_frames = st.lists(pixels, min_size=1, max_size=4)


def frame_of(pixels: Pixels) -> FrameResult:
    """The pixels as an image of one row."""
    score, label = zip(*pixels, strict=True)
    return FrameResult(np.array([score], np.float32), np.array([label], np.uint8))


def filled(metric: Metric, frames: list[Pixels]) -> Any:
    accumulator = metric()
    for pixels in frames:
        accumulator.update(frame_of(pixels))
    return accumulator


def with_both_kinds(frames: list[Pixels]) -> list[Pixels]:
    assume({0, 1} <= {label for frame in frames for _, label in frame})
    return frames


def edges_of(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Section 1.2, step 1, for one frame."""
    both = np.concatenate([positives, negatives])
    lowest, highest = float(both.min()), float(both.max())
    eps = max(0.01 * float(both.max() - both.min()), 0.01)
    edges = [lowest - eps, highest + eps]
    for part in (positives, negatives):
        if part.size:
            edges.extend(np.quantile(part, np.linspace(0, 1, min(384, part.size))))
    return np.unique(edges)


def by_the_book(metric: Metric, frames: list[Pixels]) -> dict[str, float]:
    """The definition, point by point."""
    dtype = np.float16 if metric is FLOAT16 else np.float32
    bins: list[tuple[float, int, int]] = []
    for frame in frames:
        positives = np.array([s for s, label in frame if label == 1], dtype)
        negatives = np.array([s for s, label in frame if label == 0], dtype)
        if positives.size + negatives.size == 0:
            continue
        edges = UNIFORM_EDGES if metric is UNIFORM else edges_of(positives, negatives)
        counts = (np.histogram(part.astype(float), edges)[0] for part in (positives, negatives))
        bins.extend(zip(edges[:-1].tolist(), *(c.tolist() for c in counts), strict=True))
    if metric is UNIFORM:  # summed over the frames
        bins = [
            (e, sum(b[1] for b in bins if b[0] == e), sum(b[2] for b in bins if b[0] == e))
            for e in sorted({b[0] for b in bins if b[1] or b[2]} | {float(UNIFORM_EDGES[-2])})
        ]
    bins.sort(key=lambda entry: -entry[0])
    tp = fp = 0
    all_points = []
    for threshold, found, wrong in bins:
        tp, fp = tp + found, fp + wrong
        all_points.append((threshold, tp, fp))
    points = [(all_points[0][0] + 1, 0, 0), all_points[0]]
    for number, point in enumerate(all_points):
        if number + 1 == len(all_points) or all_points[number + 1][0] != point[0]:
            points.append(point)
    recall = [t / tp for _, t, _ in points]
    fpr = [f / fp for _, _, f in points]
    precision = [t / (t + f) if t + f else 1.0 for _, t, f in points]
    f1 = [2 * t / (t + f + tp) for _, t, f in points]
    steps = range(1, len(points))
    at95 = next(i for i, r in enumerate(recall) if r >= 0.95)
    best = f1.index(max(f1))
    return {
        "ap": sum((recall[i] - recall[i - 1]) * precision[i] for i in steps),
        "auroc": sum((fpr[i] - fpr[i - 1]) * (recall[i] + recall[i - 1]) / 2 for i in steps),
        "fpr95": fpr[at95],
        "tpr95_threshold": points[at95][0],
        "recall50_threshold": next(p[0] for p, r in zip(points, recall, strict=True) if r >= 0.5),
        "best_f1": f1[best],
        "best_f1_threshold": points[best][0],
        "positives": tp,
        "negatives": fp,
    }


@ALL
@settings(max_examples=60, deadline=None)
@given(frames=several_frames.map(with_both_kinds))
def test_the_scores_are_the_definition(metric: Metric, frames: list[Pixels]) -> None:
    scores = filled(metric, frames).compute()
    for name, expected in by_the_book(metric, frames).items():
        assert getattr(scores, name) == pytest.approx(expected, abs=1e-9), name


@pytest.mark.parametrize("count", [300, 5000])
def test_the_definition_holds_for_more_pixels_than_quantiles(count: int) -> None:
    random = np.random.default_rng(count)
    frames = []
    for _ in range(2):
        label = random.integers(0, 2, count)
        score = np.clip(random.normal(0.4 + 0.2 * label, 0.2), 0, 1).astype(np.float32)
        frames.append(list(zip(score.tolist(), label.tolist(), strict=True)))
    scores = filled(SmiycPixel, frames).compute()
    for name, expected in by_the_book(SmiycPixel, frames).items():
        assert getattr(scores, name) == pytest.approx(expected, abs=1e-9), name


def test_four_pixels_by_hand() -> None:
    scores = filled(SmiycPixel, [[(0.875, 1), (0.75, 0), (0.5, 1), (0.25, 0)]]).compute()
    assert scores.ap == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert scores.auroc == 3 / 4
    assert scores.fpr95 == 1 / 2
    assert (scores.tpr95_threshold, scores.recall50_threshold) == (0.5, 0.875)
    assert scores.best_f1 == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert scores.best_f1_threshold == 0.5
    assert (scores.positives, scores.negatives) == (2, 2)
    np.testing.assert_array_equal(scores.curve.recall, [0, 0.5, 0.5, 0.5, 1, 1, 1])
    np.testing.assert_array_equal(
        scores.curve.thresholds, [1.875, 0.875, 0.875, 0.75, 0.5, 0.25, 0.25 - 0.01]
    )


def test_scores_of_one_uniform_bin_are_ties() -> None:
    scores = filled(UNIFORM, [[(0.50005, 1), (0.50001, 0), (0.25, 0)]]).compute()
    assert scores.auroc == 0.75
    assert scores.best_f1_threshold == UNIFORM_EDGES[UNIFORM_EDGES <= 0.50001][-1]


def test_the_last_uniform_bin_is_closed_on_both_sides() -> None:
    last = float(UNIFORM_EDGES[-1])
    scores = filled(UNIFORM, [[(last, 1), (last, 1), (0.5, 0)]]).compute()
    assert (scores.positives, scores.auroc) == (2, 1)


def test_float16_rounds_first() -> None:
    pixels: Pixels = [(0.50001, 1), (0.5, 0), (0.25, 0)]
    assert filled(FLOAT32, [pixels]).compute().auroc == 1
    assert filled(FLOAT16, [pixels]).compute().auroc == 0.75  # a tie


@ALL
@settings(max_examples=40, deadline=None)
@given(frames=several_frames.map(with_both_kinds), split=st.integers(0, 4))
def test_merged_workers_equal_a_single_pass(
    metric: Metric, frames: list[Pixels], split: int
) -> None:
    single = filled(metric, frames).compute()
    merged = filled(metric, frames[:split])
    merged.merge(pickle.loads(pickle.dumps(filled(metric, frames[split:]))))
    assert merged.compute() == single
    for ours, theirs in zip(astuple(merged.compute().curve), astuple(single.curve), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@ALL
def test_void_pixels_do_not_matter(metric: Metric) -> None:
    frame: Pixels = [(0.9, 1), (0.8, 0), (0.1, 0)]
    odd: Pixels = [(float("nan"), 255), (float("inf"), 255), (7.0, 255)]
    alone = filled(metric, [frame]).compute()
    assert filled(metric, [odd, frame + odd]).compute() == alone


def test_a_frame_of_one_kind_adds_what_it_has() -> None:
    scores = filled(SmiycPixel, [[(0.9, 1), (0.1, 0)], [(0.95, 0)], [(0.3, 1)]]).compute()
    assert (scores.positives, scores.negatives) == (2, 2)
    assert scores.auroc == 2 / 4


def test_the_approximation_stays_near_the_exact_scores() -> None:
    random = np.random.default_rng(0)
    exact, binned = ExactScores(), SmiycPixel()
    for _ in range(3):
        label = (random.random((60, 80)) < 0.1).astype(np.uint8)
        score = (random.normal(size=label.shape) * 0.1 + 0.4 + 0.15 * label).astype(np.float32)
        for metric in (exact, binned):
            metric.update(FrameResult(score, label))
    near, true = binned.compute(), exact.compute()
    assert near.ap == pytest.approx(true.ap, abs=0.02)
    assert near.auroc == pytest.approx(true.auroc, abs=0.002)
    assert near != true


def test_memory_is_bounded_per_frame() -> None:
    random = np.random.default_rng(0)
    metric = SmiycPixel()
    metric.update(
        FrameResult(random.random((300, 400), np.float32), random.integers(0, 2, (300, 400), "u1"))
    )
    [bins] = metric.frames
    assert bins.thresholds.size <= 769
    assert len(pickle.dumps(metric)) < 20_000


# --- wrong input -----------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize(("label", "found"), [(0, "0 anomalous"), (1, "0 known")])
def test_one_kind_of_pixels_is_not_enough(metric: Metric, label: int, found: str) -> None:
    with pytest.raises(MetricError, match="found 0 anomalous and 0 known"):
        metric().compute()
    with pytest.raises(MetricError, match=found):
        filled(metric, [[(0.5, label)]]).compute()


@ALL
def test_nan_and_other_labels_are_refused(metric: Metric) -> None:
    accumulator = filled(metric, [[(0.9, 1), (0.1, 0)]])
    before: SmiycPixelScores = accumulator.compute()
    with pytest.raises(MetricError, match="NaN at 1 pixels that are not void"):
        accumulator.update(frame_of([(float("nan"), 1), (0.5, 0)]))
    with pytest.raises(MetricError, match=r"values \[2\]; expected 0 known, 1 anomaly"):
        accumulator.update(frame_of([(0.5, 2)]))
    assert accumulator.compute() == before


@pytest.mark.parametrize(
    ("metric", "score"),
    [(FLOAT32, float("inf")), (FLOAT32, -3e38), (FLOAT16, 70_000), (FLOAT16, -65_504)],
)
def test_scores_without_a_finite_range_are_refused(metric: Metric, score: float) -> None:
    other = 3e38 if metric is FLOAT32 else 65_000
    with pytest.raises(MetricError, match=r"in float\d\d; expected finite ones"):
        metric().update(frame_of([(score, 0), (other, 1)]))


def test_scores_beyond_the_uniform_bins_are_refused() -> None:
    with pytest.raises(MetricError, match=r"from 0.5 to 1.5; expected -0.01 to 1.01"):
        SmiycPixelUniform().update(frame_of([(1.5, 0), (0.5, 0)]))


def test_float16_and_float32_do_not_merge() -> None:
    with pytest.raises(MetricError, match="float16 and of float32"):
        SmiycPixel().merge(SmiycPixel(half=True))
