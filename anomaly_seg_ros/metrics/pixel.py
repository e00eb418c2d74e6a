"""Pixel metrics of an anomaly score over the pooled pixels of all frames.

With the known pixels as negatives, the anomalous ones as positives and s >= t as detection:
- AP, the step sum of precision over recall, one step per distinct score (scikit-learn's
  average_precision_score; AuPRC in the benchmarks);
- AUROC, the trapezoid of TPR over FPR, so that a tie counts one half;
- FPR95, the FPR at the first threshold, from above, with TPR >= 0.95.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import ANOMALY, KNOWN, VOID, FrameResult, check_label

TPR_OF_INTEREST = 0.95
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


@dataclass(frozen=True)
class _Steps:
    """The curve at each distinct score that a positive has, from the highest down: int64 [n]."""

    positives: np.ndarray  # with this score
    tied: np.ndarray  # negatives with this score
    above: np.ndarray  # negatives with a higher score
    all_positives: int
    all_negatives: int

    @property
    def detected(self) -> np.ndarray:
        """Positives with this or a higher score."""
        return np.cumsum(self.positives)


class ExactScores:
    """Keeps every pixel that is not void, 4 bytes each, and computes without approximation."""

    def __init__(self) -> None:
        self.known: list[np.ndarray] = []  # float32 [n] per frame
        self.anomalous: list[np.ndarray] = []

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError for NaN at a pixel that is not void, and odd labels."""
        check_label(frame.label)
        _check_score(frame)
        self.known.append(frame.score[frame.label == KNOWN])
        self.anomalous.append(frame.score[frame.label == ANOMALY])

    def merge(self, other: ExactScores) -> None:
        """Add what another worker kept."""
        self.known.extend(other.known)
        self.anomalous.extend(other.anomalous)

    def compute(self) -> PixelScores:
        """Raises MetricError without a positive or without a negative."""
        known = np.sort(np.concatenate([np.empty(0, np.float32), *self.known]))
        anomalous = np.concatenate([np.empty(0, np.float32), *self.anomalous])
        _check_counts(anomalous.size, known.size)
        scores, counts = np.unique(anomalous, return_counts=True)
        below = np.searchsorted(known, scores, side="left")
        up_to = np.searchsorted(known, scores, side="right")
        steps = _Steps(
            positives=counts[::-1],
            tied=(up_to - below)[::-1],
            above=(known.size - up_to)[::-1],
            all_positives=anomalous.size,
            all_negatives=known.size,
        )
        return PixelScores(
            ap=_ap(steps),
            auroc=_auroc(steps),
            fpr95=_fpr95(steps),
            positives=anomalous.size,
            negatives=known.size,
        )


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
        has_void = check_label(frame.label)
        score, label = frame.score, frame.label
        if _check_score(frame):  # NaN at void pixels
            seen = label != VOID
            score, label, has_void = score[seen], label[seen], False
        if score.size == 0:
            return
        bins = self._bins(score)
        first, last = int(bins.min()), int(bins.max())
        width = last - first + 1
        bins -= first
        # One pass counts all: `width` bins of known pixels, as many of anomalous ones, one of void.
        kind = (label & 3).astype(np.int32)  # 0, 1, and 3 for void
        kind *= width
        bins += kind
        if has_void:
            np.minimum(bins, 2 * width, out=bins)
        counts = np.bincount(bins.ravel(), minlength=2 * width)
        self._add(first, counts[:width], counts[width : 2 * width])

    def merge(self, other: ScoreHistogram) -> None:
        """Add what another worker counted. Raises MetricError when the bins differ."""
        if self.bits != other.bits:
            raise MetricError(
                f"cannot merge histograms of {self.bits} and {other.bits} bits: use one setting"
            )
        self._add(other.first, other.known, other.anomalous)

    def compute(self) -> PixelScores:
        """Raises MetricError without a positive or without a negative."""
        negatives, positives = int(self.known.sum()), int(self.anomalous.sum())
        _check_counts(positives, negatives)
        bins = np.flatnonzero(self.anomalous)[::-1]
        below = np.cumsum(self.known)[bins]  # up to and with the bin
        steps = _Steps(
            positives=self.anomalous[bins],
            tied=self.known[bins],
            above=negatives - below,
            all_positives=positives,
            all_negatives=negatives,
        )
        ap = _ap(steps)
        lowest, highest = _ap_bounds(steps)
        return PixelScores(
            ap=ap,
            auroc=_auroc(steps),
            fpr95=_fpr95(steps),
            positives=positives,
            negatives=negatives,
            ap_error=max(ap - lowest, highest - ap, 0.0),
            auroc_error=float(np.sum(steps.positives / positives * (steps.tied / negatives)) / 2),
            fpr95_error=float(steps.tied[_first_step(steps)] / negatives),
        )

    def _add(self, first: int, known: np.ndarray, anomalous: np.ndarray) -> None:
        """Add counts int64 [n] of the bins from `first` on."""
        if known.size == 0:
            return
        if self.known.size == 0:
            self.first = first
        start = min(self.first, first)
        end = max(self.first + self.known.size, first + known.size)
        if end - start > self.known.size:
            wider = np.zeros((2, end - start), np.int64)
            old = slice(self.first - start, self.first - start + self.known.size)
            wider[0, old], wider[1, old] = self.known, self.anomalous
            self.first, self.known, self.anomalous = start, wider[0], wider[1]
        place = slice(first - self.first, first - self.first + known.size)
        self.known[place] += known
        self.anomalous[place] += anomalous

    def _bins(self, score: np.ndarray) -> np.ndarray:
        """Order-preserving bin of each float32: int32, a new array.

        Read as integers, floats rise with their value above zero and fall with it below; flipping
        all bits but the sign of the negative ones makes the order whole.
        """
        bits = np.add(score, np.float32(0)).view(np.int32)  # makes -0.0 and 0.0 the same number
        np.right_shift(bits, _FLOAT_BITS - self.bits, out=bits)
        half = 1 << (self.bits - 1)
        if bits.min() < 0:
            bits ^= (bits >> (_FLOAT_BITS - 1)) & np.int32(half - 1)
        bits += np.int32(half)
        return bits


def _check_score(frame: FrameResult) -> bool:
    """Whether NaN occurs, at void pixels; anywhere else it is a MetricError."""
    if not np.isnan(frame.score.min(initial=0)):
        return False
    bad = int(np.count_nonzero(np.isnan(frame.score) & (frame.label != VOID)))
    if bad:
        raise MetricError(
            f"the score is NaN at {bad} pixels that are not void; expected a number at each: fill "
            "what the network did not look at, or label it void"
        )
    return True


def _check_counts(positives: int, negatives: int) -> None:
    if positives == 0 or negatives == 0:
        raise MetricError(
            f"pixel metrics need anomalous and known pixels; found {positives} anomalous and "
            f"{negatives} known ones in all frames: check the labels (0 known, 1 anomaly)"
        )


def _ap(steps: _Steps) -> float:
    detected = steps.detected
    precision = detected / (detected + steps.above + steps.tied)
    return float(np.sum(steps.positives / steps.all_positives * precision))


def _auroc(steps: _Steps) -> float:
    below = (steps.all_negatives - steps.above - steps.tied / 2) / steps.all_negatives
    return float(np.sum(steps.positives / steps.all_positives * below))


def _first_step(steps: _Steps) -> int:
    return int(np.argmax(steps.detected / steps.all_positives >= TPR_OF_INTEREST))


def _fpr95(steps: _Steps) -> float:
    at = _first_step(steps)
    return float((steps.above[at] + steps.tied[at]) / steps.all_negatives)


def _ap_bounds(steps: _Steps) -> tuple[float, float]:
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
