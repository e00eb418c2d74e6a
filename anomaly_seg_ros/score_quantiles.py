"""The quantiles by which a bundle describes its score on normal driving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import ScoreHistogram
from anomaly_seg_ros.metrics.score_bins import lower_edges

# What `score.reference_quantiles` of bundle.yaml are quantiles of, in this order.
QUANTILE_LEVELS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)


def histogram_quantiles(histogram: ScoreHistogram, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of all scores that a histogram counted as known: float64 [n].

    As np.quantile's linear rule, with the scores of a bin spread evenly over it: off by less than
    the bin's width, 1/8192 of the score with 22 bits. Raises MetricError of an empty histogram.
    """
    total = int(histogram.known.sum())
    if total == 0:
        raise MetricError("quantiles need at least one score; found none")
    below = np.cumsum(histogram.known) - histogram.known
    position = np.asarray(levels, np.float64) * (total - 1)
    first = np.floor(position)
    low = _ordered(histogram, below, first)
    high = _ordered(histogram, below, np.ceil(position))
    return low + (high - low) * (position - first)


def _ordered(histogram: ScoreHistogram, below: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The scores of these ranks (0: the lowest), float64 [n]."""
    bins = np.searchsorted(below + histogram.known, rank, side="right")
    low, high = (
        lower_edges(histogram.first + bins + step, histogram.bits).astype(np.float64)
        for step in (0, 1)
    )
    inside = (rank - below[bins] + 0.5) / histogram.known[bins]
    return low + (np.where(np.isfinite(high), high, low) - low) * inside
