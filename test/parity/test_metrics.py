"""Metrics against the numbers of the official benchmark code, read from golden vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from golden import vectors

from anomaly_seg_ros.metrics import (
    ANOMALY_TRACK,
    OBSTACLE_TRACK,
    CaosScores,
    ComponentLimits,
    Components,
    ComponentScores,
    ConfusionMatrix,
    ExactScores,
    FrameResult,
    PansScores,
    ScoreHistogram,
    SmiycPixel,
    SmiycPixelUniform,
)

TOLERANCE = 1e-9
ANOMALY_CLASS = 13  # StreetHazards


def fill(metric: Any, scores: np.ndarray, labels: np.ndarray) -> Any:
    for score, label in zip(scores, labels, strict=True):
        metric.update(FrameResult(score.astype(np.float32), label.astype(np.uint8)))
    return metric


def assert_all_agree(
    golden: Mapping[str, np.ndarray],
    found: Mapping[str, Any],
    prefix: str = "",
    tolerance: float = TOLERANCE,
) -> None:
    """Each key with the prefix, but for the inputs, is found, with its shape and its values."""
    inputs = {"scores", "labels", "confidence", "predictions", "pans_labels"}
    assert {key for key in golden if key.startswith(prefix)} - inputs == {
        prefix + name for name in found
    }
    for name, value in found.items():
        expected = golden[prefix + name]
        assert np.shape(value) == expected.shape, name
        np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance, err_msg=name)


# --- Fishyscapes -----------------------------------------------------------------------------


def test_fishyscapes_pools_all_pixels_exactly() -> None:
    golden = vectors("metrics", "metrics_fishyscapes")

    metric = fill(ExactScores(), golden["scores"], golden["labels"])

    exact, curve = metric.compute(), metric.curve()
    # The file holds the first point that reaches each of these recalls.
    at = np.searchsorted(curve.recall, np.linspace(0, 1, golden["curve_recall"].size))
    found = {
        "AP": exact.ap,
        "AUROC": exact.auroc,
        "FPR95": exact.fpr95,
        "curve_recall": curve.recall[at],
        "curve_precision": curve.precision[at],
    }
    assert_all_agree(golden, found)


def test_a_histogram_is_as_near_to_fishyscapes_as_it_states() -> None:
    golden = vectors("metrics", "metrics_fishyscapes")

    near = fill(ScoreHistogram(), golden["scores"], golden["labels"]).compute()

    assert abs(near.ap - golden["AP"]) <= near.ap_error < 0.01
    assert abs(near.auroc - golden["AUROC"]) <= near.auroc_error < 0.001
    assert abs(near.fpr95 - golden["FPR95"]) <= near.fpr95_error < 0.02  # one image has real ties


# --- SegmentMeIfYouCan, pixels ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "metric"),
    [
        ("percentiles_f32_", SmiycPixel),
        ("percentiles_f16_", partial(SmiycPixel, half=True)),
        ("uniform_f32_", SmiycPixelUniform),
    ],
)
def test_smiyc_pixel_metrics_agree(
    prefix: str, metric: Callable[[], SmiycPixel | SmiycPixelUniform]
) -> None:
    golden = vectors("metrics", "metrics_smiyc_pixel")

    scores = fill(metric(), golden["scores"], golden["labels"]).compute()

    found = {
        "area_PRC": scores.ap,
        "area_ROC": scores.auroc,
        "tpr95_fpr": scores.fpr95,
        "tpr95_threshold": scores.tpr95_threshold,
        "recall50_threshold": scores.recall50_threshold,
        "best_f1": scores.best_f1,
        "best_f1_threshold": scores.best_f1_threshold,
    }
    if prefix + "thresholds" in golden:
        found |= {
            "thresholds": scores.curve.thresholds,
            "curve_recall": scores.curve.recall,
            "curve_tpr": scores.curve.recall,
            "curve_fpr": scores.curve.fpr,
            "curve_precision": scores.curve.precision,
        }
    assert_all_agree(golden, found, prefix)


def test_the_exact_values_beside_the_smiyc_ones_agree() -> None:
    golden = vectors("metrics", "metrics_smiyc_pixel")

    exact = fill(ExactScores(), golden["scores"], golden["labels"]).compute()

    assert_all_agree(golden, {"AP": exact.ap, "AUROC": exact.auroc}, "exact_pooled_")


# --- SegmentMeIfYouCan, components -----------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "prefix"),
    [
        *(("components", name) for name in ("anomaly_", "obstacle_", "nolimit_")),
        ("components", "obstacle_thr05_"),
        *(("tiny", name) for name in ("a_", "b_", "c_", "d_")),
    ],
)
def test_smiyc_component_metrics_agree(file: str, prefix: str) -> None:
    golden = vectors("metrics", "metrics_smiyc_" + file)
    own = {key for key in golden if key.startswith(prefix)}
    if prefix == "obstacle_":
        own -= {key for key in golden if key.startswith("obstacle_thr05_")}
    case = {key: golden[key] for key in own}
    threshold = float(case[prefix + "threshold"])
    limits = ComponentLimits(int(case[prefix + "min_pred_size"]), int(case[prefix + "min_gt_size"]))

    scores = fill(Components(threshold, limits), golden["scores"], golden["labels"]).compute()

    assert_all_agree(case, official_names(scores, threshold, limits), prefix)


def official_names(
    scores: ComponentScores, threshold: float, limits: ComponentLimits
) -> dict[str, Any]:
    at = {f"f1_{percent}": scores.f1_at[place] for percent, place in ((25, 0), (50, 5), (75, 10))}
    return at | {
        "threshold": threshold,
        "min_pred_size": limits.min_predicted,
        "min_gt_size": limits.min_truth,
        "sIoU_gt": scores.components.siou,
        "sIoU_pred": scores.components.predicted_siou,
        "prec_pred": scores.components.ppv,
        "size_gt": scores.components.size,
        "size_pred": scores.components.predicted_size,
        "n_gt_per_frame": scores.truth_per_frame,
        "n_pred_per_frame": scores.predicted_per_frame,
        "tau": scores.taus,
        "tp": scores.tp,
        "fn": scores.fn,
        "fp": scores.fp,
        "f1": scores.f1_at,
        "tp_mean": scores.tp.mean(),
        "fn_mean": scores.fn.mean(),
        "fp_mean": scores.fp.mean(),
        "mean_sIoU_gt": scores.siou,
        "mean_sIoU_pred": scores.predicted_siou,
        "mean_prec_pred": scores.ppv,
        "f1_mean": scores.f1,
    }


def test_the_threshold_of_the_component_metrics_is_that_of_the_best_pixel_f1() -> None:
    golden = vectors("metrics", "metrics_smiyc_components")

    best = fill(SmiycPixel(), golden["scores"], golden["labels"]).compute().best_f1_threshold

    for prefix in ("anomaly_", "obstacle_", "nolimit_"):
        assert best == golden[prefix + "threshold"]


@pytest.mark.parametrize(
    ("prefix", "limits"), [("anomaly_", ANOMALY_TRACK), ("obstacle_", OBSTACLE_TRACK)]
)
def test_the_named_limits_are_those_of_the_benchmark(prefix: str, limits: ComponentLimits) -> None:
    golden = vectors("metrics", "metrics_smiyc_components")

    assert limits.min_predicted == golden[prefix + "min_pred_size"]
    assert limits.min_truth == golden[prefix + "min_gt_size"]


# --- CAOS and PAnS ---------------------------------------------------------------------------


def test_caos_agrees_image_by_image() -> None:
    golden = vectors("metrics", "metrics_caos_pans")
    labels = np.where(golden["labels"] < 0, 255, golden["labels"] == ANOMALY_CLASS)

    scores = fill(CaosScores(), -golden["confidence"], labels).compute()

    found = {
        "auroc": scores.aurocs,
        "aupr": scores.aps,
        "fpr95": scores.fpr95s,
        "mean_auroc": scores.auroc,
        "mean_aupr": scores.ap,
        "mean_fpr95": scores.fpr95,
    }
    assert_all_agree(golden, found, "caos_")
    assert scores.skipped == np.isnan(golden["caos_auroc"]).sum()


def test_pans_agrees() -> None:
    golden = vectors("metrics", "metrics_caos_pans")
    labels = golden["pans_labels"]
    anomaly = np.where(labels == 255, 255, labels >= ANOMALY_CLASS)

    scores = fill(PansScores(), 1 - golden["confidence"], anomaly).compute()

    found = {
        "AUROC": 100 * scores.auroc,
        "AUPR": 100 * scores.ap,
        "FPR95": 100 * scores.fpr95,
        "n_images": scores.images,
    }
    assert_all_agree({key: golden[key] for key in golden if key[5:] in found}, found, "pans_")


def test_pans_segmentation_metrics_agree() -> None:
    golden = vectors("metrics", "metrics_caos_pans")
    classes = golden["pans_class_iou"].size
    matrix = ConfusionMatrix(classes)

    for predicted, labels in zip(golden["predictions"], golden["pans_labels"], strict=True):
        truth = np.where(labels < classes, labels, 255).astype(np.uint8)
        empty = np.zeros(labels.shape, np.uint8)
        matrix.update(FrameResult(empty.astype(np.float32), empty, predicted, truth))

    scores = matrix.compute()
    found = {
        "confusion": matrix.counts[:, :-1],
        "overall_acc": scores.accuracy,
        # There, a class without pixels has 0.
        "class_acc": np.nan_to_num(scores.class_accuracy),
        "mean_acc": scores.mean_accuracy,
        "class_iou": np.nan_to_num(scores.iou),
        "mean_iou": scores.miou,
        "freqw_acc": scores.frequency_weighted_iou,
    }
    segmentation = {key: golden[key] for key in golden if key[5:] in found}
    # The official code adds 1e-6 to denominators of pixels.
    assert_all_agree(segmentation, found, "pans_", tolerance=1e-6)


def test_no_number_of_the_caos_and_pans_file_is_left_out() -> None:
    golden = vectors("metrics", "metrics_caos_pans")

    assert {key for key in golden if not key.startswith("caos_")} == {
        *("labels", "confidence", "predictions", "pans_labels"),
        *("pans_AUROC", "pans_AUPR", "pans_FPR95", "pans_n_images", "pans_confusion"),
        *("pans_overall_acc", "pans_class_acc", "pans_mean_acc"),
        *("pans_class_iou", "pans_mean_iou", "pans_freqw_acc"),
    }
