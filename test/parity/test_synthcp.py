"""SynthCP against the numbers of the official code, read from golden vectors."""

from __future__ import annotations

import numpy as np
import pytest
from golden import vectors

from anomaly_seg_ros.metrics import CaosScores, ConfusionMatrix, FrameResult
from anomaly_seg_ros.metrics.failures import (
    ExactFailureDetection,
    FailureDetection,
    confidnet_fpr95,
)
from anomaly_seg_ros.metrics.iou_prediction import IouPrediction, image_segmentation, real_iou
from anomaly_seg_ros.metrics.outcomes import outcomes

IGNORED = 19  # value of a label without a class
ANOMALY_ID = 13  # StreetHazards


def frame_of(confidence: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> FrameResult:
    """Arrays [n] or [H, W]; 19 is void."""
    shape = (-1, truth.shape[-1])
    truth = np.where(truth == IGNORED, 255, truth).astype(np.uint8).reshape(shape)
    score = -confidence.astype(np.float32).reshape(shape)
    empty = np.zeros(truth.shape, np.uint8)
    return FrameResult(score, empty, predicted.astype(np.uint8).reshape(shape), truth)


# --- metrics -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confidence", "figures"),
    [("conf", "failure_auroc_aupr_fpr95"), ("conf_ties", "failure_auroc_aupr_fpr95_ties")],
)
def test_failure_detection_of_one_image_agrees(confidence: str, figures: str) -> None:
    golden = vectors("synthcp", "metrics_losses")
    auroc, aupr, fpr95 = golden[figures]
    exact, near = ExactFailureDetection(), FailureDetection()
    for metric in (exact, near):
        metric.update(frame_of(golden[confidence], golden["pred"], golden["gt"]))
    found, binned = exact.compute(), near.compute()
    assert found.auroc == pytest.approx(auroc, abs=1e-9)
    assert found.aupr_error == pytest.approx(aupr, abs=1e-9)
    assert found.fpr95 == pytest.approx(fpr95, abs=1e-9)
    assert binned.fpr95 == found.fpr95
    assert abs(binned.auroc - auroc) <= binned.auroc_within + 1e-9
    assert abs(binned.aupr_error - aupr) <= binned.aupr_error_within + 1e-9


def test_pooled_failure_detection_agrees() -> None:
    golden = vectors("synthcp", "metrics_losses")
    auroc, success, error, miou, fpr95 = golden["pooled_auc_apsucc_aperr_miou_fpr95"]
    exact, near, classes = ExactFailureDetection(), FailureDetection(), ConfusionMatrix(IGNORED)
    for part in np.array_split(np.arange(golden["gt"].size), 7):
        image = frame_of(*(golden[name][part] for name in ("conf", "pred", "gt")))
        for metric in (exact, near, classes):
            metric.update(image)
    found, binned = exact.compute(), near.compute()
    assert found.auroc == pytest.approx(auroc, abs=1e-9)
    assert found.aupr_success == pytest.approx(success, abs=1e-9)
    assert found.aupr_error == pytest.approx(error, abs=1e-9)
    assert abs(binned.aupr_success - success) <= binned.aupr_success_within + 1e-9
    assert abs(binned.aupr_error - error) <= binned.aupr_error_within + 1e-9
    assert classes.compute().miou == pytest.approx(miou, abs=1e-6)
    labelled = outcomes(frame_of(golden["conf"], golden["pred"], golden["gt"]))
    assert confidnet_fpr95(labelled.uncertainty, labelled.right) == pytest.approx(fpr95, abs=1e-9)


def test_iou_prediction_agrees() -> None:
    golden = vectors("synthcp", "metrics_losses")
    metric = IouPrediction(golden["real_iou"].shape[1])
    for predicted, real in zip(golden["pred_iou"], golden["real_iou"], strict=True):
        metric.update(predicted, real)
    found = metric.compute()
    np.testing.assert_allclose(
        [found.mean_pearson, found.mean_spearman, found.mean_mae, found.mean_std],
        golden["mean_pc_sc_mae_std"],
        atol=1e-9,
    )


def test_figures_of_one_image_agree() -> None:
    golden = vectors("synthcp", "metrics_losses")
    frame = frame_of(golden["conf"], golden["pred"], golden["gt"])
    assert frame.predicted is not None and frame.truth is not None
    found = image_segmentation(frame.predicted, frame.truth, golden["image_iou_percent"].size)
    np.testing.assert_allclose(100 * found.iou, golden["image_iou_percent"], atol=1e-6)
    np.testing.assert_array_equal(found.pixels, golden["image_pixels"])
    assert 100 * found.fw_iou == pytest.approx(float(golden["image_fw_iou"]), abs=1e-6)
    assert 100 * found.accuracy == pytest.approx(float(golden["image_accuracy"]), abs=1e-6)


@pytest.mark.parametrize(
    ("confidence", "figures"),
    [("confidence", "failure_auroc_aupr_fpr95"), ("msp", "failure_msp_auroc_aupr_fpr95")],
)
def test_failure_detection_of_the_cityscapes_pipeline_agrees(confidence: str, figures: str) -> None:
    golden = vectors("synthcp", "cityscapes_pipeline")
    metric = ExactFailureDetection()
    metric.update(frame_of(golden[confidence], golden["argmax"], golden["label_train"]))
    found = metric.compute()
    np.testing.assert_allclose(
        [found.auroc, found.aupr_error, found.fpr95], golden[figures], atol=1e-6
    )
    if confidence == "confidence":
        auroc, success, error, _ = golden["pooled_auc_apsucc_aperr_miou"]
        np.testing.assert_allclose(
            [found.auroc, found.aupr_success, found.aupr_error], [auroc, success, error], atol=1e-6
        )


def test_real_iou_of_the_cityscapes_pipeline_agrees() -> None:
    golden = vectors("synthcp", "cityscapes_pipeline")
    classes = golden["real_iou"].size
    frame = frame_of(golden["msp"], golden["argmax"], golden["label_train"])
    assert frame.predicted is not None and frame.truth is not None
    iou = real_iou(frame.predicted, frame.truth, classes)
    present = ~np.isnan(iou)
    np.testing.assert_allclose(100 * iou[present], golden["real_iou"][present], atol=1e-6)
    pixels = image_segmentation(frame.predicted, frame.truth, classes).pixels
    np.testing.assert_array_equal(pixels, golden["pixels_per_class"])


@pytest.mark.parametrize(
    ("confidence", "figures"),
    [("confidence", "metrics_auroc_aupr_fpr95"), ("msp", "metrics_msp")],
)
def test_streethazards_scores_agree(confidence: str, figures: str) -> None:
    """There, unlabelled pixels (-1) count as known."""
    golden = vectors("synthcp", "caos_pipeline")
    label = (golden["label_used"] == ANOMALY_ID).astype(np.uint8)
    metric = CaosScores()
    metric.update(FrameResult(-golden[confidence].astype(np.float32), label))
    found = metric.compute()
    np.testing.assert_allclose([found.auroc, found.ap, found.fpr95], golden[figures], atol=1e-9)
