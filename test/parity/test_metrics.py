"""Metrics against the numbers of the official benchmark code, read from golden vectors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from anomaly_seg_ros.metrics import ConfusionMatrix, ExactScores, FrameResult, ScoreHistogram

DEFAULT_ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "parity"
ROOT = Path(os.environ.get("ANOMALY_SEG_PARITY") or DEFAULT_ROOT)


def vectors(prefix: str) -> Mapping[str, np.ndarray]:
    folder = ROOT / "metrics" / "vectors"
    if not folder.is_dir():
        pytest.skip("no golden vectors: set ANOMALY_SEG_PARITY to their root folder")
    [file] = sorted(folder.glob(prefix + "*.npz"))
    return np.load(file)


def fill(
    metric: ExactScores | ScoreHistogram, scores: np.ndarray, labels: np.ndarray
) -> ExactScores | ScoreHistogram:
    for score, label in zip(scores, labels, strict=True):
        metric.update(FrameResult(score.astype(np.float32), label.astype(np.uint8)))
    return metric


def test_fishyscapes_pools_all_pixels_exactly() -> None:
    golden = vectors("metrics_fishyscapes")
    exact = fill(ExactScores(), golden["scores"], golden["labels"]).compute()
    assert exact.ap == pytest.approx(float(golden["AP"]), abs=1e-9)
    assert exact.auroc == pytest.approx(float(golden["AUROC"]), abs=1e-9)
    assert exact.fpr95 == pytest.approx(float(golden["FPR95"]), abs=1e-9)
    near = fill(ScoreHistogram(), golden["scores"], golden["labels"]).compute()
    assert abs(near.ap - exact.ap) <= near.ap_error < 0.01
    assert abs(near.auroc - exact.auroc) <= near.auroc_error < 0.001
    assert abs(near.fpr95 - exact.fpr95) <= near.fpr95_error < 0.02  # one image has real ties


def test_segment_me_if_you_can_agrees_where_it_states_exact_values() -> None:
    golden = vectors("metrics_smiyc_pixel")
    exact = fill(ExactScores(), golden["scores"], golden["labels"]).compute()
    assert exact.ap == pytest.approx(float(golden["exact_pooled_AP"]), abs=1e-9)
    assert exact.auroc == pytest.approx(float(golden["exact_pooled_AUROC"]), abs=1e-9)


def test_caos_agrees_image_by_image() -> None:
    """There, void pixels count as known; FPR95 is another one (nearest recall) and not compared."""
    golden = vectors("metrics_caos_pans")
    for number, confidence in enumerate(golden["confidence"]):
        label = golden["labels"][number] == 13
        if np.isnan(golden["caos_auroc"][number]):
            assert not label.any()
            continue
        scores = fill(ExactScores(), -confidence[None], label[None]).compute()
        assert scores.auroc == pytest.approx(float(golden["caos_auroc"][number]), abs=1e-9)
        assert scores.ap == pytest.approx(float(golden["caos_aupr"][number]), abs=1e-9)


def test_pans_segmentation_scores_agree() -> None:
    golden = vectors("metrics_caos_pans")
    classes = len(golden["pans_class_iou"])
    matrix = ConfusionMatrix(classes)
    for predicted, labels in zip(golden["predictions"], golden["pans_labels"], strict=True):
        truth = np.where(labels < classes, labels, 255).astype(np.uint8)
        empty = np.zeros(labels.shape)
        matrix.update(
            FrameResult(empty.astype(np.float32), empty.astype(np.uint8), predicted, truth)
        )
    scores = matrix.compute()
    np.testing.assert_array_equal(matrix.counts[:, :-1], golden["pans_confusion"])
    # The official code adds 1e-6 to denominators.
    np.testing.assert_allclose(scores.iou, golden["pans_class_iou"], atol=1e-6)
    assert scores.miou == pytest.approx(float(golden["pans_mean_iou"]), abs=1e-6)
    assert scores.accuracy == pytest.approx(float(golden["pans_overall_acc"]), abs=1e-6)
