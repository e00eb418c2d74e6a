"""Thresholds with a guarantee: the curves by definition, the guarantee by simulation."""

from __future__ import annotations

import pickle
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FrameResult
from anomaly_seg_ros.metrics.conformal import RiskCurve, RiskCurves, certified, share_bound


def frame_of(pixels: list[tuple[float, int]]) -> FrameResult:
    """The pixels as an image of one row."""
    score = np.array([[s for s, _ in pixels]], np.float32)
    return FrameResult(score, np.array([[label for _, label in pixels]], np.uint8))


def random_frame(random: np.random.Generator, pixels: int = 25, share: float = 0.2) -> FrameResult:
    """Frames differ: some are noisy all over, some anomalies are faint."""
    label = (random.random((1, pixels)) < share).astype(np.uint8)
    score = random.normal(size=label.shape) * random.gamma(2, 0.5) + label * random.uniform(0, 4)
    return FrameResult(score.astype(np.float32), label)


def losses(frame: FrameResult, threshold: float) -> tuple[float, float]:
    """False-alarm share of known pixels, missed share of anomalous ones; NaN where there is none.

    float32 throughout, as the detector compares.
    """
    flagged = frame.score >= np.float32(threshold)
    known, anomalous = frame.label == 0, frame.label == 1
    return (
        float(flagged[known].mean()) if known.any() else np.nan,
        float(1 - flagged[anomalous].mean()) if anomalous.any() else np.nan,
    )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.floats(-8, 8, width=32), st.sampled_from([0, 0, 1, 255])),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([10, 16]),
)
def test_risks_are_the_mean_losses_of_the_frames_that_have_them(
    frames: list[list[tuple[float, int]]], bits: int
) -> None:
    metric = RiskCurves(bits)
    for pixels in frames:
        metric.update(frame_of(pixels))
    risks = metric.compute()
    places = np.unique(
        np.clip(
            np.searchsorted(
                risks.false_alarms.thresholds, [s + d for f in frames for s, _ in f for d in (0, 1)]
            ),
            0,
            risks.false_alarms.thresholds.size - 1,
        )
    )
    for at in places:
        threshold = risks.false_alarms.thresholds[at]
        found = np.array([losses(frame_of(pixels), threshold) for pixels in frames])
        for curve, column in ((risks.false_alarms, 0), (risks.misses, 1)):
            defined = found[~np.isnan(found[:, column]), column]
            assert curve.frames == defined.size
            expected = defined.mean() if defined.size else np.nan
            assert curve.risk[at] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_an_object_is_missed_when_none_of_its_pixels_is_flagged() -> None:
    label = np.zeros((5, 9), np.uint8)
    label[1:3, 1:3] = 1  # an object of 4 pixels, highest score 0.75
    label[4, 4] = label[3, 5] = 1  # one of 2, connected through a corner, highest 0.5
    label[0, 8] = 1  # one of 1, score 0.125
    score = np.where(label, 0.0625, 0).astype(np.float32)
    score[1, 2], score[3, 5], score[0, 8] = 0.75, 0.5, 0.125
    for min_area, faintest in ((1, 0.125), (2, 0.5), (3, 0.75)):
        metric = RiskCurves(min_area=min_area)
        metric.update(FrameResult(score, label))
        curve = metric.compute().missed_objects
        assert curve.frames == 1
        np.testing.assert_array_equal(curve.risk, curve.thresholds > faintest)
    metric = RiskCurves(min_area=5)
    metric.update(FrameResult(score, label))
    assert metric.compute().missed_objects.frames == 0


def test_the_least_cautious_threshold_is_chosen() -> None:
    """18 frames have all pixels at 0.25, the 19th has half of its own at 0.75."""
    metric = RiskCurves()
    for _ in range(18):
        metric.update(frame_of([(0.25, 0)] * 10))
    metric.update(frame_of([(0.25, 0)] * 5 + [(0.75, 0)] * 5))
    curve = metric.compute().false_alarms
    tolerant = curve.select(0.08)  # 1/20 + 19/20 * (1/2)/19 = 0.075
    assert 0.25 < tolerant.threshold <= 0.25 * (1 + 1 / 128)
    assert tolerant.bound == pytest.approx(0.075)
    assert tolerant.risk == pytest.approx(0.5 / 19)
    strict = curve.select(0.07)
    assert 0.75 < strict.threshold <= 0.75 * (1 + 1 / 128)
    assert strict.bound == pytest.approx(1 / 20)
    assert (strict.frames, strict.alpha) == (19, 0.07)


def test_for_misses_the_highest_threshold_that_is_safe_is_chosen() -> None:
    metric = RiskCurves()
    for peak in [0.5] * 17 + [0.25, 0.125]:
        metric.update(frame_of([(peak, 1), (0.0, 0)]))
    curve = metric.compute().misses
    assert curve.select(0.05).threshold == 0.125  # none may be missed
    assert curve.select(0.10).threshold == 0.25  # one of 19 may
    assert curve.select(0.151).threshold == 0.5


@pytest.mark.parametrize("kind", ["false_alarms", "misses", "missed_objects"])
@pytest.mark.parametrize(("frames", "alpha"), [(9, 0.1), (30, 0.1), (24, 0.25)])
def test_the_expected_loss_of_a_new_frame_is_at_most_alpha(
    kind: str, frames: int, alpha: float
) -> None:
    """400 calibration sets; the expectation over new frames is taken over the same large pool."""
    random = np.random.default_rng(7)
    pool = [random_frame(random) for _ in range(400)]
    if kind != "false_alarms":
        pool = [frame for frame in pool if frame.label.any()]
    single = []
    for frame in pool:
        metric = RiskCurves(bits=12)
        metric.update(frame)
        single.append(getattr(metric.compute(), kind))
    thresholds, falls = single[0].thresholds, single[0].falls
    loss = np.array([curve.risk for curve in single])
    mean_loss = loss.mean(axis=0)
    expected = []
    for _ in range(400):
        drawn = loss[random.integers(0, len(pool), frames)]
        chosen = RiskCurve(thresholds, drawn.mean(axis=0), frames, falls).select(alpha)
        expected.append(mean_loss[np.searchsorted(thresholds, np.float32(chosen.threshold))])
    error = np.std(expected) / np.sqrt(len(expected))
    assert np.mean(expected) <= alpha + 3 * error
    assert np.mean(expected) >= alpha - 2 / (frames + 1) - 3 * error - 0.03  # nor far from it


def test_too_few_frames_name_how_many_are_needed() -> None:
    metric = RiskCurves()
    for _ in range(18):
        metric.update(frame_of([(0.1, 0)]))
    with pytest.raises(MetricError, match=r"18 frames cannot show a risk of 0\.05: expected 19"):
        metric.compute().false_alarms.select(0.05)
    with pytest.raises(MetricError, match=r"0 frames cannot show a risk of 0\.5: expected 1 or"):
        metric.compute().misses.select(0.5)
    metric.update(frame_of([(0.1, 0)]))
    assert metric.compute().false_alarms.select(0.05).risk == 0


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_a_risk_outside_0_and_1_is_refused(alpha: float) -> None:
    with pytest.raises(MetricError, match="expected a risk between 0 and 1"):
        RiskCurves().compute().false_alarms.select(alpha)


def test_infinite_scores_leave_no_threshold() -> None:
    metric = RiskCurves()
    for _ in range(20):
        metric.update(frame_of([(np.inf, 0), (-np.inf, 1)]))
    with pytest.raises(MetricError, match="no finite threshold"):
        metric.compute().false_alarms.select(0.1)
    with pytest.raises(MetricError, match="lowest possible bound is 1"):
        metric.compute().misses.select(0.1)


def test_merged_workers_equal_a_single_pass() -> None:
    random = np.random.default_rng(3)
    single, first, second = RiskCurves(), RiskCurves(), RiskCurves()
    for number in range(12):
        frame = random_frame(random)
        single.update(frame)
        (first if number < 5 else second).update(frame)
    first.merge(pickle.loads(pickle.dumps(second)))  # as from another process
    for name in ("false_alarms", "misses", "missed_objects"):
        merged, whole = getattr(first.compute(), name), getattr(single.compute(), name)
        np.testing.assert_allclose(merged.risk, whole.risk, rtol=0, atol=1e-12)
        assert merged.frames == whole.frames
    with pytest.raises(MetricError, match="16 bits, min_area 1 and of 16 bits, min_area 2"):
        first.merge(RiskCurves(min_area=2))


# --- counts of frames ------------------------------------------------------------------------


def test_the_bound_of_a_share_has_known_values() -> None:
    assert share_bound(0, 20, 0.95) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert share_bound(19, 20, 0.9) == pytest.approx(0.9 ** (1 / 20))
    assert share_bound(20, 20) == 1
    assert share_bound(0, 299, 0.95) < 0.01 < share_bound(0, 298, 0.95)  # the rule of three


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_at_the_bound_so_few_events_are_as_rare_as_stated(counts: tuple[int, int]) -> None:
    events, frames = counts
    share = Fraction(share_bound(events, frames, 0.9))
    tail = sum(comb(frames, k) * share**k * (1 - share) ** (frames - k) for k in range(events + 1))
    assert float(tail) == pytest.approx(0.1, rel=1e-9)


def test_large_counts_are_no_trouble() -> None:
    assert share_bound(1000, 100_000, 0.95) == pytest.approx(0.01 + 1.65 * 0.000315, abs=2e-5)


def test_thresholds_are_certified_in_order_up_to_the_first_that_fails() -> None:
    assert certified([0, 0, 3, 0], 100, 0.05) == 1  # the last is not looked at
    assert certified([0, 1, 1], 100, 0.05) == 2
    assert certified([2, 0], 100, 0.05) is None
    with pytest.raises(MetricError, match=r"58 frames cannot show a share of 0\.05 .* expected 59"):
        certified([0], 58, 0.05)
    assert certified([0], 59, 0.05) == 0
    with pytest.raises(MetricError, match="both between 0 and 1"):
        certified([0], 58, 1.0)


def test_a_certificate_is_wrong_no_more_often_than_it_says() -> None:
    """Ten thresholds with true shares of 1 to 10 %, alpha 5 %, the same 80 frames for all."""
    random = np.random.default_rng(0)
    shares = np.arange(1, 11) / 100
    wrong = 0
    for _ in range(500):
        level = random.random((80, 1))  # events at one threshold are events at bolder ones
        chosen = certified((level < shares).sum(axis=0).tolist(), 80, 0.05, confidence=0.8)
        wrong += chosen is not None and shares[chosen] > 0.05
    assert wrong / 500 <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 500)


def test_impossible_counts_are_refused() -> None:
    for events, frames, confidence in ((3, 2, 0.9), (-1, 2, 0.9), (0, 0, 0.9), (0, 2, 1.0)):
        with pytest.raises(MetricError, match="expected 0 to as many events as frames"):
            share_bound(events, frames, confidence)
    with pytest.raises(MetricError, match="min_area of 1 or more"):
        RiskCurves(min_area=0)
