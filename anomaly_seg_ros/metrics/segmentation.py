"""Segmentation metrics over the pooled pixels of all frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import VOID, FrameResult


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """Fractions in 0..1.

    iou: float64 [classes], TP / (TP + FP + FN), NaN for a class neither labelled nor predicted.
    miou: mean IoU of the classes that are labelled anywhere. accuracy: share of the labelled pixels
    that are right. pixels: how many were labelled. class_accuracy: float64 [classes], TP /
    (TP + FN), NaN for a class not labelled; mean_accuracy: its mean over the others.
    frequency_weighted_iou: mean IoU weighted with how often a class is labelled.
    """

    miou: float
    iou: np.ndarray
    accuracy: float
    pixels: int
    class_accuracy: np.ndarray
    mean_accuracy: float
    frequency_weighted_iou: float


class ConfusionMatrix:
    """Counts of labelled against predicted classes.

    A pixel without a prediction (255: the network did not look) is a miss of its class and a false
    find of none; a pixel without a label (255) is left out.
    """

    def __init__(self, classes: int) -> None:
        if not 1 <= classes <= VOID:
            raise MetricError(f"{classes} classes; expected 1 to {VOID}")
        self.classes = classes
        self.counts = np.zeros((classes, classes + 1), np.int64)  # [truth, predicted or nothing]

    def update(self, frame: FrameResult) -> None:
        """Add a frame's `predicted` and `truth`. Raises MetricError when one is missing or odd."""
        if frame.predicted is None or frame.truth is None:
            raise MetricError("segmentation metrics need predicted and true classes of each frame")
        joint = frame.truth.astype(np.int32)
        joint *= 256
        joint += frame.predicted
        counts = np.bincount(joint.ravel(), minlength=65536).reshape(256, 256)
        self._refuse(counts[self.classes : VOID].sum(axis=1), "true")
        self._refuse(counts[: self.classes, self.classes : VOID].sum(axis=0), "predicted")
        self.counts[:, :-1] += counts[: self.classes, : self.classes]
        self.counts[:, -1] += counts[: self.classes, VOID]

    def merge(self, other: ConfusionMatrix) -> None:
        """Add what another worker counted. Raises MetricError when the classes differ in number."""
        if self.classes != other.classes:
            raise MetricError(f"cannot merge counts of {self.classes} and {other.classes} classes")
        self.counts += other.counts

    def compute(self) -> SegmentationScores:
        """Raises MetricError when no pixel was labelled."""
        labelled = self.counts.sum(axis=1)
        if not labelled.any():
            raise MetricError("segmentation metrics need labelled pixels; found only void ones")
        right = np.diag(self.counts)
        union = labelled + self.counts[:, :-1].sum(axis=0) - right
        iou = np.divide(right, union, out=np.full(self.classes, np.nan), where=union > 0)
        seen = labelled > 0
        accuracy = np.divide(right, labelled, out=np.full(self.classes, np.nan), where=seen)
        return SegmentationScores(
            miou=float(iou[seen].mean()),
            iou=iou,
            accuracy=float(right.sum() / labelled.sum()),
            pixels=int(labelled.sum()),
            class_accuracy=accuracy,
            mean_accuracy=float(accuracy[seen].mean()),
            frequency_weighted_iou=float((labelled * iou)[seen].sum() / labelled.sum()),
        )

    def _refuse(self, odd: np.ndarray, kind: str) -> None:
        if odd.any():
            values = (np.flatnonzero(odd) + self.classes).tolist()
            raise MetricError(
                f"{kind} classes hold the ids {values}; expected 0 to {self.classes - 1}, or {VOID}"
            )
