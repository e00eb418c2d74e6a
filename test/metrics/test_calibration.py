"""Calibration against its definitions, written out plainly."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FrameResult
from anomaly_seg_ros.metrics.calibration import (
    AdaptiveBins,
    ExactCalibration,
    ReliabilityBins,
)

ALL = pytest.mark.parametrize("metric", [ReliabilityBins, ExactCalibration, AdaptiveBins])


def frame_of(uncertainty: np.ndarray, right: np.ndarray, truth: np.ndarray) -> FrameResult:
    """1-D arrays as an image of one row."""
    truth = truth.astype(np.uint8)[None]
    predicted = np.where(right[None], truth, 100).astype(np.uint8)
    score = uncertainty.astype(np.float32)[None]
    return FrameResult(score, np.zeros(truth.shape, np.uint8), predicted, truth)


def random_frame(seed: int, pixels: int = 3000, classes: int = 3) -> FrameResult:
    random = np.random.default_rng(seed)
    uncertainty = random.beta(1, 4, pixels)
    right = random.random(pixels) > uncertainty**1.5
    return frame_of(uncertainty, right, random.integers(0, classes, pixels))


def test_a_diagram_of_hand_worked_bins() -> None:
    metric = ReliabilityBins(bins=4)
    confidence = np.array([1.0, 0.875, 0.75, 0.625, 0.25, 0.0])  # 0.75 and 0.25 close their bins
    right = np.array([True, False, True, True, False, False])
    metric.update(frame_of(1 - confidence, right, np.zeros(6)))
    found = metric.compute()
    np.testing.assert_array_equal(found.pixels, [1, 0, 2, 2])
    np.testing.assert_allclose(found.accuracy, [0, np.nan, 1, 0.5])
    np.testing.assert_allclose(found.confidence, [0.25, np.nan, 0.6875, 0.9375])
    assert found.ece == pytest.approx((0.25 + 2 * 0.3125 + 2 * 0.4375) / 6)
    assert found.all_pixels == 6  # confidence 0 is in no bin


def test_confidence_that_is_the_frequency_of_right_is_calibrated() -> None:
    random = np.random.default_rng(0)
    uncertainty = random.random(200_000)
    right = random.random(200_000) > uncertainty
    metric = ReliabilityBins()
    metric.update(frame_of(uncertainty, right, np.zeros(200_000)))
    assert metric.compute().ece < 0.01
    metric = ReliabilityBins(highest=2.0)  # understates every uncertainty
    metric.update(frame_of(uncertainty, right, np.zeros(200_000)))
    assert metric.compute().ece == pytest.approx(0.25, abs=0.01)


def test_the_official_ece_is_the_streamed_one_once_the_highest_uncertainty_is_known() -> None:
    frame = random_frame(3)
    exact, streamed = ExactCalibration(), ReliabilityBins(highest=float(frame.score.max()))
    exact.update(frame)
    streamed.update(frame)
    assert exact.compute().ece == streamed.compute().ece


def ace_by_definition(frame: FrameResult) -> float:
    assert frame.truth is not None and frame.predicted is not None
    largest = frame.score[frame.truth != 255].max()
    rows = sorted(
        (float(u), bool(p == t), int(t))
        for u, p, t in zip(frame.score[0], frame.predicted[0], frame.truth[0], strict=True)
        if t != 255
    )
    total, classes = 0.0, {label for _, _, label in rows}
    for label in classes:
        own = [(1 - u / largest, right) for u, right, t in rows if t == label]
        cuts = [int(cut) for cut in np.linspace(0, len(own), 15)]
        for start, end in itertools.pairwise(cuts):
            confidence, right = np.mean(own[start:end], axis=0)
            total += abs(right - confidence)
    return total / (len(classes) * 15)


def test_ace_is_the_definition_and_ignores_void() -> None:
    frame = random_frame(1, pixels=900, classes=4)
    assert frame.truth is not None
    frame.truth[:, 300:400] = 255
    frame.score[:, 300:350] = np.nan
    metric = ExactCalibration()
    metric.update(frame)
    frame.score[:, 300:350] = 0
    assert metric.compute().ace == pytest.approx(ace_by_definition(frame), abs=1e-6)
    assert metric.compute().pixels == 800


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    bits=st.sampled_from([12, 14, 18]),
    pixels=st.integers(60, 400),
    steps=st.sampled_from([0, 20, 3]),
)
def test_ace_lies_within_the_stated_error_of_the_bins(
    seed: int, bits: int, pixels: int, steps: int
) -> None:
    frame = random_frame(seed, pixels, classes=2)
    if steps:  # many equal uncertainties
        frame = FrameResult(
            np.round(frame.score * steps) / np.float32(steps) + np.float32(0.5),
            frame.label,
            frame.predicted,
            frame.truth,
        )
    exact, binned = ExactCalibration(), AdaptiveBins(bits)
    exact.update(frame)
    binned.update(frame)
    near = binned.compute()
    assert abs(near.ace - exact.compute().ace) <= near.ace_within + 1e-6
    assert near.pixels == pixels


def test_fine_bins_are_close_to_the_exact_ace() -> None:
    exact, binned = ExactCalibration(), AdaptiveBins()
    for seed in range(3):
        exact.update(random_frame(seed))
        binned.update(random_frame(seed))
    near = binned.compute()
    assert near.ace_within < 0.005
    assert near.ace == pytest.approx(exact.compute().ace, abs=1e-3)


def test_ace_is_undefined_for_a_class_of_fewer_pixels_than_groups() -> None:
    uncertainty = np.linspace(0.1, 0.9, 33)
    truth = np.repeat([0, 1], [20, 13])
    for metric in (ExactCalibration(), AdaptiveBins()):
        metric.update(frame_of(uncertainty, truth == 0, truth))
        assert np.isnan(metric.compute().ace)


@ALL
def test_merged_workers_equal_a_single_pass(metric: Callable) -> None:
    single, first, second = metric(), metric(), metric()
    for seed in range(4):
        single.update(random_frame(seed, classes=seed + 1))
        (first if seed < 2 else second).update(random_frame(seed, classes=seed + 1))
    first.merge(pickle.loads(pickle.dumps(second)))  # as from another process
    for name, value in vars(single.compute()).items():
        np.testing.assert_allclose(getattr(first.compute(), name), value, rtol=1e-12)


@ALL
def test_odd_frames_are_refused(metric: Callable) -> None:
    accumulator = metric()
    with pytest.raises(MetricError, match="found none"):
        accumulator.compute()
    with pytest.raises(MetricError, match="predicted and true classes"):
        accumulator.update(FrameResult(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.uint8)))
    with pytest.raises(MetricError, match="NaN at 1 labelled"):
        accumulator.update(frame_of(np.array([np.nan, 1]), np.array([True, True]), np.zeros(2)))
    accumulator.update(frame_of(np.zeros(2), np.array([True, True]), np.full(2, 255)))
    with pytest.raises(MetricError, match="found none"):
        accumulator.compute()


def test_uncertainty_that_cannot_become_a_confidence_is_refused() -> None:
    right, truth = np.array([True, False]), np.zeros(2)
    with pytest.raises(MetricError, match=r"0\.\.3; expected 0\.\.1"):
        ReliabilityBins().update(frame_of(np.array([0.0, 3.0]), right, truth))
    with pytest.raises(MetricError, match="1 bin or more"):
        ReliabilityBins(bins=0)
    with pytest.raises(MetricError, match=r"15 bins up to 1\.0 and 10"):
        ReliabilityBins().merge(ReliabilityBins(10))
    with pytest.raises(MetricError, match="18 and 16 bits"):
        AdaptiveBins().merge(AdaptiveBins(16))
    for metric in (ExactCalibration(), AdaptiveBins()):
        metric.update(frame_of(np.zeros(2), right, truth))
        with pytest.raises(MetricError, match="largest uncertainty is 0"):
            metric.compute()
