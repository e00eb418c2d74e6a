"""Intervals by bootstrap: how far a figure may be from that of other frames of the same kind.

Frames are drawn with replacement, never single pixels, which depend on each other (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 8). Percentile intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import FrameResult, check_counts
from anomaly_seg_ros.metrics.curve import TPR_OF_INTEREST
from anomaly_seg_ros.metrics.pixel import ScoreHistogram

Frame = TypeVar("Frame")

_FRAMES_AT_ONCE = 256
_NUMBERS_AT_ONCE = 2**22  # 32 MiB of float64


@dataclass(frozen=True)
class Interval:
    """A figure of all frames and where `level` of its resampled values lie, low to high.

    used: resamples that define the figure; undefined: those that do not (a draw without any
    anomaly, say) and are left out. low and high are NaN when none does.
    """

    value: float
    low: float
    high: float
    level: float
    used: int
    undefined: int


def intervals(
    frames: Sequence[Frame],
    compute: Callable[[Sequence[Frame]], Mapping[str, float]],
    *,
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile intervals of any figures of a list of frames; the same seed gives the same ones.

    compute: figures by name, NaN where undefined; a MetricError leaves all of a resample undefined.
    Raises MetricError for no frames, fewer than 2 repeats, a level outside 0..1, and as `compute`
    does for the frames as they are.
    """
    _check(len(frames), repeats, level)
    values = compute(frames)
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for draw in _draws(len(frames), repeats, seed):
        try:
            again = compute([frames[number] for number in draw])
        except MetricError:
            again = {}
        for name, found in drawn.items():
            found.append(again.get(name, float("nan")))
    return {
        name: _interval(float(value), np.array(drawn[name]), level)
        for name, value in values.items()
    }


@dataclass(frozen=True)
class PooledScoreIntervals:
    """Intervals of the pooled pixel metrics, fractions in 0..1."""

    ap: Interval
    auroc: Interval
    fpr95: Interval
    frames: int


class PooledIntervals:
    """Intervals of AP, AUROC and FPR95 over pooled pixels, without reading a pixel twice.

    Keeps one sparse histogram for each frame, 12 bytes for each bin of `bits` bits that the frame
    meets: with 16 bits a bin is 1/128 of its score wide at most, some 2000 bins for a frame of
    scores of 1e-6 to 1. Pixels of one bin count as ties. Frames without anomaly count too: they
    hold negatives.
    """

    def __init__(self, bits: int = 16) -> None:
        self.bits = ScoreHistogram(bits).bits  # checks them
        self.bins: list[np.ndarray] = []  # int32 [n] per frame, rising
        self.counts: list[np.ndarray] = []  # uint32 [2, n] per frame: known, anomalous

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError for NaN at a pixel that is not void, and odd labels."""
        histogram = ScoreHistogram(self.bits)
        histogram.update(frame)
        both = np.stack([histogram.known, histogram.anomalous])
        used = np.flatnonzero(both.any(axis=0))
        self.bins.append((histogram.first + used).astype(np.int32))
        self.counts.append(both[:, used].astype(np.uint32))

    def merge(self, other: PooledIntervals) -> None:
        """Add another worker's frames. Raises MetricError when the bins differ."""
        if self.bits != other.bits:
            raise MetricError(f"cannot merge histograms of {self.bits} and {other.bits} bits")
        self.bins.extend(other.bins)
        self.counts.extend(other.counts)

    def compute(
        self, repeats: int = 1000, seed: int = 0, level: float = 0.95
    ) -> PooledScoreIntervals:
        """Draws the same frames as `intervals` does with this seed.

        Raises MetricError as `intervals` does, and without a positive or a negative in all frames.
        """
        frames = len(self.bins)
        _check(frames, repeats, level)
        negatives, positives = sum(counts.sum(axis=1, dtype=np.int64) for counts in self.counts)
        check_counts(int(positives), int(negatives))
        value = _scores(self._pooled(np.ones((1, frames))))[:, 0]
        weights = np.stack(
            [np.bincount(draw, minlength=frames) for draw in _draws(frames, repeats, seed)]
        ).astype(np.float64)
        at_once = max(1, _NUMBERS_AT_ONCE // self._used().size)
        parts = [
            _scores(self._pooled(weights[start : start + at_once]))
            for start in range(0, repeats, at_once)
        ]
        drawn = np.concatenate(parts, axis=1)
        ap, auroc, fpr95 = (
            _interval(float(v), d, level) for v, d in zip(value, drawn, strict=True)
        )
        return PooledScoreIntervals(ap=ap, auroc=auroc, fpr95=fpr95, frames=frames)

    def _used(self) -> np.ndarray:
        return np.unique(np.concatenate(self.bins))

    def _pooled(self, weights: np.ndarray) -> np.ndarray:
        """weights: float64 [draws, frames]. Counts float64 [2, draws, bins], highest bin first."""
        used = self._used()
        pooled = np.zeros((2, len(weights), used.size))
        for start in range(0, len(self.bins), _FRAMES_AT_ONCE):
            part = slice(start, start + _FRAMES_AT_ONCE)
            dense = np.zeros((2, len(self.bins[part]), used.size))
            for row, (bins, counts) in enumerate(
                zip(self.bins[part], self.counts[part], strict=True)
            ):
                dense[:, row, used.size - 1 - np.searchsorted(used, bins)] = counts
            pooled += weights[:, part] @ dense
        return pooled


def _scores(pooled: np.ndarray) -> np.ndarray:
    """AP, AUROC and FPR95 as `curve` defines them: float64 [3, draws], NaN where undefined."""
    negatives, positives = pooled
    false, found = np.cumsum(negatives, axis=1), np.cumsum(positives, axis=1)
    totals = np.stack([false[:, -1:], found[:, -1:]])
    totals[totals == 0] = np.nan
    all_negatives, all_positives = totals
    precision = found / np.maximum(found + false, 1)
    below = (all_negatives - false + negatives / 2) / all_negatives
    ap = np.sum(positives / all_positives * precision, axis=1)
    auroc = np.sum(positives / all_positives * below, axis=1)
    first = np.argmax(found / all_positives >= TPR_OF_INTEREST, axis=1)
    fpr95 = np.take_along_axis(false / all_negatives, first[:, None], axis=1)[:, 0]
    scores = np.stack([ap, auroc, fpr95])
    scores[:, np.isnan(totals).any(axis=0)[:, 0]] = np.nan
    return scores


def _draws(frames: int, repeats: int, seed: int) -> Iterator[np.ndarray]:
    """Numbers of the frames in each resample: int64 [frames]."""
    random = np.random.default_rng(seed)
    for _ in range(repeats):
        yield random.integers(0, frames, frames)


def _interval(value: float, drawn: np.ndarray, level: float) -> Interval:
    defined = drawn[~np.isnan(drawn)]
    low, high = (float("nan"),) * 2
    if defined.size:
        low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        value=value,
        low=float(low),
        high=float(high),
        level=level,
        used=defined.size,
        undefined=drawn.size - defined.size,
    )


def _check(frames: int, repeats: int, level: float) -> None:
    if frames < 1 or repeats < 2 or not 0 < level < 1:
        raise MetricError(
            f"{repeats} resamples of {frames} frames at level {level}; expected 2 or more of 1 or "
            "more at a level between 0 and 1"
        )
