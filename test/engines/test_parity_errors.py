"""Errors are counted as numpy would count them, in bounded memory, away from flipped labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly_seg_ros.engine_parity.errors import (
    ErrorCounts,
    Gates,
    OutcomeCounts,
    TensorCounts,
    near_flips,
)

FLOATS = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.float32, 40, elements=FLOATS),
    arrays(np.float32, 40, elements=FLOATS),
    st.integers(1, 39),
)
def test_mean_and_largest_are_exact_and_p99_is_close(
    reference: np.ndarray, test: np.ndarray, cut: int
) -> None:
    counts = ErrorCounts()
    counts.add(reference[:cut], test[:cut])
    counts.add(reference[cut:], test[cut:])
    errors = np.abs(test.astype(np.float64) - reference)
    summary = counts.summary()
    assert summary.values == 40
    assert summary.mean == pytest.approx(errors.mean())
    assert summary.largest == errors.max()
    exact = np.quantile(errors, 0.99, method="inverted_cdf")
    assert exact * (1 - 1e-6) <= summary.p99 <= exact * 1.008 + 1e-37


def test_no_error_at_all_is_zero_and_not_nearly_zero() -> None:
    counts = ErrorCounts()
    counts.add(
        np.array([1, 2, np.inf, np.nan], np.float32), np.array([1, 2, np.inf, np.nan], np.float32)
    )
    summary = counts.summary()
    assert (summary.values, summary.mean, summary.p99, summary.largest) == (2, 0, 0, 0)
    assert summary.not_finite == 0


def test_values_that_are_not_finite_are_told_apart() -> None:
    counts = ErrorCounts()
    counts.add(
        np.array([1, 2, np.inf, 3], np.float32),
        np.array([np.nan, -np.inf, -np.inf, 3.5], np.float32),
    )
    summary = counts.summary()
    assert summary.not_finite == 3 and summary.values == 1 and summary.largest == 0.5


def test_nothing_compared_is_none_and_not_zero() -> None:
    assert ErrorCounts().summary().largest is None


def test_ids_have_a_share_of_equal_values_and_no_error() -> None:
    counts = TensorCounts("labels")
    counts.add(np.array([1, 2, 3, 4], np.uint8), np.array([1, 2, 3, 200], np.uint8))
    difference = counts.difference()
    assert difference.equal == 0.75 and difference.error is None and difference.span == 4


def test_half_precision_overflows_nothing_while_it_is_compared() -> None:
    counts = TensorCounts("features_4")
    counts.add(np.array([-60000], np.float16), np.array([60000], np.float16))
    difference = counts.difference()
    assert difference.error is not None and difference.error.largest == pytest.approx(120000, 1e-3)


@pytest.mark.parametrize("margin", [0, 2])
def test_cells_near_a_flip_are_those_within_the_margin(margin: int) -> None:
    flipped = np.zeros((9, 12), bool)
    flipped[4, 5] = True
    near = near_flips(flipped, (9, 12), margin)
    rows, columns = np.nonzero(near)
    assert len(rows) == (2 * margin + 1) ** 2
    assert np.abs(rows - 4).max() == margin and np.abs(columns - 5).max() == margin


def test_one_flip_among_many_finer_labels_counts() -> None:
    flipped = np.zeros((320, 320), bool)
    flipped[170, 33] = True
    near = near_flips(flipped, (5, 5), 0)
    assert near[2, 0] and near.sum() == 1


def test_a_flip_of_coarser_labels_covers_all_its_cells() -> None:
    flipped = np.zeros((4, 4), bool)
    flipped[1, 2] = True
    near = near_flips(flipped, (8, 8), 0)
    assert near[2:4, 4:6].all() and near.sum() == 4


def outcome_of(labels: np.ndarray, score: np.ndarray, margin: int = 0) -> OutcomeCounts:
    """Counts of one frame whose reference has label 0 and score 0 everywhere."""
    counts = OutcomeCounts(0.5, margin)
    counts.add((np.zeros_like(labels), labels), (np.zeros_like(score), score))
    return counts


def test_a_score_that_is_off_at_a_flipped_label_alone_is_no_score_error() -> None:
    labels, score = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.float32)
    labels[3, 3], score[3, 3], score[3, 4] = 7, 0.9, 0.4
    outcome = outcome_of(labels, score, margin=1).outcome()
    assert outcome.score.largest == 0 and outcome.left_out == 9 / 64
    assert outcome.agreement == 63 / 64
    assert outcome.alarm_agreement == 63 / 64  # alarms count everywhere
    outcome = outcome_of(labels, score, margin=0).outcome()
    assert outcome.score.largest == pytest.approx(0.4)


def test_gates_hold_at_their_own_values_and_not_beyond() -> None:
    labels, score = np.zeros((10, 10), np.uint8), np.full((10, 10), 0.25, np.float32)
    labels[0, 0] = 1
    outcome = outcome_of(labels, score).outcome()
    assert outcome.faults(Gates(0.99, 0.25)) == []
    assert "labels agree on 99.0000%" in outcome.faults(Gates(0.995, 0.25))[0]
    assert "the score is off by up to 0.25, more than 0.2" in outcome.faults(Gates(0.9, 0.2))[0]


def test_a_comparison_of_no_pixel_is_beyond_every_gate() -> None:
    labels, score = np.ones((4, 4), np.uint8), np.zeros((4, 4), np.float32)
    faults = outcome_of(labels, score).outcome().faults(Gates(0.0, 1e9))
    assert faults == ["no pixel of the score lies away from flipped labels: none was compared"]
