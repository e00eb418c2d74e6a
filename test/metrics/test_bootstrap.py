"""Bootstrap intervals: the fast ones against the plain ones, and both against what they promise."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FrameResult, ScoreHistogram
from anomaly_seg_ros.metrics.bootstrap import Interval, PooledIntervals, intervals


def frame(seed: int, share: float, pixels: int = 400) -> FrameResult:
    random = np.random.default_rng(seed)
    label = (random.random((1, pixels)) < share).astype(np.uint8)
    score = random.normal(size=label.shape) + label * random.uniform(0, 3)
    label[:, :10] = 255
    return FrameResult(score.astype(np.float32), label)


def pooled(frames: Sequence[FrameResult]) -> dict[str, float]:
    histogram = ScoreHistogram(16)
    for one in frames:
        histogram.update(one)
    scores = histogram.compute()
    return {"ap": scores.ap, "auroc": scores.auroc, "fpr95": scores.fpr95}


def filled(frames: Sequence[FrameResult]) -> PooledIntervals:
    metric = PooledIntervals()
    for one in frames:
        metric.update(one)
    return metric


def assert_same(fast: Interval, slow: Interval) -> None:
    np.testing.assert_allclose(
        (fast.value, fast.low, fast.high), (slow.value, slow.low, slow.high), rtol=0, atol=1e-12
    )
    assert (fast.used, fast.undefined, fast.level) == (slow.used, slow.undefined, slow.level)


def test_pooled_intervals_are_the_plain_ones_without_reading_a_pixel_twice() -> None:
    """Most frames hold no anomaly: some draws have none at all and are undefined."""
    frames = [frame(seed, 0.05 if seed < 2 else 0.0) for seed in range(9)]
    fast = filled(frames).compute(repeats=120, seed=5, level=0.9)
    slow = intervals(frames, pooled, repeats=120, seed=5, level=0.9)
    assert_same(fast.ap, slow["ap"])
    assert_same(fast.auroc, slow["auroc"])
    assert_same(fast.fpr95, slow["fpr95"])
    assert fast.frames == 9
    assert 1 <= fast.ap.undefined < 60  # (7/9)^9 of the draws, 10 %


def test_many_frames_and_bins_are_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [frame(seed, 0.1) for seed in range(7)]
    whole = filled(frames).compute(repeats=20)
    monkeypatch.setattr("anomaly_seg_ros.metrics.bootstrap._FRAMES_AT_ONCE", 2)
    monkeypatch.setattr("anomaly_seg_ros.metrics.bootstrap._NUMBERS_AT_ONCE", 5000)
    parts = filled(frames).compute(repeats=20)
    assert_same(parts.ap, whole.ap)
    assert_same(parts.fpr95, whole.fpr95)


def test_the_same_seed_gives_the_same_interval_and_another_one_does_not() -> None:
    metric = filled([frame(seed, 0.1) for seed in range(6)])
    assert metric.compute(50, seed=1) == metric.compute(50, seed=1)
    assert metric.compute(50, seed=1).ap.low != metric.compute(50, seed=2).ap.low


def test_merged_workers_equal_a_single_pass() -> None:
    frames = [frame(seed, 0.1) for seed in range(6)]
    first, second = filled(frames[:2]), filled(frames[2:])
    first.merge(pickle.loads(pickle.dumps(second)))  # as from another process
    assert first.compute(40) == filled(frames).compute(40)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for number in range(200):
        values = random.normal(size=60).tolist()
        found = intervals(values, lambda v: {"mean": np.mean(v)}, repeats=100, seed=number)
        covered += found["mean"].low <= 0 <= found["mean"].high
    assert 0.88 <= covered / 200 <= 0.99


def test_undefined_resamples_are_left_out_and_counted_by_figure() -> None:
    def compute(values: Sequence[float]) -> dict[str, float]:
        if 3.0 not in values:
            raise MetricError("no three")
        return {"mean": float(np.mean(values)), "odd": 1.0 if values.count(1.0) % 2 else np.nan}

    found = intervals([1.0, 2.0, 3.0], compute, repeats=300)
    assert found["mean"].value == 2
    assert found["mean"].undefined == pytest.approx(300 * (2 / 3) ** 3, abs=30)
    assert found["odd"].undefined > found["mean"].undefined
    assert found["odd"].used + found["odd"].undefined == 300
    assert (found["odd"].low, found["odd"].high) == (1, 1)


def test_a_figure_that_no_resample_defines_has_no_interval() -> None:
    found = intervals([1, 2], lambda values: {"x": np.nan}, repeats=5)["x"]
    assert (found.used, found.undefined) == (0, 5)
    assert np.isnan([found.value, found.low, found.high]).all()


def test_what_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(MetricError, match="of 0 frames"):
        intervals([], lambda values: {})
    with pytest.raises(MetricError, match="at level 1"):
        intervals([1], lambda values: {}, level=1)
    with pytest.raises(MetricError, match="of 0 frames"):
        PooledIntervals().compute()
    with pytest.raises(MetricError, match="found 0 anomalous"):
        filled([frame(0, 0.0)]).compute()
    with pytest.raises(MetricError, match="found 0 anomalous and 0 known"):
        filled(
            [FrameResult(np.zeros((1, 3), np.float32), np.full((1, 3), 255, np.uint8))]
        ).compute()
    with pytest.raises(MetricError, match="16 and 14 bits"):
        PooledIntervals().merge(PooledIntervals(14))
