"""ObsNet against the numbers of the official code, read from golden vectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from golden import vectors

from anomaly_seg_ros.metrics import FrameResult
from anomaly_seg_ros.metrics.calibration import AdaptiveBins, ExactCalibration, ReliabilityBins
from anomaly_seg_ros.metrics.failures import ErrorDetectionHistogram, ExactErrorDetection


def frame_of(golden: Mapping[str, np.ndarray]) -> FrameResult:
    """The rows as an image of one row."""
    uncertainty = golden["uncertainty"].astype(np.float32)[None]
    assert not (golden["label"] == 255).any()  # no row is left out
    empty = np.zeros(uncertainty.shape, np.uint8)
    return FrameResult(uncertainty, empty, golden["pred"][None], golden["label"][None])


def test_error_detection_agrees() -> None:
    golden = vectors("obsnet", "metrics")
    metric = ExactErrorDetection()
    metric.update(frame_of(golden))
    scores = metric.compute()
    # Equal uncertainties stand in another order there.
    assert scores.aupr_success == pytest.approx(float(golden["aupr_success"]), abs=1e-6)
    assert scores.aupr_error == pytest.approx(float(golden["aupr_error"]), abs=1e-4)
    assert scores.auroc == pytest.approx(float(golden["auroc"]), abs=1e-6)
    assert scores.fpr95 == pytest.approx(float(golden["fpr_at_95tpr"]), abs=1e-6)
    assert scores.accuracy == np.mean(golden["pred"] == golden["label"])


def test_the_histogram_of_error_detection_agrees_within_its_stated_errors() -> None:
    golden = vectors("obsnet", "metrics")
    metric = ErrorDetectionHistogram()
    metric.update(frame_of(golden))
    scores = metric.compute()
    success, error, auroc, fpr95 = (
        float(golden[name]) for name in ("aupr_success", "aupr_error", "auroc", "fpr_at_95tpr")
    )
    assert abs(scores.aupr_success - success) <= scores.aupr_success_within + 1e-6 < 1e-4
    assert abs(scores.aupr_error - error) <= scores.aupr_error_within + 1e-4 < 1e-3
    assert abs(scores.auroc - auroc) <= scores.auroc_within + 1e-6 < 1e-3
    assert abs(scores.fpr95 - fpr95) <= scores.fpr95_within + 1e-6


def test_calibration_errors_agree() -> None:
    golden = vectors("obsnet", "metrics")
    exact, binned = ExactCalibration(), AdaptiveBins()
    exact.update(frame_of(golden))
    binned.update(frame_of(golden))
    assert exact.compute().ece == pytest.approx(float(golden["ece"]), abs=1e-6)
    assert exact.compute().ace == pytest.approx(float(golden["ace"]), abs=1e-6)
    near = binned.compute()
    assert abs(near.ace - float(golden["ace"])) <= near.ace_within + 1e-6 < 0.005


def test_the_reliability_diagram_agrees_bin_by_bin() -> None:
    golden = vectors("obsnet", "metrics")
    metric = ReliabilityBins(
        bins=golden["ece_acc"].size, highest=float(golden["uncertainty"].max())
    )
    metric.update(frame_of(golden))
    diagram = metric.compute()
    np.testing.assert_allclose(diagram.accuracy, golden["ece_acc"], atol=1e-6)
    np.testing.assert_allclose(diagram.confidence, golden["ece_conf"], atol=1e-6)
