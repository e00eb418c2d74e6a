"""Pixel metrics as SegmentMeIfYouCan computes them (road-anomaly-benchmark, August 2023 on).

Pixels of all frames are pooled, but through histograms. A bin counts as detected once the threshold
reaches its lower edge, so the numbers are an approximation of the exact ones, a little optimistic.
Scores far from [0, 1] lose resolution in the float16 that the benchmark stores: rescale them first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import FrameResult, check_counts, split_scores
from anomaly_seg_ros.metrics.curve import TPR_OF_INTEREST, Curve

BINS = 768  # per frame: half of them follow the anomalous scores, half the known ones
UNIFORM_BINS = 4096
UNIFORM_RANGE = (-0.01, 1.01)
_MARGIN = 0.01


@dataclass(frozen=True)
class SmiycPixelScores:
    """Fractions in 0..1, and thresholds t: a pixel with s >= t is detected.

    best_f1_threshold is the t* that the component metrics use. recall50_threshold and
    tpr95_threshold are the highest with at least that recall. positives, negatives: pixels.
    """

    ap: float
    auroc: float
    fpr95: float
    tpr95_threshold: float
    recall50_threshold: float
    best_f1: float
    best_f1_threshold: float
    positives: int
    negatives: int
    curve: Curve = field(compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class _Bins:
    """What one frame leaves: how many of its pixels each of its bins holds, bins rising."""

    thresholds: np.ndarray  # float64 [n], lower edges
    positives: np.ndarray  # int64 [n]
    negatives: np.ndarray  # int64 [n]


class SmiycPixel:
    """PixBinaryClass, the leaderboard's AuPRC and FPR95: bins at each frame's own quantiles.

    Keeps at most 769 bins of each frame (18 kB). half: round the scores to float16 first, as the
    benchmark stores them.
    """

    def __init__(self, half: bool = False) -> None:
        self.half = half
        self.frames: list[_Bins] = []

    def update(self, frame: FrameResult) -> None:
        """Add a frame. MetricError for NaN or infinity where not void, and odd labels."""
        known, anomalous = split_scores(frame.score, frame.label)
        if self.half:
            with np.errstate(over="ignore"):  # to infinity, which is refused below
                known, anomalous = known.astype(np.float16), anomalous.astype(np.float16)
        # The benchmark takes range and quantiles in the scores' own precision; sorting and
        # comparing is the same, and fast, in float32.
        known, anomalous = (np.sort(part.astype(np.float32)) for part in (known, anomalous))
        if known.size + anomalous.size == 0:
            return
        edges = self._edges(known, anomalous)
        self.frames.append(_Bins(edges[:-1], _counts(anomalous, edges), _counts(known, edges)))

    def merge(self, other: SmiycPixel) -> None:
        """Append another worker's frames. Raises MetricError when only one rounds to float16."""
        if self.half != other.half:
            raise MetricError("cannot merge SMIYC scores of float16 and of float32: use one")
        self.frames.extend(other.frames)

    def compute(self) -> SmiycPixelScores:
        """Raises MetricError without a positive or without a negative."""
        none = _Bins(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
        frames = [none, *self.frames]
        thresholds = np.concatenate([bins.thresholds for bins in frames])
        order = np.argsort(-thresholds, kind="stable")
        return _scores_of(
            thresholds[order],
            np.concatenate([bins.positives for bins in frames])[order],
            np.concatenate([bins.negatives for bins in frames])[order],
        )

    def _edges(self, known: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
        """float64, rising, all different, from below the lowest to above the highest score."""
        own = np.float16 if self.half else np.float32
        parts = [part for part in (known, anomalous) if part.size]
        lowest = min(part[0] for part in parts).astype(own)
        highest = max(part[-1] for part in parts).astype(own)
        with np.errstate(over="ignore", invalid="ignore"):
            width = float(highest - lowest)
        if not np.isfinite(width):
            raise MetricError(
                f"scores reach from {lowest} to {highest} in {own.__name__}; expected finite "
                "ones, and so their difference: rescale them to about 0..1"
            )
        margin = max(_MARGIN * width, _MARGIN)
        ends = [float(lowest) - margin, float(highest) + margin]
        quantiles = [_quantiles(part.astype(own), min(BINS // 2, part.size)) for part in parts]
        return np.unique(np.concatenate([ends, *quantiles]))


class SmiycPixelUniform:
    """PixBinaryClass-uniThr: 4096 equal bins over [-0.01, 1.01], for scores in 0..1.

    Not on the leaderboard.
    """

    def __init__(self) -> None:
        self.edges = np.linspace(*UNIFORM_RANGE, UNIFORM_BINS + 1, dtype=np.float32)
        self.positives = np.zeros(UNIFORM_BINS, np.int64)  # by bin, rising
        self.negatives = np.zeros(UNIFORM_BINS, np.int64)

    def update(self, frame: FrameResult) -> None:
        """Add a frame. MetricError for scores outside of the bins, NaN, and odd labels."""
        known, anomalous = (np.sort(part) for part in split_scores(frame.score, frame.label))
        for part in (known, anomalous):
            if part.size and (part[0] < self.edges[0] or part[-1] > self.edges[-1]):
                raise MetricError(
                    f"scores reach from {part[0]} to {part[-1]}; expected {UNIFORM_RANGE[0]} to "
                    f"{UNIFORM_RANGE[1]}: rescale them, or use SmiycPixel"
                )
        self.positives += _counts(anomalous, self.edges)
        self.negatives += _counts(known, self.edges)

    def merge(self, other: SmiycPixelUniform) -> None:
        """Add what another worker counted."""
        self.positives += other.positives
        self.negatives += other.negatives

    def compute(self) -> SmiycPixelScores:
        """Raises MetricError without a positive or without a negative."""
        thresholds = self.edges[:-1].astype(np.float64)
        return _scores_of(thresholds[::-1], self.positives[::-1], self.negatives[::-1])


def _quantiles(ordered: np.ndarray, number: int) -> np.ndarray:
    """np.quantile at equally spaced probabilities, without its search: the scores are sorted."""
    place = np.linspace(0, 1, number) * (ordered.size - 1)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, ordered.size - 1)
    low, high, part = ordered[below], ordered[above], place - below
    # The form that is exact at the nearer end; the difference keeps the scores' precision.
    return np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))


def _counts(ordered: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """np.histogram of sorted scores: int64 [len(edges) - 1], the last bin closed on both sides."""
    up_to = np.searchsorted(ordered, edges, side="left")
    up_to[-1] = np.searchsorted(ordered, edges[-1], side="right")
    return np.diff(up_to)


def _scores_of(
    thresholds: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> SmiycPixelScores:
    """From bins in falling order of their lower edges."""
    true, false = np.cumsum(positives), np.cumsum(negatives)
    total, others = int(positives.sum()), int(negatives.sum())
    check_counts(total, others)
    # One point per threshold, after all its bins; the benchmark keeps the very first bin as well.
    last_of_run = np.flatnonzero(np.diff(thresholds))
    points = np.concatenate([[0], last_of_run, [thresholds.size - 1]])
    thresholds, true, false = thresholds[points], true[points], false[points]
    if true[0] or false[0]:
        thresholds = np.concatenate([[thresholds[0] + 1], thresholds])
        true, false = np.concatenate([[0], true]), np.concatenate([[0], false])
    detected = true + false
    curve = Curve(
        thresholds=thresholds,
        recall=true / total,
        fpr=false / others,
        precision=np.divide(true, detected, out=np.ones(true.size), where=detected > 0),
    )
    f1 = 2 * true / (detected + total)  # 2 TP / (2 TP + FP + FN)
    at95 = int(np.argmax(curve.recall >= TPR_OF_INTEREST))
    at50 = int(np.argmax(curve.recall >= 0.5))
    best = int(np.argmax(f1))
    return SmiycPixelScores(
        ap=float(np.sum(np.diff(curve.recall) * curve.precision[1:])),
        auroc=float(np.sum(np.diff(curve.fpr) * (curve.recall[1:] + curve.recall[:-1]) / 2)),
        fpr95=float(curve.fpr[at95]),
        tpr95_threshold=float(thresholds[at95]),
        recall50_threshold=float(thresholds[at50]),
        best_f1=float(f1[best]),
        best_f1_threshold=float(thresholds[best]),
        positives=total,
        negatives=others,
        curve=curve,
    )
