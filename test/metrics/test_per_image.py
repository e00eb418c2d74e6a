"""The protocols that go image by image, against their definition and against scikit-learn's AP."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import (
    CaosScores,
    ExactScores,
    FrameResult,
    PansScores,
    PerImageScores,
)

PROTOCOLS = pytest.mark.parametrize("protocol", [CaosScores, PansScores])
Protocol = type[CaosScores | PansScores]
Pixels = list[tuple[float, int]]

a_score = st.one_of(st.integers(0, 6).map(float), st.floats(-1, 1, width=32))
pixels = st.lists(st.tuples(a_score, st.sampled_from([0, 1, 1, 255])), min_size=1, max_size=45)


def frame_of(pixels: Pixels) -> FrameResult:
    """The pixels as an image of one row."""
    score, label = zip(*pixels, strict=True)
    return FrameResult(np.array([score], np.float32), np.array([label], np.uint8))


def filled(protocol: Protocol, frames: list[Pixels]) -> CaosScores | PansScores:
    accumulator = protocol()
    for pixels in frames:
        accumulator.update(frame_of(pixels))
    return accumulator


def assert_same(found: PerImageScores, expected: PerImageScores) -> None:
    for entry in fields(expected):
        np.testing.assert_array_equal(getattr(found, entry.name), getattr(expected, entry.name))


def nearest_fpr95(positives: list[float], negatives: list[float]) -> float:
    """FPR at the recall nearest to 0.95, read from full recall down to nothing."""
    points = []
    for threshold in sorted({*positives, *negatives}, reverse=True):
        recall = sum(s >= threshold for s in positives) / len(positives)
        points.append((recall, sum(s >= threshold for s in negatives) / len(negatives)))
        if recall == 1:
            break
    points = [*reversed(points), (0.0, 0.0)]
    return min(points, key=lambda point: abs(point[0] - 0.95))[1]


@PROTOCOLS
@settings(max_examples=120, deadline=None)
@given(pixels=pixels)
def test_the_scores_of_an_image_are_the_definition(protocol: Protocol, pixels: Pixels) -> None:
    void = 0 if protocol is CaosScores else 1
    clear = [(s, void if label == 255 else label) for s, label in pixels]
    positives = [s for s, label in clear if label == 1]
    negatives = [s for s, label in clear if label == 0]
    metric = filled(protocol, [pixels, [(1.0, 1), (0.0, 0)]])
    scores = metric.compute()
    if not positives or not negatives:
        assert scores.skipped == 1
        assert np.isnan([scores.aps[0], scores.aurocs[0], scores.fpr95s[0]]).all()
        return
    exact = ExactScores()
    exact.update(frame_of(clear))
    assert scores.aps[0] == exact.compute().ap
    assert scores.aurocs[0] == exact.compute().auroc
    assert scores.fpr95s[0] == pytest.approx(nearest_fpr95(positives, negatives), abs=1e-12)


def test_the_nearest_recall_may_lie_below_95_percent() -> None:
    """19 of 20 are found before any false alarm, the 20th after all of them."""
    image: Pixels = [(9.0, 1)] * 19 + [(1.0, 1)] + [(5.0, 0), (4.0, 0), (0.0, 0), (0.0, 0)]
    scores = filled(CaosScores, [image]).compute()
    assert scores.fpr95 == 0.5  # of the thresholds with recall 0.95 the lowest: 4.0
    pooled = ExactScores()
    pooled.update(frame_of(image))
    assert pooled.compute().fpr95 == 0  # and the highest


def test_of_two_recalls_equally_near_the_higher_one_counts() -> None:
    image: Pixels = [(9.0, 1)] * 94 + [(8.0, 0)] + [(7.0, 1)] * 2 + [(6.0, 0)] + [(5.0, 1)] * 4
    assert 96 / 100 - 0.95 == 0.95 - 94 / 100  # in float64 too
    scores = filled(CaosScores, [image]).compute()
    assert scores.fpr95 == 1


def test_full_recall_is_taken_at_its_first_threshold() -> None:
    scores = filled(CaosScores, [[(9.0, 1), (5.0, 0), (4.0, 0)]]).compute()
    assert scores.fpr95 == 0


def test_void_is_known_in_one_protocol_and_anomalous_in_the_other() -> None:
    image: Pixels = [(0.9, 1), (0.5, 255), (0.1, 0), (0.7, 0)]
    assert filled(CaosScores, [image]).compute().auroc == 1
    assert filled(PansScores, [image]).compute().auroc == 3 / 4


def test_images_of_one_kind_are_skipped_and_counted() -> None:
    good: Pixels = [(0.9, 1), (0.1, 0)]
    bad: Pixels = [(0.1, 1), (0.9, 0)]
    only_known: Pixels = [(0.9, 0), (0.1, 0)]
    scores = filled(CaosScores, [good, only_known, bad]).compute()
    assert (scores.images, scores.skipped) == (2, 1)
    assert (scores.ap, scores.auroc, scores.fpr95) == (0.75, 0.5, 0.5)
    np.testing.assert_array_equal(scores.aurocs, [1, np.nan, 0])
    np.testing.assert_array_equal(scores.aps, [1, np.nan, 0.5])
    np.testing.assert_array_equal(scores.fpr95s, [0, np.nan, 1])


@PROTOCOLS
@settings(max_examples=25, deadline=None)
@given(frames=st.lists(pixels, min_size=1, max_size=4), split=st.integers(0, 4))
def test_merged_workers_equal_a_single_pass(
    protocol: Protocol, frames: list[Pixels], split: int
) -> None:
    frames = [*frames, [(1.0, 1), (0.0, 0)]]
    merged = filled(protocol, frames[:split])
    merged.merge(pickle.loads(pickle.dumps(filled(protocol, frames[split:]))))
    assert_same(merged.compute(), filled(protocol, frames).compute())


# --- wrong input -----------------------------------------------------------------------------


@PROTOCOLS
@pytest.mark.parametrize("label", [0, 1])
def test_images_of_one_kind_alone_are_not_enough(protocol: Protocol, label: int) -> None:
    with pytest.raises(MetricError, match="found none among 0"):
        protocol().compute()
    with pytest.raises(MetricError, match="found none among 2: check the labels"):
        filled(protocol, [[(0.5, label)], [(0.2, label)]]).compute()


@PROTOCOLS
def test_nan_is_refused_at_void_pixels_too(protocol: Protocol) -> None:
    accumulator = protocol()
    with pytest.raises(MetricError, match="NaN at 1 pixels"):
        accumulator.update(frame_of([(float("nan"), 255), (0.5, 0), (0.6, 1)]))
    assert accumulator.images == []


@PROTOCOLS
def test_other_label_values_are_refused(protocol: Protocol) -> None:
    with pytest.raises(MetricError, match=r"values \[13\]; expected 0 known, 1 anomaly"):
        protocol().update(frame_of([(0.5, 13), (0.5, 0)]))
