"""Calibration: is a pixel of confidence 0.8 right 8 times of 10?

The score of a frame is the uncertainty, the confidence is 1 - score; a pixel is right where the
predicted class is the true one; truth 255 is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import FrameResult
from anomaly_seg_ros.metrics.outcomes import Outcomes, accept, outcomes
from anomaly_seg_ros.metrics.pixel import ScoreHistogram
from anomaly_seg_ros.metrics.score_bins import lower_edges

BINS = 15  # Guo et al., ICML 2017, section 4
ADAPTIVE_CUTS = 15  # ObsNet: these cuts make one group less


@dataclass(frozen=True, eq=False)
class Reliability:
    """The bars of a reliability diagram and the expected calibration error.

    edges: float64 [bins + 1], a bin holds (edge, next edge]. pixels: int64 [bins]. confidence,
    accuracy: float64 [bins], means within the bin, NaN where it is empty. ece: sum over the bins of
    their share of all pixels times |accuracy - confidence|. all_pixels: with the few of confidence
    0 that belong to no bin.
    """

    edges: np.ndarray
    pixels: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float
    all_pixels: int


class ReliabilityBins:
    """Reliability diagram and ECE over equal-width bins of confidence: bounded memory.

    highest: the uncertainty that stands for confidence 0. Scores outside 0..highest are refused.
    """

    def __init__(self, bins: int = BINS, highest: float = 1.0) -> None:
        if bins < 1 or not highest > 0:
            raise MetricError(f"{bins} bins up to {highest}; expected 1 bin or more above 0")
        self.highest = highest
        self.edges = np.linspace(0, 1, bins + 1)
        self.pixels = np.zeros(bins, np.int64)
        self.right = np.zeros(bins, np.int64)
        self.confidence_sum = np.zeros(bins)
        self.all_pixels = 0

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError without classes and for scores out of range or NaN."""
        self.add(outcomes(frame))

    def add(self, found: Outcomes) -> None:
        """Add labelled pixels. Raises MetricError for scores out of range."""
        score = found.uncertainty
        if score.size == 0:
            return
        if score.min() < 0 or score.max() > self.highest:
            raise MetricError(
                f"uncertainty ranges over {score.min():g}..{score.max():g}; expected "
                f"0..{self.highest:g}: state the highest value or map the score to 0..1"
            )
        confidence = 1 - score / np.float32(self.highest)
        # Bin 0 takes what is not above the first edge; no pixel is above the last one.
        bins = np.searchsorted(self.edges, confidence.astype(np.float64))
        size = self.edges.size
        self.pixels += np.bincount(bins, minlength=size)[1:]
        self.right += np.bincount(bins[found.right], minlength=size)[1:]
        self.confidence_sum += np.bincount(bins, weights=confidence, minlength=size)[1:]
        self.all_pixels += score.size

    def merge(self, other: ReliabilityBins) -> None:
        """Add what another worker counted. Raises MetricError when the bins differ."""
        mine, theirs = self.edges.size - 1, other.edges.size - 1
        if mine != theirs or self.highest != other.highest:
            raise MetricError(
                f"cannot merge {mine} bins up to {self.highest} and {theirs} up to {other.highest}"
            )
        self.pixels += other.pixels
        self.right += other.right
        self.confidence_sum += other.confidence_sum
        self.all_pixels += other.all_pixels

    def compute(self) -> Reliability:
        """Raises MetricError without a labelled pixel."""
        _checked(self.highest, self.all_pixels)
        pixels = np.where(self.pixels, self.pixels, np.nan)
        confidence, accuracy = self.confidence_sum / pixels, self.right / pixels
        return Reliability(
            edges=self.edges.copy(),
            pixels=self.pixels.copy(),
            confidence=confidence,
            accuracy=accuracy,
            ece=float(np.nansum(pixels * np.abs(accuracy - confidence)) / self.all_pixels),
            all_pixels=self.all_pixels,
        )


@dataclass(frozen=True)
class CalibrationScores:
    """ECE and ACE as ObsNet defines them; ace is NaN when a true class has fewer than 14 pixels."""

    ece: float
    ace: float
    pixels: int


class ExactCalibration:
    """ECE and ACE as ObsNet computes them (Besnier et al., ICCV 2021): the uncertainty is divided
    by its largest value first. Keeps every labelled pixel, 6 bytes each.
    """

    def __init__(self) -> None:
        self.frames: list[Outcomes] = []

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError without classes, and for NaN at a labelled pixel."""
        self.frames.append(outcomes(frame))

    def merge(self, other: ExactCalibration) -> None:
        """Add what another worker kept."""
        self.frames.extend(other.frames)

    def compute(self) -> CalibrationScores:
        """Raises MetricError without a labelled pixel or where the largest uncertainty is not a
        finite number above 0."""
        uncertainty = np.concatenate([np.empty(0), *(found.uncertainty for found in self.frames)])
        right = np.concatenate([np.empty(0, bool), *(found.right for found in self.frames)])
        truth = np.concatenate([np.empty(0, np.uint8), *(found.truth for found in self.frames)])
        everything = Outcomes(uncertainty.astype(np.float32), right, truth)
        reliability = ReliabilityBins(highest=_checked(uncertainty.max(initial=0), right.size))
        reliability.add(everything)
        return CalibrationScores(
            ece=reliability.compute().ece,
            ace=adaptive_calibration_error(everything),
            pixels=right.size,
        )


def adaptive_calibration_error(found: Outcomes) -> float:
    """ObsNet's ACE: for each true class 14 groups of equally many pixels by rising uncertainty.

    The sum over classes and groups of |accuracy - mean(1 - uncertainty / its maximum)|, divided by
    15 times the number of classes. NaN when a class has fewer than 14 pixels. Equal uncertainties
    keep their order. Raises MetricError as ExactCalibration does.
    """
    highest = _checked(found.uncertainty.max(initial=0), found.right.size)
    classes = np.unique(found.truth)
    total = 0.0
    for label in classes:
        own = found.truth == label
        cuts = _cuts(int(np.count_nonzero(own)))
        if cuts is None:
            return float("nan")
        order = np.argsort(found.uncertainty[own], kind="stable")
        confidence = 1 - found.uncertainty[own][order] / highest
        gaps = np.add.reduceat(found.right[own][order] - confidence, cuts[:-1]) / np.diff(cuts)
        total += float(np.abs(gaps).sum())
    return total / (classes.size * ADAPTIVE_CUTS)


@dataclass(frozen=True)
class AdaptiveCalibration:
    """ObsNet's ACE; the exact value lies within ace_within of the stated one."""

    ace: float
    ace_within: float
    pixels: int


class AdaptiveBins:
    """ObsNet's ACE from one ScoreHistogram of `bits` bits for each true class: bounded memory.

    The pixels of a bin count as evenly mixed and as having the uncertainty in its middle. The
    stated error holds for every order and value they may have had within the bin.
    """

    def __init__(self, bits: int = 18) -> None:
        self.bits = bits
        self.classes: dict[int, ScoreHistogram] = {}  # by true class; errors are the anomalies
        self.highest = 0.0

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError without classes, and for NaN at a labelled pixel."""
        found = outcomes(frame)
        order = np.argsort(found.truth, kind="stable")
        score = found.uncertainty[order][None]
        wrong = (~found.right[order][None]).astype(np.uint8)
        labels, starts, sizes = np.unique(found.truth[order], return_index=True, return_counts=True)
        for label, start, size in zip(labels, starts, sizes, strict=True):
            own = np.s_[:, start : start + size]
            histogram = self.classes.setdefault(int(label), ScoreHistogram(self.bits))
            histogram.update(FrameResult(score[own], wrong[own]))
        self.highest = max(self.highest, float(found.uncertainty.max(initial=0)))

    def merge(self, other: AdaptiveBins) -> None:
        """Add what another worker counted. Raises MetricError when the bins differ."""
        if self.bits != other.bits:
            raise MetricError(f"cannot merge bins of {self.bits} and {other.bits} bits")
        for label, histogram in other.classes.items():
            self.classes.setdefault(label, ScoreHistogram(self.bits)).merge(histogram)
        self.highest = max(self.highest, other.highest)

    def compute(self) -> AdaptiveCalibration:
        """Raises MetricError as ExactCalibration does."""
        pixels = sum(int((h.known + h.anomalous).sum()) for h in self.classes.values())
        highest = _checked(self.highest, pixels)
        parts = [_binned_gaps(histogram, highest) for histogram in self.classes.values()]
        gaps, within = np.sum(parts, axis=0) / (len(parts) * ADAPTIVE_CUTS)
        return AdaptiveCalibration(float(gaps), float(within), pixels)


def _binned_gaps(histogram: ScoreHistogram, highest: float) -> tuple[float, float]:
    """Sum over the groups of one class of |accuracy - confidence|, and how far it may be off."""
    used = np.flatnonzero(histogram.known + histogram.anomalous)
    right, wrong = histogram.known[used], histogram.anomalous[used]
    cuts = _cuts(int(right.sum() + wrong.sum()))
    if cuts is None:
        return float("nan"), 0.0
    found = accept(cuts, right, wrong)
    low, high = (
        lower_edges(histogram.first + used + step, histogram.bits).astype(np.float64) / highest
        for step in (0, 1)
    )
    high = np.minimum(high, 1)

    def summed(values: np.ndarray) -> np.ndarray:
        """Sum over the accepted pixels of each cut of their bin's value."""
        whole = np.cumsum(values * (right + wrong)) - values * (right + wrong)
        return whole[found.bins] + found.inside * values[found.bins]

    sizes = np.diff(cuts)
    off = np.maximum(found.most - found.mixed, found.mixed - found.least)
    gaps = np.diff(found.mixed) / sizes - (1 - np.diff(summed((low + high) / 2)) / sizes)
    within = (off[1:] + off[:-1] + np.diff(summed((high - low) / 2))) / sizes
    return float(np.abs(gaps).sum()), float(within.sum())


def _cuts(pixels: int) -> np.ndarray | None:
    """Where the groups of sorted pixels begin and end: int64 [15]; None when one would be empty."""
    if pixels < ADAPTIVE_CUTS - 1:
        return None
    return np.linspace(0, pixels, ADAPTIVE_CUTS).astype(np.int64)


def _checked(highest: float, pixels: int) -> float:
    if not pixels:
        raise MetricError("calibration needs labelled pixels; found none in all frames")
    if not 0 < highest < np.inf:
        raise MetricError(
            f"the largest uncertainty is {highest:g}; expected a finite number above 0"
        )
    return float(highest)
