"""Predicted against real IoU of images."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.iou_prediction import IouPrediction, image_segmentation, real_iou

NAN = float("nan")


def test_real_iou_leaves_out_void_and_classes_absent_from_the_truth() -> None:
    truth = np.array([[0, 0, 0, 1, 255, 255]], np.uint8)
    predicted = np.array([[0, 0, 1, 1, 1, 2]], np.uint8)
    np.testing.assert_allclose(real_iou(predicted, truth, 4), [2 / 3, 1 / 2, NAN, NAN])
    figures = image_segmentation(predicted, truth, 4)
    assert figures.accuracy == 3 / 4
    assert figures.fw_iou == pytest.approx((3 * 2 / 3 + 1 / 2) / 4)
    np.testing.assert_array_equal(figures.pixels, [3, 1, 0, 0])


def test_a_pixel_without_a_prediction_is_wrong() -> None:
    truth, predicted = np.array([[0, 0]], np.uint8), np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(real_iou(predicted, truth, 1), [1 / 2])


def test_figures_of_hand_worked_images() -> None:
    metric = IouPrediction(3)
    for predicted, real in (
        ([0.5, 0.2, 0.1], [0.7, NAN, NAN]),
        ([0.6, 0.4, 0.9], [0.6, 0.4, NAN]),
        ([0.9, 0.4, 0.3], [0.8, 0.2, NAN]),
    ):
        metric.update(np.array(predicted), np.array(real))
    scores = metric.compute()
    np.testing.assert_allclose(scores.mae, [0.1, 0.1, NAN])
    np.testing.assert_allclose(scores.std, [float(np.std([0.2, 0, 0.1])), 0.1, NAN])
    np.testing.assert_allclose(scores.spearman, [0.5, NAN, NAN])  # ranks 1 2 3 against 2 1 3
    assert scores.pearson[0] == pytest.approx(np.corrcoef([0.5, 0.6, 0.9], [0.7, 0.6, 0.8])[0, 1])
    assert scores.mean_mae == pytest.approx(0.1)
    assert scores.mean_spearman == pytest.approx(0.5)
    assert scores.images == 3


def test_equal_values_share_their_mean_rank() -> None:
    metric = IouPrediction(1)
    predicted, real = [0.1, 0.2, 0.2, 0.4], [0.3, 0.3, 0.5, 0.6]
    for pair in zip(predicted, real, strict=True):
        metric.update(*(np.array([value]) for value in pair))
    ranks = np.corrcoef([1, 2.5, 2.5, 4], [1.5, 1.5, 3, 4])[0, 1]
    assert metric.compute().mean_spearman == pytest.approx(ranks)


def test_merged_workers_equal_a_single_pass() -> None:
    random = np.random.default_rng(0)
    single, first, second = IouPrediction(4), IouPrediction(4), IouPrediction(4)
    for number in range(9):
        pair = random.random(4), np.where(random.random(4) < 0.3, np.nan, random.random(4))
        single.update(*pair)
        (first if number < 4 else second).update(*pair)
    first.merge(pickle.loads(pickle.dumps(second)))
    np.testing.assert_array_equal(first.compute().pearson, single.compute().pearson)
    assert first.compute().mean_std == single.compute().mean_std


def test_odd_input_is_refused() -> None:
    metric = IouPrediction(2)
    with pytest.raises(MetricError, match="found none"):
        metric.compute()
    with pytest.raises(MetricError, match=r"expected \[2\] both"):
        metric.update(np.zeros(3), np.zeros(2))
    with pytest.raises(MetricError, match="not finite"):
        metric.update(np.array([NAN, 1]), np.zeros(2))
    with pytest.raises(MetricError, match="2 and 3 classes"):
        metric.merge(IouPrediction(3))
    image = np.zeros((2, 2), np.uint8)
    with pytest.raises(MetricError, match="up to 5; expected 0 to 1"):
        real_iou(image, image + np.uint8(5), 2)
    with pytest.raises(MetricError, match="only void"):
        real_iou(image, image + np.uint8(255), 2)
    with pytest.raises(MetricError, match="expected uint8 of one shape"):
        real_iou(image.astype(int), image, 2)
