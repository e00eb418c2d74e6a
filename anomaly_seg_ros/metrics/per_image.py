"""Protocols that score every image by itself and average over the images.

An image without positives or without negatives is skipped. FPR95 is read where the recall is
nearest to 0.95. The two differ in what a void pixel is; neither leaves it out, so that both need a
score at every pixel, and their numbers compare with no pooled ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import ANOMALY, KNOWN, FrameResult, check_label, split_scores
from anomaly_seg_ros.metrics.curve import ap_of, auroc_of, exact_steps, nearest_fpr95_of

_SKIPPED = (np.nan, np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class PerImageScores:
    """Means over the images that count, in 0..1, and the values of each: float64 [images + skipped]

    aps, aurocs and fpr95s are in the order of the frames, NaN for an image that was skipped.
    """

    ap: float
    auroc: float
    fpr95: float
    images: int
    skipped: int
    aps: np.ndarray
    aurocs: np.ndarray
    fpr95s: np.ndarray


class CaosScores:
    """StreetHazards and BDD-Anomaly (Hendrycks et al., ICML 2022): void counts as known.

    Keeps three numbers of each image.
    """

    def __init__(self) -> None:
        self.images: list[tuple[float, float, float]] = []  # AP, AUROC, FPR95

    def update(self, frame: FrameResult) -> None:
        """Add an image. Raises MetricError for NaN anywhere, void too, and odd labels."""
        check_label(frame.label)
        self.images.append(_image_scores(frame.score, frame.label == ANOMALY))

    def merge(self, other: CaosScores) -> None:
        """Append another worker's images."""
        self.images.extend(other.images)

    def compute(self) -> PerImageScores:
        """Raises MetricError when every image was skipped."""
        return _mean(self.images)


class PansScores:
    """PAnS on StreetHazards (Fontanel et al., CVPR Workshops 2021): void counts as ANOMALY.

    Keeps three numbers of each image.
    """

    def __init__(self) -> None:
        self.images: list[tuple[float, float, float]] = []  # AP, AUROC, FPR95

    def update(self, frame: FrameResult) -> None:
        """Add an image. Raises MetricError for NaN anywhere, void too, and odd labels."""
        check_label(frame.label)
        self.images.append(_image_scores(frame.score, frame.label != KNOWN))

    def merge(self, other: PansScores) -> None:
        """Append another worker's images."""
        self.images.extend(other.images)

    def compute(self) -> PerImageScores:
        """Raises MetricError when every image was skipped."""
        return _mean(self.images)


def _image_scores(score: np.ndarray, anomalous: np.ndarray) -> tuple[float, float, float]:
    """AP, AUROC and FPR95 of score float32 [H, W] against anomalous bool [H, W]."""
    negatives, positives = split_scores(score, anomalous.view(np.uint8))
    if positives.size == 0 or negatives.size == 0:
        return _SKIPPED
    _, steps = exact_steps(negatives, positives)
    return ap_of(steps), auroc_of(steps), nearest_fpr95_of(steps)


def _mean(images: list[tuple[float, float, float]]) -> PerImageScores:
    values = np.array(images, np.float64).reshape(-1, 3)
    used = values[~np.isnan(values[:, 0])]
    if len(used) == 0:
        raise MetricError(
            f"metrics per image need images with anomalous and with known pixels; found none among "
            f"{len(values)}: check the labels (0 known, 1 anomaly)"
        )
    ap, auroc, fpr95 = used.mean(axis=0)
    aps, aurocs, fpr95s = values.T
    return PerImageScores(
        ap=float(ap),
        auroc=float(auroc),
        fpr95=float(fpr95),
        images=len(used),
        skipped=len(values) - len(used),
        aps=aps,
        aurocs=aurocs,
        fpr95s=fpr95s,
    )
