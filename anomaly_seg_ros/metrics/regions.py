"""False alarms as a driver meets them: connected regions where there is no anomaly."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import ANOMALY, KNOWN, check_label


@dataclass(frozen=True)
class FalseRegionScores:
    """False regions over all frames."""

    frames: int
    regions: int
    frames_with_regions: int
    per_100_frames: float


class FalseRegions:
    """Counts the regions of a mask that touch no anomaly.

    A region is a set of mask pixels connected through sides or corners. It is false when none of
    its pixels is anomalous and at least `min_area` of them are known; void pixels do not count.
    """

    def __init__(self, min_area: int = 200) -> None:
        if min_area < 1:
            raise MetricError(f"regions of {min_area} pixels; expected min_area of 1 or more")
        self.min_area = min_area
        self.frames = 0
        self.regions = 0
        self.frames_with_regions = 0

    def update(self, mask: np.ndarray, label: np.ndarray) -> None:
        """Add a frame. mask: uint8 [H, W], non-zero is detected. label: uint8 [H, W], 0, 1 or 255.

        Raises MetricError when shapes, dtypes or label values differ from that.
        """
        if mask.ndim != 2 or mask.shape != label.shape or not mask.dtype == label.dtype == np.uint8:
            raise MetricError(
                f"mask is {mask.dtype} {list(mask.shape)} and label {label.dtype} "
                f"{list(label.shape)}; expected uint8 [H, W] both"
            )
        check_label(label)
        self.frames += 1
        left, top, width, height = cv2.boundingRect(mask)
        if width * height < self.min_area:
            return
        part = np.s_[top : top + height, left : left + width]
        count, regions = cv2.connectedComponents(mask[part], connectivity=8, ltype=cv2.CV_32S)
        known = np.bincount(regions[label[part] == KNOWN], minlength=count)
        anomalous = np.bincount(regions[label[part] == ANOMALY], minlength=count)
        false = (known >= self.min_area) & (anomalous == 0)
        found = int(np.count_nonzero(false[1:]))  # 0 is what is not in the mask
        self.regions += found
        self.frames_with_regions += found > 0

    def merge(self, other: FalseRegions) -> None:
        """Add what another worker counted. Raises MetricError when min_area differs."""
        if self.min_area != other.min_area:
            raise MetricError(
                f"cannot merge regions of at least {self.min_area} and {other.min_area} pixels"
            )
        self.frames += other.frames
        self.regions += other.regions
        self.frames_with_regions += other.frames_with_regions

    def compute(self) -> FalseRegionScores:
        """Raises MetricError before the first frame."""
        if self.frames == 0:
            raise MetricError("false regions per frame need at least one frame; found none")
        return FalseRegionScores(
            frames=self.frames,
            regions=self.regions,
            frames_with_regions=self.frames_with_regions,
            per_100_frames=100 * self.regions / self.frames,
        )
