"""The regions of an anomaly mask: where each lies, how large and how anomalous it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.errors import DetectorError

MOST_REGIONS = 64  # the largest ones; a mask of more is noise that nobody can act upon


@dataclass(frozen=True)
class Region:
    """One 8-connected region of a mask. Pixels count from 0; column, row of a pixel's centre."""

    left: int  # of the box: first column
    top: int  # first row
    width: int  # columns
    height: int  # rows
    area: int  # pixels of the region
    foot: tuple[float, float]  # column, row: middle of the lowest row, where it meets the ground
    mean_score: float  # NaN without scores
    max_score: float  # NaN without scores
    class_id: int | None  # most frequent inside, the smallest of equals; None without labels

    @property
    def centre(self) -> tuple[float, float]:
        """Column and row of the middle of the box."""
        return self.left + (self.width - 1) / 2, self.top + (self.height - 1) / 2


def find_regions(
    mask: np.ndarray,
    score: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    *,
    min_area: int = 1,
    most: int = MOST_REGIONS,
) -> tuple[Region, ...]:
    """The regions of a mask, the largest first, and from top to bottom where equally large.

    mask: uint8 [H, W], non-zero = anomalous. score: float32 [H, W], finite inside the mask.
    labels: uint8 [H, W]. Regions below min_area pixels are left out, and all after the `most`
    largest. Raises DetectorError when the maps differ in size or the mask is no uint8 [H, W].
    """
    _check(mask, score, labels)
    left, top, wide, high = cv2.boundingRect(mask)
    if not wide:
        return ()
    part = mask[top : top + high, left : left + wide]
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    stats[0, cv2.CC_STAT_AREA] = 0  # the background
    order = np.lexsort(
        (stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP], -stats[:, cv2.CC_STAT_AREA])
    )
    kept = [int(k) for k in order if stats[k, cv2.CC_STAT_AREA] >= max(1, min_area)][:most]
    regions = []
    for number in kept:
        x, y, width, height, area = (int(value) for value in stats[number])
        inside = numbers[y : y + height, x : x + width] == number
        rows = slice(top + y, top + y + height)
        columns = slice(left + x, left + x + width)
        lowest = np.flatnonzero(inside[-1])
        mean_score = max_score = math.nan
        if score is not None:
            scores = score[rows, columns][inside]
            mean_score, max_score = float(scores.mean(dtype=np.float64)), float(scores.max())
        class_id = None
        if labels is not None:
            class_id = int(np.bincount(labels[rows, columns][inside]).argmax())
        regions.append(
            Region(
                left=columns.start,
                top=rows.start,
                width=width,
                height=height,
                area=area,
                foot=(columns.start + float(lowest[0] + lowest[-1]) / 2, float(rows.stop - 1)),
                mean_score=mean_score,
                max_score=max_score,
                class_id=class_id,
            )
        )
    return tuple(regions)


def smallest_area(size: float, shape: tuple[int, int]) -> int:
    """A smallest size in pixels, at least 1: below 1 a share of the picture [H, W], else pixels."""
    pixels = size * shape[0] * shape[1] if size < 1 else size
    return max(1, math.ceil(pixels))


def _check(mask: np.ndarray, score: np.ndarray | None, labels: np.ndarray | None) -> None:
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise DetectorError(
            f"the mask is {mask.dtype} {list(mask.shape)}; expected uint8 [H, W] as Detection has"
        )
    for name, array in (("score", score), ("labels", labels)):
        if array is not None and array.shape != mask.shape:
            raise DetectorError(
                f"{name} is {list(array.shape)} but the mask {list(mask.shape)}; expected maps of "
                "one Detection"
            )
