"""The drift monitor: when it speaks, when it stops, and what it looks at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import ANOMALY_COLOR, CLASS_COLORS, write_tiny_bundle

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.drift import (
    Drift,
    DriftMonitor,
    DriftWatch,
    WatchedRunner,
    reference_fault,
)
from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.score_quantiles import QUANTILE_LEVELS

RANDOM = np.random.default_rng(3)
EVEN = tuple(float(level) for level in QUANTILE_LEVELS)  # of scores spread evenly over 0..1


def frame(low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """A score grid, spread evenly between two values."""
    return RANDOM.uniform(low, high, (96, 192)).astype(np.float32)


def after(monitor: DriftMonitor, frames: int, low: float = 0.0, high: float = 1.0) -> Drift:
    for _ in range(frames):
        monitor.update(frame(low, high))
    return monitor.drift()


def test_scores_like_the_reference_are_no_drift() -> None:
    drift = after(DriftMonitor(EVEN, window=20), 50)
    assert drift.frames == 20 and not drift.drifting
    assert drift.psi is not None and drift.psi < 0.01
    assert drift.rank == pytest.approx(0.5, abs=0.01)


def test_the_index_is_the_one_of_the_formula() -> None:
    drift = after(DriftMonitor(EVEN, window=200), 200, 0.5, 1.0)
    then = np.diff(QUANTILE_LEVELS)
    now = np.where(np.arange(12) < 5, 1e-4, 2 * then)  # nothing below the median
    assert drift.psi == pytest.approx(np.sum((now - then) * np.log(now / then)), rel=0.02)
    assert drift.rank == pytest.approx(0.75, abs=0.01)


def test_nothing_is_told_before_the_window_is_full() -> None:
    monitor = DriftMonitor(EVEN, window=10)
    assert after(monitor, 9, 0.8, 1.0) == Drift(9)
    assert after(monitor, 1, 0.8, 1.0).drifting


def test_a_drift_ends_only_well_below_where_it_begins() -> None:
    monitor = DriftMonitor(EVEN, window=1, limit=0.25)

    def drifting_at(power: float) -> bool:
        monitor.update(frame() ** np.float32(power))
        return monitor.drift().drifting

    between = 0.7  # an index of about 0.12, which neither begins a drift nor ends it
    assert not drifting_at(between)
    assert drifting_at(0.5)
    assert drifting_at(between)
    psi = monitor.drift().psi
    assert psi is not None and 0.1 < psi < 0.25
    assert not drifting_at(1.0)
    assert not drifting_at(between)


def test_a_reset_forgets_frames_and_drift() -> None:
    monitor = DriftMonitor(EVEN, window=5)
    assert after(monitor, 5, 0.9, 1.0).drifting
    monitor.reset()
    assert monitor.drift() == Drift(0)


def test_quantiles_that_share_a_value_are_one_edge() -> None:
    scores = np.maximum(RANDOM.uniform(-0.5, 0.9, 200_000), 0).astype(np.float32)
    scores[:20_000] = 1.0  # many at both ends
    reference = np.quantile(scores, QUANTILE_LEVELS)
    monitor = DriftMonitor(reference.tolist(), window=10)
    for _ in range(10):
        monitor.update(RANDOM.choice(scores, (96, 192)))
    psi = monitor.drift().psi
    assert psi is not None and psi < 0.01


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ((), "0 quantiles, 13 are expected: see anomaly-seg calibrate"),
        ((0.0, 0.5, 1.0), "3 quantiles"),
        ((0.0,) * 12 + (1.0,), "hardly differ"),
    ],
)
def test_other_quantiles_are_no_reference(reference: tuple[float, ...], message: str) -> None:
    fault = reference_fault(reference)
    assert fault is not None and message in fault
    with pytest.raises(MetricError, match="quantiles"):
        DriftMonitor(reference)


def test_impossible_windows_and_limits_are_refused() -> None:
    for window, limit in ((0, 0.25), (10, 0.0), (10, float("nan"))):
        with pytest.raises(MetricError, match="window"):
            DriftMonitor(EVEN, window, limit)


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    return Detector(write_tiny_bundle(tmp_path / "tiny"))


def test_only_runs_that_make_the_score_are_looked_at(detector: Detector) -> None:
    watch, runner = DriftWatch(EVEN, window=100), WatchedRunner(detector.runner)
    detector.runner, runner.watches = runner, [watch]
    image = np.zeros((64, 128, 3), np.uint8)
    detector.detect(image, wanted=("labels",))
    assert watch.drift().frames == 0
    detector.detect(image, wanted=("mask",))
    assert watch.drift().frames == 1
    assert detector.detect(image, wanted=("score",))[0].score is not None
    watch.reset()
    assert watch.drift().frames == 0


def test_each_image_of_a_batch_has_a_watch_of_its_own(detector: Detector) -> None:
    front, rear = DriftWatch(EVEN, window=1), DriftWatch(EVEN, window=1)
    runner = detector.runner = WatchedRunner(detector.runner)
    runner.watches = [front, rear]
    known = np.full((64, 128, 3), CLASS_COLORS[0], np.uint8)
    unknown = np.full((64, 128, 3), ANOMALY_COLOR, np.uint8)
    detector.detect([known, unknown], wanted=("score",))
    low, high = front.drift().rank, rear.drift().rank
    assert low is not None and high is not None and low < 0.1 < 0.9 < high


def test_a_frame_that_the_detector_refuses_does_not_count(detector: Detector) -> None:
    inner = detector.runner
    run = inner.run

    def overflowing(image: np.ndarray, wanted: tuple[str, ...]) -> object:
        result = run(image, wanted)
        return replace(result, arrays={"score": np.full_like(result.arrays["score"], np.nan)})

    inner.run = overflowing  # type: ignore[assignment, method-assign]
    runner, watch = WatchedRunner(inner), DriftWatch(EVEN)
    runner.watches = [watch]
    runner.run(np.zeros((1, 64, 128, 3), np.uint8), ("score",))
    assert watch.drift().frames == 0


def test_without_a_reference_or_a_limit_a_watch_says_why() -> None:
    for reference, limit, note in (((), 0.25, "no reference: "), (EVEN, 0.0, "off")):
        watch = DriftWatch(reference, limit=limit)
        watch.update(np.zeros((4, 4), np.float32))
        watch.reset()
        assert watch.drift().note.startswith(note) and watch.drift().frames == 0
