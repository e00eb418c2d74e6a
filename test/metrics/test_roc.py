"""The ROC over frames of equal weight against a count level by level."""

from __future__ import annotations

import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FrameResult, FrameRoc, FrameRocScores

LEVELS = 1024
Pixels = list[tuple[float, int]]

a_score = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, -0.25, 1.5, float("inf"), float("-inf"), 1e9]),
    st.integers(0, 16).map(lambda value: value / 16),
    st.floats(0, 1, width=32),
)
pixels = st.lists(st.tuples(a_score, st.sampled_from([0, 0, 1, 255])), min_size=1, max_size=20)
several_frames = st.lists(pixels, min_size=1, max_size=5)


def frame_of(pixels: Pixels) -> FrameResult:
    """The pixels as an image of one row."""
    score, label = zip(*pixels, strict=True)
    return FrameResult(np.array([score], np.float32), np.array([label], np.uint8))


def filled(frames: list[Pixels]) -> FrameRoc:
    roc = FrameRoc()
    for pixels in frames:
        roc.update(frame_of(pixels))
    return roc


def with_both_kinds(frames: list[Pixels]) -> list[Pixels]:
    assume({0, 1} <= {label for frame in frames for _, label in frame})
    return frames


def assert_same(found: FrameRocScores, expected: FrameRocScores) -> None:
    """To the last bit."""
    assert found.auroc == expected.auroc
    np.testing.assert_array_equal(found.matrices, expected.matrices)
    np.testing.assert_array_equal(found.tp_rates, expected.tp_rates)
    np.testing.assert_array_equal(found.fp_rates, expected.fp_rates)


def matrix_at(frames: list[Pixels], level: int) -> list[list[Fraction]]:
    """[[tp, fp], [fn, tn]] with the scores from the lower edge of a level up to 1 as detections."""
    total = [[Fraction(0), Fraction(0)], [Fraction(0), Fraction(0)]]
    for frame in frames:
        area = sum(label != 255 for _, label in frame)
        for score, label in frame:
            if label == 255:
                continue
            with np.errstate(over="ignore"):
                half = float(np.float16(score))
            missed = not level / LEVELS <= half <= 1 or (
                level == LEVELS - 1 and half < 1 - 1 / LEVELS
            )
            total[missed][1 - label] += Fraction(1, area)
    return total


@settings(max_examples=60, deadline=None)
@given(
    frames=several_frames.map(with_both_kinds),
    levels=st.lists(st.integers(0, LEVELS - 1), min_size=1, max_size=6),
)
def test_the_matrices_are_the_definition(frames: list[Pixels], levels: list[int]) -> None:
    scores = filled(frames).compute()
    for level in [0, LEVELS // 2, LEVELS - 1, *levels]:
        place = LEVELS - 1 - level
        expected = np.array(matrix_at(frames, level), np.float64)
        np.testing.assert_allclose(scores.matrices[place], expected, rtol=0, atol=1e-12)
        assert scores.thresholds[place] == level / LEVELS
        (tp, fp), (fn, tn) = expected
        assert scores.tp_rates[place] == pytest.approx(tp / (tp + fn))
        assert scores.fp_rates[place] == pytest.approx(fp / (fp + tn))
    heights = (scores.tp_rates[1:] + scores.tp_rates[:-1]) / 2
    assert scores.auroc == pytest.approx(np.sum(np.diff(scores.fp_rates) * heights))


def test_every_frame_has_the_same_weight() -> None:
    small: Pixels = [(0.9, 1), (0.1, 0)]
    large: Pixels = [(0.1, 1)] * 10 + [(0.9, 0)] * 10
    scores = filled([small, large]).compute()
    half = LEVELS // 2
    np.testing.assert_allclose(scores.matrices[half], [[0.5, 0.5], [0.5, 0.5]])
    assert (scores.tp_rates[half], scores.fp_rates[half]) == (0.5, 0.5)
    assert scores.auroc == pytest.approx(0.5)


def test_scores_beyond_one_are_never_detected_and_still_counted() -> None:
    scores = filled([[(1.5, 1), (0.75, 1), (0.25, 0), (-0.5, 0)]]).compute()
    assert (scores.tp_rates.max(), scores.fp_rates.max()) == (0.5, 0.5)


def test_the_area_before_the_first_point_is_lost() -> None:
    """All scores in the highest level: one point, (1, 1), and no way to it."""
    assert filled([[(1.0, 1), (1.0, 0)]]).compute().auroc == 0


def test_float16_rounds_into_the_next_level() -> None:
    scores = filled([[(0.49999, 1), (0.0, 0)]]).compute()
    at_half = LEVELS - 1 - LEVELS // 2
    assert scores.tp_rates[at_half] == 1


def test_void_pixels_do_not_matter() -> None:
    frame: Pixels = [(0.9, 1), (0.8, 0), (0.1, 0)]
    odd: Pixels = [(float("nan"), 255), (0.5, 255)]
    assert_same(filled([odd, frame + odd]).compute(), filled([frame]).compute())


@settings(max_examples=30, deadline=None)
@given(frames=several_frames.map(with_both_kinds), split=st.integers(0, 5))
def test_merged_workers_equal_a_single_pass(frames: list[Pixels], split: int) -> None:
    merged = filled(frames[:split])
    merged.merge(pickle.loads(pickle.dumps(filled(frames[split:]))))
    assert_same(merged.compute(), filled(frames).compute())


def test_the_order_of_the_frames_does_not_matter() -> None:
    random = np.random.default_rng(0)
    frames = [
        list(zip(random.random(size).tolist(), random.integers(0, 2, size).tolist(), strict=True))
        for size in (7, 11, 13, 17)
    ]
    expected = filled(frames).compute()
    for order in itertools.permutations(frames):
        assert_same(filled(list(order)).compute(), expected)


def test_a_worker_is_not_changed_by_being_merged() -> None:
    one, other = filled([[(0.9, 1), (0.1, 0)]]), FrameRoc()
    before = one.compute()
    other.merge(one)
    other.update(frame_of([(0.2, 1), (0.3, 0)]))
    assert_same(one.compute(), before)


# --- wrong input -----------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "found"), [(0, "0 anomalous"), (1, "0 known"), (255, "0 ano")])
def test_one_kind_of_pixels_is_not_enough(label: int, found: str) -> None:
    with pytest.raises(MetricError, match="found 0 anomalous and 0 known"):
        FrameRoc().compute()
    with pytest.raises(MetricError, match=found):
        filled([[(0.5, label)]]).compute()


def test_nan_and_other_labels_are_refused() -> None:
    roc = FrameRoc()
    with pytest.raises(MetricError, match="NaN at 1 pixels that are not void"):
        roc.update(frame_of([(float("nan"), 1), (0.5, 0)]))
    with pytest.raises(MetricError, match=r"values \[2\]; expected 0 known, 1 anomaly"):
        roc.update(frame_of([(0.5, 2)]))
    assert roc.counts == {}
