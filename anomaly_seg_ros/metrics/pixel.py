"""Pixel metrics of an anomaly score over the pooled pixels of all frames: AP, AUROC, FPR95.

`curve` defines them. ExactScores keeps every score; ScoreHistogram counts scores in fine bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import FrameResult, check_counts, split_scores
from anomaly_seg_ros.metrics.curve import (
    Curve,
    Steps,
    ap_of,
    auroc_of,
    curve_of,
    exact_steps,
    fpr95_of,
    step_of_fpr95,
)

_FLOAT_BITS = 32
_TABLED_HARMONICS = 4096


@dataclass(frozen=True)
class PixelScores:
    """Fractions in 0..1. The errors bound how far the exact values can be away; 0 when exact."""

    ap: float
    auroc: float
    fpr95: float
    positives: int
    negatives: int
    ap_error: float = 0.0
    auroc_error: float = 0.0
    fpr95_error: float = 0.0


class ExactScores:
    """Keeps every pixel that is not void, 4 bytes each, and computes without approximation."""

    def __init__(self) -> None:
        self.known: list[np.ndarray] = []  # float32 [n] per frame
        self.anomalous: list[np.ndarray] = []

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError for NaN at a pixel that is not void, and odd labels."""
        known, anomalous = split_scores(frame.score, frame.label)
        # split_scores may return a view of the frame: copy what is kept.
        self.known.append(known.copy())
        self.anomalous.append(anomalous.copy())

    def merge(self, other: ExactScores) -> None:
        """Add what another worker kept."""
        self.known.extend(other.known)
        self.anomalous.extend(other.anomalous)

    def compute(self) -> PixelScores:
        """Raises MetricError without a positive or without a negative."""
        _, steps = self._steps()
        return PixelScores(
            ap=ap_of(steps),
            auroc=auroc_of(steps),
            fpr95=fpr95_of(steps),
            positives=steps.all_positives,
            negatives=steps.all_negatives,
        )

    def curve(self) -> Curve:
        """One point per distinct score of an anomalous pixel. Raises as `compute` does."""
        return curve_of(*self._steps())

    def _steps(self) -> tuple[np.ndarray, Steps]:
        known = np.concatenate([np.empty(0, np.float32), *self.known])
        anomalous = np.concatenate([np.empty(0, np.float32), *self.anomalous])
        check_counts(anomalous.size, known.size)
        return exact_steps(known, anomalous)


class ScoreHistogram:
    """Counts of known and anomalous pixels per score bin: bounded memory for any number of frames.

    A bin is the set of float32 numbers that share their first `bits` bits, so any range of scores
    fits and bins are the finer the smaller the scores: with 22 bits a bin is 1/8192 of its value
    wide at most (scores below 1e-38 apart). Pixels of one bin count as ties. The errors that
    `compute` states hold for every order the pixels of a bin may have had. Memory: 16 bytes for
    each bin from the lowest to the highest score met, 64 MiB at most with 22 bits and 3 MiB for
    scores of 1e-6 to 1.
    """

    def __init__(self, bits: int = 22) -> None:
        if not 10 <= bits <= 24:
            raise MetricError(f"a histogram of {bits} bits; expected 10 to 24 (22 is usual)")
        self.bits = bits
        self.first = 0  # the bin that the counts begin with
        self.known = np.zeros(0, np.int64)  # by bin, lowest scores first
        self.anomalous = np.zeros(0, np.int64)

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError for NaN at a pixel that is not void, and odd labels."""
        known, anomalous = split_scores(frame.score, frame.label)
        first, counts = self._counts(known)
        place = self._place(first, counts.size)
        self.known[place] += counts
        first, counts = self._counts(anomalous)
        place = self._place(first, counts.size)
        self.anomalous[place] += counts

    def merge(self, other: ScoreHistogram) -> None:
        """Add what another worker counted. Raises MetricError when the bins differ."""
        if self.bits != other.bits:
            raise MetricError(
                f"cannot merge histograms of {self.bits} and {other.bits} bits: use one setting"
            )
        place = self._place(other.first, other.known.size)
        self.known[place] += other.known
        self.anomalous[place] += other.anomalous

    def compute(self) -> PixelScores:
        """Raises MetricError without a positive or without a negative."""
        negatives, positives = int(self.known.sum()), int(self.anomalous.sum())
        check_counts(positives, negatives)
        bins = np.flatnonzero(self.anomalous)[::-1]
        below = np.cumsum(self.known)[bins]  # up to and with the bin
        steps = Steps(
            positives=self.anomalous[bins],
            tied=self.known[bins],
            above=negatives - below,
            all_positives=positives,
            all_negatives=negatives,
        )
        ap = ap_of(steps)
        lowest, highest = _ap_bounds(steps)
        return PixelScores(
            ap=ap,
            auroc=auroc_of(steps),
            fpr95=fpr95_of(steps),
            positives=positives,
            negatives=negatives,
            ap_error=max(ap - lowest, highest - ap, 0.0),
            auroc_error=float(np.sum(steps.positives / positives * (steps.tied / negatives)) / 2),
            fpr95_error=float(steps.tied[step_of_fpr95(steps)] / negatives),
        )

    def _place(self, first: int, size: int) -> slice:
        """Where the counts of `size` bins from `first` on lie; widens the counts to hold them."""
        if size == 0:
            return slice(0)
        if self.known.size == 0:
            self.first = first
        start = min(self.first, first)
        end = max(self.first + self.known.size, first + size)
        if end - start > self.known.size:
            wider = np.zeros((2, end - start), np.int64)
            old = slice(self.first - start, self.first - start + self.known.size)
            wider[0, old], wider[1, old] = self.known, self.anomalous
            self.first, self.known, self.anomalous = start, wider[0], wider[1]
        return slice(first - self.first, first - self.first + size)

    def _counts(self, scores: np.ndarray) -> tuple[int, np.ndarray]:
        """The lowest bin of float32 [n] and the counts, int64, from it to the highest.

        Read as integers, floats rise with their value above zero and fall with it below; flipping
        all bits but the sign of the negative ones makes the order whole.
        """
        if scores.size == 0:
            return 0, np.zeros(0, np.int64)
        bits = scores.view(np.int32)
        if bits.min() < 0:
            bits = np.add(scores, np.float32(0)).view(np.int32)  # -0.0 and 0.0 are one number
            flip = bits >> np.int32(_FLOAT_BITS - 1)
            flip &= np.int32((1 << (_FLOAT_BITS - 1)) - 1)
            bits ^= flip
        shift = np.int32(_FLOAT_BITS - self.bits)
        first = int(bits.min() >> shift)
        bins = np.empty(bits.size, np.intp)  # what bincount would copy other integers to
        np.right_shift(bits, shift, out=bins)
        bins -= first
        return first + (1 << (self.bits - 1)), np.bincount(bins)


def _ap_bounds(steps: Steps) -> tuple[float, float]:
    """Lowest and highest AP over all orders that the pixels within each bin may have.

    With a detected and b negatives above the bin, p positives and n negatives in it, the i-th of
    the positives has precision (a + i) / (a + i + b + n) at least, reached when the negatives come
    first and no positives tie, and (a + p) / (a + p + b) at most, reached when the positives come
    first and all tie.
    """
    p, b, n = steps.positives, steps.above, steps.tied
    a = steps.detected - p
    highest = float(np.sum(p * ((a + p) / (a + p + b)))) / steps.all_positives
    # sum over i of (a + i) / (a + i + m) = p - m * (H(a + p + m) - H(a + m)), m = b + n
    m = b + n
    lowest = float(np.sum(p - m * _harmonic_difference(a + m, a + p + m))) / steps.all_positives
    return lowest, highest


def _harmonic_difference(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """1/(low+1) + ... + 1/high for int64 [n], without the cancellation of two large sums."""
    table = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, _TABLED_HARMONICS + 1))])
    x, y = np.maximum(low, 1).astype(float), np.maximum(high, 1).astype(float)
    # Euler-Maclaurin: H(n) = ln n + gamma + 1/(2n) - 1/(12n^2) + ...; the next term is below 1e-16
    far = np.log1p((y - x) / x) + (1 / y - 1 / x) / 2 - (1 / y**2 - 1 / x**2) / 12
    last = _TABLED_HARMONICS
    near = table[np.minimum(high, last)] - table[np.minimum(low, last)]
    split = np.maximum(high, last).astype(float)
    beyond = np.log(split / last) + (1 / split - 1 / last) / 2 - (1 / split**2 - 1 / last**2) / 12
    return np.where(low >= last, far, near + beyond)
