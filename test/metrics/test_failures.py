"""Error detection and failure detection against their definitions, written out plainly."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FrameResult
from anomaly_seg_ros.metrics.failures import (
    ErrorDetectionHistogram,
    ErrorDetectionScores,
    ExactErrorDetection,
    ExactFailureDetection,
    FailureDetection,
    confidnet_fpr95,
)

Pixels = list[tuple[float, bool]]  # uncertainty, right
TIED = st.integers(0, 6).map(lambda value: value / 4)
CLOSE = st.integers(0, 400).map(lambda value: 1 + value * 2.0**-12)
pixels_of_both_kinds = st.one_of(
    *(
        st.lists(st.tuples(kind, st.booleans()), min_size=2, max_size=60).filter(
            lambda pixels: len({right for _, right in pixels}) == 2
        )
        for kind in (TIED, CLOSE)
    )
)
EXACT_AND_BINNED = pytest.mark.parametrize(
    "metric",
    [ExactErrorDetection, ErrorDetectionHistogram, ExactFailureDetection, FailureDetection],
)


def frame_of(pixels: Pixels, void: int = 0) -> FrameResult:
    """The pixels as an image of one row, with some unlabelled ones at its end."""
    score = np.array([[u for u, _ in pixels] + [np.nan] * void], np.float32)
    right = np.array([[r for _, r in pixels] + [True] * void])
    truth = np.full(score.shape, 4, np.uint8)
    truth[:, len(pixels) :] = 255
    predicted = np.where(right, 4, 7).astype(np.uint8)
    return FrameResult(score, np.zeros(score.shape, np.uint8), predicted, truth)


def random_frame(seed: int, shape: tuple[int, int] = (60, 80)) -> FrameResult:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, shape, np.uint8)
    predicted = np.where(random.random(shape) < 0.2, (truth + 1) % 5, truth).astype(np.uint8)
    score = random.normal(size=shape) + 1.5 * (predicted != truth)
    truth[:4] = 255
    score = (1 / (1 + np.exp(-score))).astype(np.float32)
    return FrameResult(score, np.zeros(shape, np.uint8), predicted, truth)


def obsnet_by_definition(rows: list[bool]) -> tuple[float, float, float, float]:
    """AUPR-success, AUPR-error, AUROC and FPR95 of rows in the order of their uncertainty."""
    points, right = [], [0, *np.cumsum(rows).tolist()]
    for threshold in np.linspace(0, len(rows), 10000)[1:]:
        accepted = int(threshold)
        tp, fp = right[accepted], accepted - right[accepted]
        fn = right[-1] - tp
        tn = len(rows) - accepted - fn
        points.append(
            (
                tp / (tp + fn + 1e-11),
                fp / (fp + tn + 1e-11),
                tp / (tp + fp + 1e-11),
                tn / (tn + fn + 1e-11),
                tn / (tn + fp + 1e-11),
            )
        )
    tpr, fpr, precision, error_precision, error_recall = np.array(points).T
    at_95 = [f for t, f in zip(tpr, fpr, strict=True) if 0.9495 <= t <= 0.9505]
    return (
        area(precision, tpr),
        area(error_precision[::-1], error_recall[::-1]),
        area(tpr, fpr),
        at_95[0] if at_95 else 0.0,
    )


def area(y: np.ndarray, x: np.ndarray) -> float:
    return float(sum((y[1:] + y[:-1]) / 2 * (x[1:] - x[:-1])))


def readings(scores: ErrorDetectionScores) -> tuple[float, float, float, float]:
    return scores.aupr_success, scores.aupr_error, scores.auroc, scores.fpr95


def limits(scores: ErrorDetectionScores) -> tuple[float, float, float, float]:
    return (
        scores.aupr_success_within,
        scores.aupr_error_within,
        scores.auroc_within,
        scores.fpr95_within,
    )


@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.lists(st.booleans(), max_size=24), st.booleans(), st.lists(st.booleans())).map(
        lambda parts: [*parts[0], parts[1], *parts[2], not parts[1]]
    )
)
def test_error_detection_is_the_definition_where_no_uncertainties_are_equal(
    rows: list[bool],
) -> None:
    metric = ExactErrorDetection()
    for place in np.random.default_rng(len(rows)).permutation(len(rows)):  # pixels in any order
        metric.update(frame_of([(float(place) / 8, rows[place])], void=1))
    scores = metric.compute()
    np.testing.assert_allclose(readings(scores), obsnet_by_definition(rows), atol=1e-9)
    assert scores.pixels == len(rows)
    assert scores.errors == len(rows) - sum(rows)
    assert scores.accuracy == sum(rows) / len(rows)
    assert limits(scores) == (0, 0, 0, 0)


def test_error_detection_is_the_definition_with_more_pixels_than_steps() -> None:
    rows = (np.random.default_rng(2).random(15_000) > np.linspace(0, 0.5, 15_000) ** 2).tolist()
    rows[:2] = [False, True]
    metric = ExactErrorDetection()
    metric.update(frame_of([(float(place), right) for place, right in enumerate(rows)]))
    expected = obsnet_by_definition(rows)
    np.testing.assert_allclose(readings(metric.compute()), expected, atol=1e-9)
    assert expected[3] > 0


def test_twenty_right_pixels_have_a_step_at_95_percent() -> None:
    rows = [True] * 10 + [False] * 3 + [True] * 9 + [False, True, False]  # 19 of 20 after 3 errors
    metric = ExactErrorDetection()
    metric.update(frame_of([(float(place), right) for place, right in enumerate(rows)]))
    assert metric.compute().fpr95 == pytest.approx(3 / 5)


def test_a_constant_uncertainty_tells_nothing() -> None:
    metric = ExactErrorDetection()
    metric.update(frame_of([(0.5, True)] * 30_000 + [(0.5, False)] * 10_000))
    scores = metric.compute()
    assert scores.auroc == pytest.approx(0.5, abs=1e-3)
    assert scores.aupr_success == pytest.approx(0.75, abs=1e-3)
    assert scores.aupr_error == pytest.approx(0.25, abs=1e-3)


@settings(max_examples=80, deadline=None)
@given(pixels=pixels_of_both_kinds, bits=st.sampled_from([10, 14, 18]), again=st.integers(1, 900))
def test_error_detection_lies_within_the_stated_errors_of_a_histogram(
    pixels: Pixels, bits: int, again: int
) -> None:
    """With few pixels, where steps repeat, and with more than there are steps."""
    exact, histogram = ExactErrorDetection(), ErrorDetectionHistogram(bits)
    for metric in (exact, histogram):
        metric.update(frame_of(pixels * again))
    found = histogram.compute()
    distance = np.abs(np.subtract(readings(found), readings(exact.compute())))
    assert (distance <= np.array(limits(found)) + 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(
    rights=st.lists(st.booleans(), min_size=2, max_size=30),
    above=st.integers(0, 3),
    each=st.sampled_from([1, 700]),
)
def test_the_errors_of_the_areas_are_reached_by_an_order_within_the_bin(
    rights: list[bool], above: int, each: int
) -> None:
    rights = [right for right in rights for _ in range(each)]
    assume(len(set(rights)) == 2)
    head = [(0.25 * place, True) for place in range(above * each)]  # bins of their own, or nearly
    histogram = ErrorDetectionHistogram(bits=10)
    histogram.update(frame_of(head + [(1024.0, right) for right in rights]))
    found = histogram.compute()
    farthest = np.zeros(4)
    for order in (sorted(rights), sorted(rights, reverse=True)):
        exact = ExactErrorDetection()
        tail = [(1024 + place * 2.0**-8, right) for place, right in enumerate(order)]
        exact.update(frame_of(head + tail))
        off = np.abs(np.subtract(readings(exact.compute()), readings(found)))
        farthest = np.maximum(farthest, off)
    slack = 1.5 / (sum(rights) + len(head)) * (len(rights + head) // 9999 + 1)
    np.testing.assert_allclose(limits(found)[1:3], farthest[1:3], atol=1e-9)
    assert farthest[0] - 1e-9 <= limits(found)[0] <= farthest[0] + slack


def test_fpr95_lies_within_the_stated_error_of_coarse_bins() -> None:
    """Bins so wide that the step at 95 % may be one of many, and narrower ones."""
    distances = []
    for seed in range(20):
        for bits in (10, 12, 16):
            exact, histogram = ExactErrorDetection(), ErrorDetectionHistogram(bits)
            for metric in (exact, histogram):
                metric.update(random_frame(seed))
            found = histogram.compute()
            distances.append(abs(found.fpr95 - exact.compute().fpr95))
            assert distances[-1] <= found.fpr95_within + 1e-9
    assert max(distances) > 0.01


def test_fpr95_may_be_anything_when_all_errors_share_a_bin_with_the_step_at_95_percent() -> None:
    """Errors first: all 100 are accepted by then; evenly mixed: every sixth."""
    sure: Pixels = [(place * 2.0**-12, True) for place in range(940)]
    errors_first = sorted([True] * 60 + [False] * 100)
    bin_of_both = [(1024 + place * 2.0**-8, right) for place, right in enumerate(errors_first)]
    exact, histogram = ExactErrorDetection(), ErrorDetectionHistogram(10)
    for metric in (exact, histogram):
        metric.update(frame_of(sure + bin_of_both))
    found = histogram.compute()
    assert exact.compute().fpr95 == pytest.approx(1)
    assert found.fpr95 == pytest.approx(1 / 6, abs=0.01)
    assert found.fpr95 + found.fpr95_within == pytest.approx(1)


def test_fpr95_may_be_nothing_when_only_even_mixing_has_a_step_at_95_percent() -> None:
    """Of 30 right pixels 28 or 29 are accepted, never 28.5."""
    sure: Pixels = [(place / 8, place >= 50) for place in range(75)]
    bin_of_both: Pixels = [(1024 + place * 2.0**-8, place % 2 == 0) for place in range(10)]
    exact, histogram = ExactErrorDetection(), ErrorDetectionHistogram(10)
    for metric in (exact, histogram):
        metric.update(frame_of(sure + bin_of_both))
    found = histogram.compute()
    assert exact.compute().fpr95 == 0
    assert found.fpr95 == pytest.approx(53.5 / 55)
    assert found.fpr95_within == pytest.approx(found.fpr95)


def test_a_fine_histogram_is_close_on_smooth_uncertainties() -> None:
    exact, histogram = ExactErrorDetection(), ErrorDetectionHistogram()
    for metric in (exact, histogram):
        metric.update(random_frame(1, (200, 300)))
    found = histogram.compute()
    assert max(limits(found)[:3]) < 1e-3
    np.testing.assert_allclose(readings(found), readings(exact.compute()), atol=1e-4)


# --- SynthCP ---------------------------------------------------------------------------------


def average_precision(scores: list[float], positive: list[bool]) -> float:
    """Step sum of precision over recall, one step per distinct score."""
    total, before = 0.0, 0
    for threshold in sorted(set(scores), reverse=True):
        kept = [p for s, p in zip(scores, positive, strict=True) if s >= threshold]
        total += (sum(kept) - before) * sum(kept) / len(kept)
        before = sum(kept)
    return total / before


def nearest_fpr(scores: list[float], positive: list[bool]) -> float:
    """Of all thresholds down to full recall, the last of those nearest to 95 % recall."""
    best, found = np.inf, 0.0
    negatives = len(positive) - sum(positive)
    for threshold in sorted(set(scores), reverse=True):
        kept = [p for s, p in zip(scores, positive, strict=True) if s >= threshold]
        recall = sum(kept) / sum(positive)
        if abs(recall - 0.95) <= best:
            best, found = abs(recall - 0.95), (len(kept) - sum(kept)) / negatives
        if recall == 1:
            break
    return found


@settings(max_examples=80, deadline=None)
@given(st.lists(pixels_of_both_kinds, min_size=1, max_size=3))
def test_failure_detection_pools_areas_and_averages_fpr95_over_images(frames: list[Pixels]) -> None:
    metric = ExactFailureDetection()
    for pixels in frames:
        metric.update(frame_of(pixels, void=2))
    scores = metric.compute()
    uncertainty = [u for pixels in frames for u, _ in pixels]
    wrong = [not right for pixels in frames for _, right in pixels]
    confidence, right = [-u for u in uncertainty], [not w for w in wrong]
    assert scores.aupr_error == pytest.approx(average_precision(uncertainty, wrong))
    assert scores.aupr_success == pytest.approx(average_precision(confidence, right))
    by_image = [nearest_fpr([u for u, _ in f], [not r for _, r in f]) for f in frames]
    assert scores.fpr95 == pytest.approx(np.mean(by_image))
    assert (scores.frames, scores.pixels) == (len(frames), len(wrong))


@settings(max_examples=80, deadline=None)
@given(pixels=pixels_of_both_kinds, bits=st.sampled_from([10, 14, 18]))
def test_failure_detection_lies_within_the_stated_errors_of_a_histogram(
    pixels: Pixels, bits: int
) -> None:
    exact, histogram = ExactFailureDetection(), FailureDetection(bits)
    for metric in (exact, histogram):
        metric.update(frame_of(pixels))
    near, true = histogram.compute(), exact.compute()
    assert abs(near.aupr_error - true.aupr_error) <= near.aupr_error_within + 1e-12
    assert abs(near.aupr_success - true.aupr_success) <= near.aupr_success_within + 1e-12
    assert abs(near.auroc - true.auroc) <= near.auroc_within + 1e-12
    assert near.fpr95 == true.fpr95


def test_images_without_errors_count_in_the_areas_but_not_in_fpr95() -> None:
    metric = FailureDetection()
    metric.update(frame_of([(0.1, True), (0.2, True)]))
    metric.update(frame_of([(0.9, False)]))
    scores = metric.compute()
    assert (scores.auroc, scores.frames) == (1.0, 0)
    assert np.isnan(scores.fpr95)
    metric.update(frame_of([(0.5, True), (0.4, False)]))
    assert metric.compute().frames == 1
    assert metric.compute().fpr95 == 1.0


# --- both --------------------------------------------------------------------------------------


@EXACT_AND_BINNED
def test_merged_workers_equal_a_single_pass(metric: Callable) -> None:
    single, first, second = metric(), metric(), metric()
    for seed in range(3):
        single.update(random_frame(seed))
        (first if seed < 1 else second).update(random_frame(seed))
    first.merge(pickle.loads(pickle.dumps(second)))  # as from another process
    assert first.compute() == single.compute()


@EXACT_AND_BINNED
def test_a_pixel_without_a_prediction_is_an_error(metric: Callable) -> None:
    frame = frame_of([(0.1, True), (0.9, True)])
    assert frame.predicted is not None
    frame.predicted[0, 1] = 255
    accumulator = metric()
    accumulator.update(frame)
    assert accumulator.compute().errors == 1


@EXACT_AND_BINNED
def test_one_kind_of_pixels_is_not_enough(metric: Callable) -> None:
    accumulator = metric()
    with pytest.raises(MetricError, match="need"):
        accumulator.compute()
    accumulator.update(frame_of([(0.5, True)]))
    with pytest.raises(MetricError, match="need"):
        accumulator.compute()


@EXACT_AND_BINNED
def test_frames_without_classes_or_with_nan_are_refused(metric: Callable) -> None:
    accumulator = metric()
    with pytest.raises(MetricError, match="predicted and true classes"):
        accumulator.update(FrameResult(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.uint8)))
    with pytest.raises(MetricError, match="NaN at 1 pixels"):
        accumulator.update(frame_of([(np.nan, True), (0.5, False)]))
    accumulator.update(frame_of([(0.5, True), (0.6, False)]))
    assert accumulator.compute().pixels == 2  # the refused frames left no trace


def test_histograms_of_different_bins_do_not_merge() -> None:
    with pytest.raises(MetricError, match="22 and 16 bits"):
        ErrorDetectionHistogram().merge(ErrorDetectionHistogram(16))
    with pytest.raises(MetricError, match="22 and 16 bits"):
        FailureDetection().merge(FailureDetection(16))


def test_confidnet_accepts_the_first_threshold_that_keeps_95_percent() -> None:
    confidence = np.arange(40) / 40  # two of 40 right pixels lie below 0.05
    uncertainty = -np.concatenate([confidence, [0.01, 0.5, 0.6, 0.7]])
    right = np.arange(44) < 40
    assert confidnet_fpr95(uncertainty, right) == 3 / 4
    assert np.isnan(confidnet_fpr95(np.array([0.0, 0.5, 1.0]), np.array([True, True, False])))
    with pytest.raises(MetricError, match="two distinct scores"):
        confidnet_fpr95(np.zeros(3), np.array([True, True, False]))
