"""Image resynthesis against the numbers of the official code, read from golden vectors."""

from __future__ import annotations

import numpy as np
import pytest
from golden import vectors

from anomaly_seg_ros.metrics import FrameResult, FrameRoc


@pytest.mark.parametrize("suffix", ["", "_roi"])
def test_the_roc_agrees(suffix: str) -> None:
    golden = vectors("image_resynthesis", "metrics")
    regions = golden["roi"] if suffix else np.ones_like(golden["roi"])
    roc = FrameRoc()

    for score, anomalous, region in zip(golden["scores"], golden["gt"], regions, strict=True):
        roc.update(FrameResult(score, np.where(region, anomalous, 255).astype(np.uint8)))

    scores = roc.compute()
    assert scores.auroc == pytest.approx(float(golden["auroc" + suffix]), abs=1e-9)
    np.testing.assert_allclose(scores.tp_rates, golden["tp_rates" + suffix], rtol=0, atol=1e-9)
    np.testing.assert_allclose(scores.fp_rates, golden["fp_rates" + suffix], rtol=0, atol=1e-9)


def test_the_matrices_are_shares_of_each_frame_summed() -> None:
    golden = vectors("image_resynthesis", "metrics")
    total = FrameRoc()

    for score, anomalous in zip(golden["scores"], golden["gt"], strict=True):
        worker = FrameRoc()
        worker.update(FrameResult(score, anomalous.astype(np.uint8)))
        total.merge(worker)

    expected = golden["cmat_sum_first8"]
    matrices = total.compute().matrices[: len(expected)]
    np.testing.assert_allclose(matrices, expected, rtol=0, atol=1e-9)
