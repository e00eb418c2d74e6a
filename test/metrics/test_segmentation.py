"""IoU and accuracy against a count pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import ConfusionMatrix, FrameResult

CLASSES = 4
ids = st.sampled_from([*range(CLASSES), 255])
frames = st.lists(st.tuples(ids, ids), min_size=1, max_size=40)  # (predicted, truth) per pixel


def frame_of(pixels: list[tuple[int, int]]) -> FrameResult:
    predicted, truth = np.array(pixels, np.uint8).T[:, None]
    empty = np.zeros(predicted.shape)
    return FrameResult(empty.astype(np.float32), empty.astype(np.uint8), predicted, truth)


@settings(max_examples=150, deadline=None)
@given(frames.filter(lambda pixels: any(truth != 255 for _, truth in pixels)))
def test_the_scores_are_the_definitions(pixels: list[tuple[int, int]]) -> None:
    matrix = ConfusionMatrix(CLASSES)
    matrix.update(frame_of(pixels))
    scores = matrix.compute()
    counted = [(p, t) for p, t in pixels if t != 255]
    ious = []
    for c in range(CLASSES):
        both = sum(p == c and t == c for p, t in counted)
        either = sum(p == c or t == c for p, t in counted)
        if either == 0:
            assert np.isnan(scores.iou[c])
            continue
        assert scores.iou[c] == pytest.approx(both / either)
        if any(t == c for _, t in counted):
            ious.append(both / either)
    assert scores.miou == pytest.approx(sum(ious) / len(ious))
    assert scores.accuracy == pytest.approx(sum(p == t for p, t in counted) / len(counted))
    assert scores.pixels == len(counted)


@settings(max_examples=50, deadline=None)
@given(st.lists(frames, min_size=2, max_size=4))
def test_merged_workers_equal_a_single_pass(parts: list[list[tuple[int, int]]]) -> None:
    single, merged = ConfusionMatrix(CLASSES), ConfusionMatrix(CLASSES)
    for pixels in parts:
        single.update(frame_of(pixels))
        worker = ConfusionMatrix(CLASSES)
        worker.update(frame_of(pixels))
        merged.merge(worker)
    np.testing.assert_array_equal(single.counts, merged.counts)


def test_a_pixel_without_prediction_is_a_miss_and_no_false_find() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(frame_of([(0, 0), (255, 0), (1, 1), (1, 1)]))
    scores = matrix.compute()
    np.testing.assert_array_equal(scores.iou, [0.5, 1.0])
    assert scores.accuracy == 0.75


def test_classes_are_averaged_alike_or_by_how_often_they_occur() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update(frame_of([(0, 0), (0, 0), (1, 0), (1, 1), (2, 255), (3, 0)]))
    scores = matrix.compute()
    np.testing.assert_array_equal(scores.class_accuracy, [0.5, 1.0, np.nan, np.nan])
    assert scores.mean_accuracy == 0.75
    assert scores.frequency_weighted_iou == pytest.approx(4 / 5 * 2 / 4 + 1 / 5 * 1 / 2)


def test_ids_beyond_the_classes_are_refused() -> None:
    with pytest.raises(MetricError, match=r"true classes hold the ids \[4, 9\]; expected 0 to 3"):
        ConfusionMatrix(4).update(frame_of([(0, 4), (0, 9), (0, 255)]))
    with pytest.raises(MetricError, match=r"predicted classes hold the ids \[254\]"):
        ConfusionMatrix(4).update(frame_of([(254, 0)]))
    ConfusionMatrix(4).update(frame_of([(254, 255)]))  # void pixels may hold anything


def test_what_cannot_be_counted_is_refused() -> None:
    zeros = np.zeros((1, 1))
    with pytest.raises(MetricError, match="need predicted and true classes"):
        ConfusionMatrix(4).update(FrameResult(zeros.astype(np.float32), zeros.astype(np.uint8)))
    with pytest.raises(MetricError, match="found only void"):
        ConfusionMatrix(4).compute()
    with pytest.raises(MetricError, match="4 and 5 classes"):
        ConfusionMatrix(4).merge(ConfusionMatrix(5))
    with pytest.raises(MetricError, match="expected 1 to 255"):
        ConfusionMatrix(0)
