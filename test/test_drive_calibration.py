"""Counting a drive by threshold, and what is chosen from the counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bundle import CLASS_COLORS, write_tiny_bundle

from anomaly_seg_ros.calibration import (
    DriveCounts,
    RegionCurve,
    candidate_thresholds,
    frames_needed,
)
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FalseRegions, FrameResult, ScoreHistogram
from anomaly_seg_ros.score_quantiles import QUANTILE_LEVELS, histogram_quantiles


def curve_of(regions: list[int], frames_with: list[int], frames: int) -> RegionCurve:
    thresholds = np.linspace(0.1, 0.9, len(regions))
    counts = np.array(regions), np.array(frames_with), np.zeros(len(regions))
    return RegionCurve(thresholds, *counts, frames)


def curve_of_peaks(peaks: np.ndarray, thresholds: np.ndarray) -> RegionCurve:
    """Of frames with one region each, up to its peak's threshold."""
    counts = (peaks[:, None] >= thresholds).sum(axis=0)
    return RegionCurve(thresholds, counts, counts, np.zeros(thresholds.size), peaks.size)


def test_counts_are_those_of_the_detector_at_each_threshold(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "tiny")
    random = np.random.default_rng(0)
    images = []
    for _ in range(4):
        image = np.full((100, 150, 3), CLASS_COLORS[0], np.uint8)
        for top, left in random.integers(0, (80, 110), (6, 2)):
            image[top : top + 20, left : left + 30] = random.integers((0, 200, 200), (90, 256, 256))
        images.append(image)
    thresholds = candidate_thresholds(0, 1)
    counts = DriveCounts(Detector(folder), thresholds, ("road", "everywhere"), min_region=50)
    for image in images:
        counts.update(image)
    with Detector(folder) as detector:
        for focus in ("road", "everywhere"):
            detector.focus = focus
            curve = counts.curve(focus)
            for index, threshold in enumerate(thresholds):
                detector.threshold = float(threshold)
                expected, pixels = FalseRegions(min_area=50), 0
                for found in detector.detect(images, ("mask",)):
                    assert found.mask is not None
                    expected.update(found.mask, np.zeros(found.mask.shape, np.uint8))
                    pixels += np.count_nonzero(found.mask)
                assert curve.regions[index] == expected.regions
                assert curve.frames_with_regions[index] == expected.frames_with_regions
                assert curve.pixels[index] == pixels / (4 * 100 * 150)
            assert curve.regions.any()


def test_candidates_are_written_as_they_are_tried() -> None:
    thresholds = candidate_thresholds(0, 1)
    assert thresholds.tolist() == [round(0.3 + 0.02 * k, 2) for k in range(35)]
    np.testing.assert_allclose(candidate_thresholds(-20, 0), 20 * thresholds - 20)


def test_the_first_threshold_from_below_is_the_smallest() -> None:
    curve = curve_of([50, 9, 12, 8, 0], [10, 9, 9, 8, 0], 100)
    assert curve.smallest(0.1) == 1
    assert curve.smallest(0.085) == 3
    assert curve_of([3, 2], [3, 2], 10).smallest(0.1) is None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 200), min_size=2, max_size=12),
    st.integers(20, 200),
    st.floats(0.05, 0.9),
)
def test_the_controlled_threshold_is_the_lowest_whose_bound_and_count_hold(
    raw: list[int], frames: int, limit: float
) -> None:
    frames_with = sorted((min(count, frames) for count in raw), reverse=True)
    regions = [2 * count for count in frames_with]
    curve = curve_of(regions, frames_with, frames)
    good = [
        (count + 1) / (frames + 1) <= limit and 2 * count <= limit * frames for count in frames_with
    ]
    if any(good):
        assert curve.controlled(limit) == good.index(True)
    else:
        with pytest.raises(MetricError, match=r"no threshold|too few"):
            curve.controlled(limit)


def test_on_new_frames_of_the_same_kind_the_rate_is_kept_on_average() -> None:
    random = np.random.default_rng(1)
    thresholds = np.linspace(0, 1, 101)
    limit, losses = 0.05, []
    for _ in range(400):
        chosen = curve_of_peaks(random.random(60), thresholds).controlled(limit)
        losses.append(1 - thresholds[chosen])  # the share of new peaks above it
    assert 0.02 < np.mean(losses) <= limit


def test_too_few_frames_are_refused_with_the_number_that_is_needed() -> None:
    assert frames_needed(0.01) == 99
    thresholds = np.array([0.5])
    with pytest.raises(MetricError, match=r"98 frames are too few .*expected 99 or more"):
        curve_of_peaks(np.zeros(98), thresholds).controlled(0.01)
    assert curve_of_peaks(np.zeros(99), thresholds).controlled(0.01) == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=200))
def test_quantiles_of_a_histogram_are_within_a_bin_of_the_exact_ones(scores: list[float]) -> None:
    values = np.array([scores], np.float32)
    histogram = ScoreHistogram(bits=16)
    histogram.update(FrameResult(values, np.zeros(values.shape, np.uint8)))
    found = histogram_quantiles(histogram, QUANTILE_LEVELS)
    exact = np.quantile(values.astype(np.float64), QUANTILE_LEVELS)
    # Between two scores both may be off by their own bin.
    np.testing.assert_allclose(found, exact, rtol=0, atol=np.abs(values).max() / 128 + 1e-30)
    assert (np.diff(found) >= 0).all()


def test_an_empty_histogram_has_no_quantiles() -> None:
    with pytest.raises(MetricError, match="at least one score"):
        histogram_quantiles(ScoreHistogram(), (0.5,))
