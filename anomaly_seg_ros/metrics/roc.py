"""The ROC of "Detecting the Unexpected via Image Resynthesis" (Lis et al., ICCV 2019).

Every frame has the same weight: its counts are divided by the area of its region of interest, the
pixels that are not void, before they are added up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.metrics.base import FrameResult, check_counts, split_scores

LEVELS = 1024  # equal bins over [0, 1], the last closed on both sides


def _places() -> np.ndarray:
    """Of each of the 65536 float16, by its bits: 0 for no level, else the level counted from 1.

    A float16 in [0, 1] times a power of two is exact, and so are the levels.
    """
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    inside = (values >= 0) & (values <= 1)
    places = np.zeros(values.size, np.int64)
    places[inside] = np.minimum(values[inside] * LEVELS, LEVELS - 1).astype(np.int64) + 1
    return places


_PLACES = _places()


@dataclass(frozen=True, eq=False)
class FrameRocScores:
    """Rates at the lower edges of the levels, from the highest threshold down.

    auroc: in 0..1, the trapezoid between the first and the last point. The paper's code adds no
    point (0, 0): what lies left of the first point is lost. thresholds, tp_rates, fp_rates: float64
    [1024]. matrices: float64 [1024, 2, 2], [[tp, fp], [fn, tn]] as shares of the frames' regions,
    summed over the frames.
    """

    auroc: float
    thresholds: np.ndarray
    tp_rates: np.ndarray
    fp_rates: np.ndarray
    matrices: np.ndarray


class FrameRoc:
    """Counts scores, rounded to float16, by level and by the area of the frame's region.

    A score outside of [0, 1] is in no level: never detected, but among all positives or negatives.
    The counts are integers until `compute` divides and sums in float64, area by area from the
    smallest, so that neither the order of the frames nor a merge changes the last digit. Memory:
    16 kB for each different area, one frame at most.
    """

    def __init__(self) -> None:
        # By area: int64 [2, LEVELS + 1], known and anomalous pixels, in no level first, then rising
        self.counts: dict[int, np.ndarray] = {}

    def update(self, frame: FrameResult) -> None:
        """Add a frame; one that is all void adds nothing. MetricError for NaN and odd labels."""
        parts = split_scores(frame.score, frame.label)
        area = sum(part.size for part in parts)
        if area:
            self._add(area, np.stack([_levels(part) for part in parts]))

    def merge(self, other: FrameRoc) -> None:
        """Add what another worker counted."""
        for area, counts in other.counts.items():
            self._add(area, counts)

    def compute(self) -> FrameRocScores:
        """Raises MetricError without a positive or without a negative in any region."""
        pixels = sum(self.counts.values(), np.zeros((2, LEVELS + 1), np.int64)).sum(axis=1)
        check_counts(positives=int(pixels[1]), negatives=int(pixels[0]))
        matrices = np.zeros((2, 2, LEVELS))  # [detected or not, anomalous or known, level]
        for area in sorted(self.counts):
            counts = self.counts[area][::-1]
            detected = np.cumsum(counts[:, :0:-1], axis=1)
            missed = counts.sum(axis=1, keepdims=True) - detected
            matrices += np.stack([detected, missed]) / area
        (tp, fp), (fn, tn) = matrices
        tp_rates, fp_rates = tp / (tp + fn), fp / (fp + tn)
        return FrameRocScores(
            auroc=float(np.sum(np.diff(fp_rates) * (tp_rates[1:] + tp_rates[:-1]) / 2)),
            thresholds=np.arange(LEVELS - 1, -1, -1) / LEVELS,
            tp_rates=tp_rates,
            fp_rates=fp_rates,
            matrices=matrices.transpose(2, 0, 1),
        )

    def _add(self, area: int, counts: np.ndarray) -> None:
        self.counts[area] = self.counts.get(area, 0) + counts


def _levels(scores: np.ndarray) -> np.ndarray:
    """How many scores, rounded to float16, are in no level, then in each: int64 [LEVELS + 1]."""
    with np.errstate(over="ignore"):
        rounded = scores.astype(np.float16).view(np.uint16)
    counts = np.bincount(rounded, minlength=_PLACES.size)
    # The weights are counts: far below 2**53, so that float64 holds them exactly.
    return np.bincount(_PLACES, weights=counts, minlength=LEVELS + 1).astype(np.int64)
