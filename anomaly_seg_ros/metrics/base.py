"""What a metric sees of one frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.errors import MetricError

KNOWN, ANOMALY, VOID = 0, 1, 255  # values of an anomaly label


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame's score and ground truth; class maps where segmentation is measured too.

    score: float32 [H, W], higher is more anomalous. label: uint8 [H, W], 0 known, 1 anomaly, 255
    void (left out). predicted, truth: uint8 [H, W] class ids, 255 where nothing is predicted or
    labelled. Raises MetricError when shapes or dtypes differ from that.
    """

    score: np.ndarray
    label: np.ndarray
    predicted: np.ndarray | None = None
    truth: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, array, dtype in (
            ("score", self.score, np.float32),
            ("label", self.label, np.uint8),
            ("predicted", self.predicted, np.uint8),
            ("truth", self.truth, np.uint8),
        ):
            if array is None:
                continue
            if array.ndim != 2 or array.dtype != dtype or array.shape != self.score.shape:
                raise MetricError(
                    f"{name} is {array.dtype} {list(array.shape)}; expected {np.dtype(dtype)} "
                    f"[H, W] with the shape of the score, {list(self.score.shape)}"
                )


def check_label(label: np.ndarray) -> bool:
    """Whether uint8 [H, W] has void pixels; MetricError for values other than 0, 1 and 255."""
    if label.size == 0:
        return False
    counts = cv2.calcHist([label], [0], None, [256], [0, 256]).ravel()
    has_void = bool(counts[VOID])
    counts[[KNOWN, ANOMALY, VOID]] = 0
    if counts.any():
        raise MetricError(
            f"an anomaly label holds the values {np.flatnonzero(counts).tolist()}; expected "
            f"{KNOWN} known, {ANOMALY} anomaly or {VOID} void only"
        )
    return has_void
