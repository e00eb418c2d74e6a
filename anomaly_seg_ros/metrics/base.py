"""What a metric sees of one frame."""

from __future__ import annotations

from dataclasses import dataclass

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
    shifted = label + np.uint8(1)  # 255 wraps to 0, so that the three values are the lowest
    if shifted.max() > ANOMALY + 1:
        odd = np.setdiff1d(label, [KNOWN, ANOMALY, VOID])
        raise MetricError(
            f"an anomaly label holds the values {odd.tolist()}; expected "
            f"{KNOWN} known, {ANOMALY} anomaly or {VOID} void only"
        )
    return bool(label.max() == VOID)


def split_scores(score: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores of the known and of the anomalous pixels: float32 [n] and float32 [m].

    score: float32 [H, W]. label: uint8 [H, W], 0 known, 1 anomaly, 255 void (left out). The results
    may be views. Raises MetricError for other label values, and for NaN at a pixel not void.
    """
    has_void = check_label(label)
    anomalous = score[label == ANOMALY]
    known = score[label == KNOWN] if has_void or anomalous.size else score.ravel()
    # A minimum is NaN where any element is.
    if np.isnan(known.min(initial=0)) or np.isnan(anomalous.min(initial=0)):
        bad = int(np.isnan(known).sum() + np.isnan(anomalous).sum())
        raise MetricError(
            f"the score is NaN at {bad} pixels that are not void; expected a number at each: fill "
            "what the network did not look at, or label it void"
        )
    return known, anomalous


def check_counts(positives: int, negatives: int) -> None:
    """MetricError unless there are positives and negatives to compare."""
    if positives == 0 or negatives == 0:
        raise MetricError(
            f"pixel metrics need anomalous and known pixels; found {positives} anomalous and "
            f"{negatives} known ones in all frames: check the labels (0 known, 1 anomaly)"
        )
