"""SynBoost against the numbers of the official code, read from golden vectors."""

from __future__ import annotations

import numpy as np
import pytest
from golden import vectors

from anomaly_seg_ros.metrics import ExactScores, FrameResult


def test_the_pixel_metrics_agree() -> None:
    golden = vectors("synboost", "metrics")
    metric = ExactScores()

    metric.update(FrameResult(golden["scores"][None], golden["labels"][None]))

    scores, curve = metric.compute(), metric.curve()
    assert scores.ap == pytest.approx(float(golden["ap"]), abs=1e-9)
    assert scores.auroc == pytest.approx(float(golden["auroc"]), abs=1e-9)
    assert scores.fpr95 == pytest.approx(float(golden["fpr95"]), abs=1e-9)
    # The file holds the first point that reaches each of these recalls.
    at = np.searchsorted(curve.recall, np.linspace(0, 1, golden["curve_recall"].size))
    np.testing.assert_allclose(curve.recall[at], golden["curve_recall"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(curve.precision[at], golden["curve_precision"], rtol=0, atol=1e-9)
