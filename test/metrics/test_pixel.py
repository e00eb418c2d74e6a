"""AP, AUROC and FPR95 against their definitions, written out plainly."""

from __future__ import annotations

import copy
import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import ExactScores, FrameResult, PixelScores, ScoreHistogram

quick = settings(max_examples=120, deadline=None)
ANY_SCORE = st.floats(width=32, allow_nan=False)
TIED_SCORE = st.integers(-3, 3).map(lambda value: value / 4)
CLOSE_SCORE = st.integers(0, 40).map(lambda value: 1 - value * 2.0**-20)
scores_and_labels = st.one_of(
    *(
        st.lists(st.tuples(kind, st.sampled_from([0, 0, 1, 255])), min_size=1, max_size=40)
        for kind in (ANY_SCORE, TIED_SCORE, CLOSE_SCORE)
    )
)
Pixels = list[tuple[float, int]]


def frame_of(pixels: Pixels) -> FrameResult:
    """The pixels as an image of one row."""
    score = np.array([[s for s, _ in pixels]], np.float32)
    return FrameResult(score, np.array([[label for _, label in pixels]], np.uint8))


def with_both_kinds(pixels: Pixels) -> Pixels:
    labels = {label for _, label in pixels}
    assume({0, 1} <= labels)
    return pixels


def by_definition(pixels: Pixels) -> tuple[Fraction, Fraction, Fraction]:
    """AP, AUROC and FPR95 as exact fractions: every threshold counted afresh."""
    positives = [s for s, label in pixels if label == 1]
    negatives = [s for s, label in pixels if label == 0]
    ap, recall, fpr95 = Fraction(0), Fraction(0), None
    for threshold in sorted({*positives, *negatives}, reverse=True):
        found = sum(s >= threshold for s in positives)
        wrong = sum(s >= threshold for s in negatives)
        new_recall = Fraction(found, len(positives))
        ap += (new_recall - recall) * Fraction(found, found + wrong)
        recall = new_recall
        if fpr95 is None and recall >= Fraction(19, 20):
            fpr95 = Fraction(wrong, len(negatives))
    pairs = [(p > n) + Fraction(p == n, 2) for p in positives for n in negatives]
    assert fpr95 is not None
    return ap, sum(pairs, Fraction(0)) / len(pairs), fpr95


def assert_close(scores: PixelScores, expected: tuple[Fraction, Fraction, Fraction]) -> None:
    found = (scores.ap, scores.auroc, scores.fpr95)
    np.testing.assert_allclose(found, [float(value) for value in expected], rtol=0, atol=1e-12)


@quick
@given(scores_and_labels.map(with_both_kinds))
def test_exact_scores_are_the_definitions(pixels: Pixels) -> None:
    exact = ExactScores()
    exact.update(frame_of(pixels))
    scores = exact.compute()
    assert_close(scores, by_definition(pixels))
    assert scores.positives == sum(label == 1 for _, label in pixels)
    assert scores.negatives == sum(label == 0 for _, label in pixels)
    assert (scores.ap_error, scores.auroc_error, scores.fpr95_error) == (0, 0, 0)


@pytest.mark.parametrize("bits", [10, 14, 18])
@quick
@given(pixels=scores_and_labels.map(with_both_kinds))
def test_the_exact_values_lie_within_the_stated_errors_of_a_histogram(
    bits: int, pixels: Pixels
) -> None:
    histogram = ScoreHistogram(bits)
    histogram.update(frame_of(pixels))
    scores = histogram.compute()
    ap, auroc, fpr95 = (float(value) for value in by_definition(pixels))
    assert abs(scores.ap - ap) <= scores.ap_error + 1e-12
    assert abs(scores.auroc - auroc) <= scores.auroc_error + 1e-12
    assert abs(scores.fpr95 - fpr95) <= scores.fpr95_error + 1e-12


@quick
@given(
    st.lists(st.tuples(TIED_SCORE, st.sampled_from([0, 1, 255])), min_size=2, max_size=40).map(
        with_both_kinds
    )
)
def test_a_histogram_is_exact_where_bins_hold_one_score_each(pixels: Pixels) -> None:
    histogram = ScoreHistogram(16)
    histogram.update(frame_of(pixels))
    assert_close(histogram.compute(), by_definition(pixels))


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.sampled_from([0, 1]), min_size=2, max_size=7).filter(
        lambda labels: 0 < sum(labels) < len(labels)
    ),
    above=st.lists(st.sampled_from([0, 1]), max_size=3),
)
def test_the_error_of_ap_is_reached_by_some_order_within_the_bin(
    labels: list[int], above: list[int]
) -> None:
    """Not only a bound: the farthest of all orders, with and without ties, is exactly that far."""
    head: Pixels = [(3.0 + place, label) for place, label in enumerate(above)]
    values = [1 + place * 2.0**-20 for place in range(len(labels))]
    histogram = ScoreHistogram(bits=12)
    histogram.update(frame_of([*head, *zip(values, labels, strict=True)]))
    scores = histogram.compute()
    farthest = 0.0
    for order in set(itertools.permutations(labels)):
        apart = list(zip(values, order, strict=True))
        tied = [(2.0 if label else 1.5, label) for label in order]  # all positives first, as one
        for body in (apart, tied):
            ap = float(by_definition([*head, *body])[0])
            farthest = max(farthest, abs(ap - scores.ap))
    assert scores.ap_error == pytest.approx(farthest, abs=1e-12)


def test_large_numbers_of_tied_pixels_keep_their_precision() -> None:
    """One bin of a billion pixels: the harmonic sums must not lose the small difference."""
    histogram = ScoreHistogram()
    histogram.known = np.array([999_000_000, 10**6])
    histogram.anomalous = np.array([3, 10**9])
    scores = histogram.compute()
    total = 10**9 + 3
    above = Fraction(10**9, 10**9 + 10**6) * 10**9
    tied = sum(
        Fraction(10**9 + i, 10**9 + i + 10**6 + 999_000_000) for i in (1, 2, 3)
    )  # the lowest that the second bin can give
    assert scores.ap == pytest.approx(float((above + tied) / total), abs=1e-9)
    # The billion: worst when the million comes first, sum of i / (i + 10^6) over i = 1 .. 10^9.
    i = np.arange(0.5, 1000, 1) * 10**6  # midpoints of thousand parts, each nearly linear
    worst = float(np.mean(i / (i + 10**6)))
    assert scores.ap - scores.ap_error == pytest.approx(worst, abs=1e-4)


def test_a_fine_histogram_is_close_on_smooth_scores() -> None:
    random = np.random.default_rng(0)
    label = (random.random((300, 400)) < 0.03).astype(np.uint8)
    score = (random.normal(size=label.shape) + 2 * label).astype(np.float32)
    frame = FrameResult(1 / (1 + np.exp(-score)), label)
    histogram, exact = ScoreHistogram(), ExactScores()
    histogram.update(frame)
    exact.update(frame)
    near, true = histogram.compute(), exact.compute()
    assert near.ap_error < 1e-3
    assert near.auroc_error < 1e-3
    assert near.fpr95_error < 1e-3
    assert (
        abs(near.ap - true.ap) < near.ap_error / 2
    )  # ties within a bin cost far less than the bound


@quick
@given(st.lists(scores_and_labels, min_size=2, max_size=4), st.integers(1, 3))
def test_merged_workers_equal_a_single_pass(frames: list[Pixels], split: int) -> None:
    with_both_kinds([pixel for frame in frames for pixel in frame])
    for metric in (ExactScores, lambda: ScoreHistogram(14)):
        single, first, second = metric(), metric(), metric()
        for number, pixels in enumerate(frames):
            single.update(frame_of(pixels))
            (first if number < split else second).update(frame_of(pixels))
        sent = pickle.loads(pickle.dumps(second))  # as from another process
        first.merge(sent)
        assert first.compute() == single.compute()


def test_void_pixels_and_the_frame_boundaries_do_not_matter() -> None:
    random = np.random.default_rng(1)
    score = random.random((40, 50), np.float32)
    label = random.integers(0, 2, (40, 50), np.uint8)
    voided = label.copy()
    voided[:, 30:] = 255
    odd = score.copy()
    odd[:, 40:] = np.nan  # the network did not look there
    odd[:, 30:40] = np.inf
    for metric in (ExactScores, ScoreHistogram):
        whole, parts = metric(), metric()
        whole.update(FrameResult(odd, voided))
        parts.update(FrameResult(score[:11, :30], label[:11, :30]))
        parts.update(FrameResult(score[11:, :30], label[11:, :30]))
        parts.update(FrameResult(score[:, 30:], np.full((40, 20), 255, np.uint8)))
        assert whole.compute() == parts.compute()


def test_the_two_zeros_are_one_score() -> None:
    frame = FrameResult(np.array([[0.0, -0.0]], np.float32), np.array([[0, 1]], np.uint8))
    for metric in (ExactScores, ScoreHistogram):
        accumulator = metric()
        accumulator.update(frame)
        assert accumulator.compute().auroc == 0.5


def test_infinite_scores_are_the_ends_of_the_order() -> None:
    pixels: Pixels = [(np.inf, 1), (3e38, 0), (-3e38, 1), (-np.inf, 0)]
    for metric in (ExactScores, ScoreHistogram):
        accumulator = metric()
        accumulator.update(frame_of(pixels))
        assert_close(accumulator.compute(), by_definition(pixels))


def test_fpr95_is_read_where_the_recall_is_exactly_95_percent() -> None:
    pixels: Pixels = [(9.0, 1)] * 18 + [(5.0, 1), (6.0, 0), (1.0, 1), (2.0, 0), (0.5, 0), (0.1, 0)]
    for metric in (ExactScores, ScoreHistogram):
        accumulator = metric()
        accumulator.update(frame_of(pixels))
        assert accumulator.compute().fpr95 == 0.25  # 19 of 20 are found at 5.0, after one of four


def test_the_curve_has_a_point_for_each_score_of_an_anomaly() -> None:
    exact = ExactScores()
    exact.update(frame_of([(0.75, 1), (0.5, 0), (0.5, 1), (0.25, 0), (0.125, 1), (0.0, 0)]))
    curve = exact.curve()
    np.testing.assert_array_equal(curve.thresholds, [np.inf, 0.75, 0.5, 0.125])
    np.testing.assert_array_equal(curve.recall, [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_array_equal(curve.fpr, [0, 0, 1 / 3, 2 / 3])
    np.testing.assert_array_equal(curve.precision, [1, 1, 2 / 3, 3 / 5])


def test_what_happens_to_a_frame_later_does_not_matter() -> None:
    frame = frame_of([(0.5, 0), (0.75, 0)])
    for metric in (ExactScores, ScoreHistogram):
        accumulator = metric()
        accumulator.update(frame_of([(0.5, 0), (0.75, 0)]))
        accumulator.update(frame_of([(0.625, 1)]))
        before = accumulator.compute()
        accumulator = metric()
        accumulator.update(frame)
        frame.score[:] += 1
        accumulator.update(frame_of([(0.625, 1)]))
        assert accumulator.compute() == before
        frame.score[:] -= 1


def test_update_leaves_the_frame_alone() -> None:
    frame = frame_of([(-0.5, 1), (0.5, 0), (0.25, 255)])
    before = copy.deepcopy((frame.score, frame.label))
    ScoreHistogram().update(frame)
    ExactScores().update(frame)
    np.testing.assert_array_equal(frame.score, before[0])
    np.testing.assert_array_equal(frame.label, before[1])


# --- wrong input -----------------------------------------------------------------------------

METRICS = pytest.mark.parametrize("metric", [ExactScores, ScoreHistogram])


@METRICS
@pytest.mark.parametrize(("label", "found"), [(0, "0 anomalous"), (1, "0 known"), (255, "0 ano")])
def test_one_kind_of_pixels_is_not_enough(
    metric: type[ExactScores | ScoreHistogram], label: int, found: str
) -> None:
    accumulator = metric()
    with pytest.raises(MetricError, match="found 0 anomalous and 0 known"):
        accumulator.compute()
    accumulator.update(frame_of([(0.5, label)]))
    with pytest.raises(MetricError, match=found):
        accumulator.compute()


@METRICS
def test_nan_at_a_pixel_that_counts_is_refused(metric: type[ExactScores | ScoreHistogram]) -> None:
    accumulator = metric()
    accumulator.update(frame_of([(np.nan, 255), (0.1, 0), (0.2, 1)]))
    with pytest.raises(MetricError, match="NaN at 2 pixels that are not void"):
        accumulator.update(frame_of([(np.nan, 255), (np.nan, 0), (np.nan, 1), (1, 1)]))
    assert accumulator.compute().positives == 1  # the refused frame left no trace


@METRICS
def test_other_label_values_are_refused(metric: type[ExactScores | ScoreHistogram]) -> None:
    with pytest.raises(MetricError, match=r"values \[2, 254\]; expected 0 known, 1 anomaly"):
        metric().update(frame_of([(0.5, 2), (0.5, 254), (0.1, 1)]))


def test_histograms_of_different_bins_do_not_merge() -> None:
    with pytest.raises(MetricError, match="22 and 16 bits"):
        ScoreHistogram().merge(ScoreHistogram(16))
    with pytest.raises(MetricError, match="expected 10 to 24"):
        ScoreHistogram(32)


@pytest.mark.parametrize(
    ("score", "label", "match"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3), np.uint8), "score is float64"),
        (np.zeros((2, 3), np.float32), np.zeros((2, 3), bool), "label is bool"),
        (np.zeros((2, 3), np.float32), np.zeros((3, 2), np.uint8), r"label is uint8 \[3, 2\]"),
        (np.zeros(6, np.float32), np.zeros(6, np.uint8), r"score is float32 \[6\]"),
    ],
)
def test_a_frame_of_wrong_arrays_is_refused(
    score: np.ndarray, label: np.ndarray, match: str
) -> None:
    with pytest.raises(MetricError, match=match):
        FrameResult(score, label)
