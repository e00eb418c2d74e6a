"""Failure detection: does the uncertainty of a pixel tell that its predicted class is wrong?

A pixel is an error where the predicted class is not the true one; truth 255 is left out. The score
of a frame is the uncertainty, higher is more likely wrong. Two protocols, not interchangeable:
- error detection of ObsNet (Besnier et al., ICCV 2021): pooled, 9999 equally filled steps, its own
  FPR95 with right pixels as positives;
- failure detection of SynthCP (Xia et al., ECCV 2020): AP and AUROC pooled, FPR95 by image with
  errors as positives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import FrameResult, split_scores
from anomaly_seg_ros.metrics.curve import exact_steps, nearest_fpr95_of
from anomaly_seg_ros.metrics.outcomes import accept, error_frame
from anomaly_seg_ros.metrics.pixel import ExactScores, PixelScores, ScoreHistogram

STEPS = 10_000  # ObsNet: points from none to all accepted pixels, the first left out
TPR_WINDOW = (0.9495, 0.9505)  # ObsNet and ConfidNet: what counts as a TPR of 95 %
CONFIDNET_STEPS = 1000
_TINY = 1e-11  # ObsNet adds it to denominators


# --- ObsNet ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ErrorDetectionScores:
    """Fractions in 0..1; each exact value lies within its `_within` of the stated one.

    aupr_success: right pixels as positives. aupr_error: errors as positives. fpr95: share of the
    errors accepted at the first step that accepts 94.95 to 95.05 % of the right pixels, 0 where no
    step does.
    """

    aupr_success: float
    aupr_error: float
    auroc: float
    fpr95: float
    accuracy: float
    pixels: int
    errors: int
    aupr_success_within: float = 0.0
    aupr_error_within: float = 0.0
    auroc_within: float = 0.0
    fpr95_within: float = 0.0


class ExactErrorDetection:
    """ObsNet's error detection without approximation: keeps every labelled pixel, 4 bytes each.

    Pixels of equal uncertainty count as evenly mixed (the official order among them is left to its
    sort), so neither the order of frames nor of pixels matters.
    """

    def __init__(self) -> None:
        self.pixels = ExactScores()  # errors are its anomalies

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError without classes, and for NaN at a labelled pixel."""
        self.pixels.update(error_frame(frame))

    def merge(self, other: ExactErrorDetection) -> None:
        """Add what another worker kept."""
        self.pixels.merge(other.pixels)

    def compute(self) -> ErrorDetectionScores:
        """Raises MetricError without a right pixel or without an error."""
        right = np.sort(np.concatenate([np.empty(0, np.float32), *self.pixels.known]))
        wrong = np.sort(np.concatenate([np.empty(0, np.float32), *self.pixels.anomalous]))
        values = np.union1d(right, wrong)
        return _Steps(_tally(right, values), _tally(wrong, values)).scores(_EXACT)


class ErrorDetectionHistogram:
    """ObsNet's error detection from a ScoreHistogram of `bits` bits: bounded memory.

    Pixels of one bin count as evenly mixed. The stated errors hold for every order the pixels
    within each bin may have: all areas are lowest with the errors of a bin first and highest with
    its right pixels first.
    """

    def __init__(self, bits: int = 22) -> None:
        self.pixels = ScoreHistogram(bits)  # errors are its anomalies

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError without classes, and for NaN at a labelled pixel."""
        self.pixels.update(error_frame(frame))

    def merge(self, other: ErrorDetectionHistogram) -> None:
        """Add what another worker counted. Raises MetricError when the bins differ."""
        self.pixels.merge(other.pixels)

    def compute(self) -> ErrorDetectionScores:
        """Raises MetricError without a right pixel or without an error."""
        steps = _Steps(self.pixels.known, self.pixels.anomalous)
        return steps.scores(steps.within())


@dataclass(frozen=True)
class _Readings:
    """What is read from one curve, or how far that may be off."""

    aupr_success: float
    aupr_error: float
    auroc: float
    fpr95: float


_EXACT = _Readings(0.0, 0.0, 0.0, 0.0)


class _Steps:
    """ObsNet's curve: the surest pixels are accepted, in 9999 equal steps until all are.

    right, wrong: int64 [bins], pixels by rising uncertainty.
    """

    def __init__(self, right: np.ndarray, wrong: np.ndarray) -> None:
        used = np.flatnonzero(right + wrong)
        right, wrong = right[used], wrong[used]
        self.right, self.wrong = int(right.sum()), int(wrong.sum())
        if not self.right or not self.wrong:
            raise MetricError(
                f"error detection needs right and wrong pixels; found {self.right} right and "
                f"{self.wrong} wrong ones in all frames: check predicted and true classes"
            )
        self.surest = np.linspace(0, self.right + self.wrong, STEPS)[1:].astype(np.int64)
        self.accepted = accept(self.surest, right, wrong)

    def scores(self, within: _Readings) -> ErrorDetectionScores:
        found = self.read(self.accepted.mixed)
        return ErrorDetectionScores(
            aupr_success=found.aupr_success,
            aupr_error=found.aupr_error,
            auroc=found.auroc,
            fpr95=found.fpr95,
            accuracy=self.right / (self.right + self.wrong),
            pixels=self.right + self.wrong,
            errors=self.wrong,
            aupr_success_within=within.aupr_success,
            aupr_error_within=within.aupr_error,
            auroc_within=within.auroc,
            fpr95_within=within.fpr95,
        )

    def read(self, tp: np.ndarray) -> _Readings:
        """tp: right pixels accepted at each step."""
        fp = self.surest - tp
        fn, tn = self.right - tp, self.wrong - fp
        tpr, fpr = tp / (tp + fn + _TINY), fp / (fp + tn + _TINY)
        inside = (tpr >= TPR_WINDOW[0]) & (tpr <= TPR_WINDOW[1])
        return _Readings(
            aupr_success=_area(tp / (tp + fp + _TINY), tpr),
            aupr_error=_area((tn / (tn + fn + _TINY))[::-1], (tn / (tn + fp + _TINY))[::-1]),
            auroc=_area(tpr, fpr),
            fpr95=float(fpr[inside.argmax()]) if inside.any() else 0.0,
        )

    def within(self) -> _Readings:
        """How far the values of any order within the bins are from those of even mixing.

        Along a path from one order to another each area only grows while right pixels move ahead:
        its derivative by the right pixels of a step is not negative, but for the first step of
        aupr_success, where the curve starts without an anchor and which is allowed for.
        """
        least, most = self.accepted.least, self.accepted.most
        value, low, high = (self.read(tp) for tp in (self.accepted.mixed, least, most))
        start = 1.5 * float(most[0] - least[0]) / self.right  # |derivative| <= 3 / (2 right)
        return _Readings(
            aupr_success=_reach(low.aupr_success, value.aupr_success, high.aupr_success) + start,
            aupr_error=_reach(low.aupr_error, value.aupr_error, high.aupr_error),
            auroc=_reach(low.auroc, value.auroc, high.auroc),
            fpr95=self._fpr95_within(value.fpr95),
        )

    def _fpr95_within(self, value: float) -> float:
        least, most = self.accepted.least, self.accepted.most
        lowest, highest = least / self.right, most / self.right  # TPR
        possible = np.flatnonzero((highest >= TPR_WINDOW[0]) & (lowest <= TPR_WINDOW[1]))
        certain = np.flatnonzero((lowest >= TPR_WINDOW[0]) & (highest <= TPR_WINDOW[1]))
        if not possible.size:
            return 0.0
        first, last = possible[0], certain[0] if certain.size else possible[-1]
        high = float(self.surest[last] - least[last]) / self.wrong
        low = float(self.surest[first] - most[first]) / self.wrong if certain.size else 0.0
        return _reach(low, value, high)


def _reach(low: float, value: float, high: float) -> float:
    return max(value - low, high - value, 0.0)


def _area(y: np.ndarray, x: np.ndarray) -> float:
    """Trapezoid of y over x."""
    return float(np.sum((y[1:] + y[:-1]) * np.diff(x)) / 2)


def _tally(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many of the sorted pixels have each value: int64 [values]."""
    return np.diff(np.searchsorted(pixels, values, side="right"), prepend=0)


# --- SynthCP -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class FailureScores:
    """Fractions in 0..1; each exact value lies within its `_within` of the stated one.

    aupr_error: AP of the errors. aupr_success: AP of the right pixels, the surest first. auroc: one
    for both. fpr95: mean over the `frames` that have right and wrong pixels of the share of right
    pixels flagged where the recall of errors is nearest to 95 %; exact always, NaN without such
    frames.
    """

    aupr_error: float
    aupr_success: float
    auroc: float
    fpr95: float
    pixels: int
    errors: int
    frames: int
    aupr_error_within: float = 0.0
    aupr_success_within: float = 0.0
    auroc_within: float = 0.0


class FailureDetection:
    """SynthCP's failure detection from a ScoreHistogram of `bits` bits: bounded memory, but for one
    number of each image.
    """

    def __init__(self, bits: int = 22) -> None:
        self.pixels = ScoreHistogram(bits)  # errors are its anomalies
        self.fpr95s: list[float] = []

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError without classes, and for NaN at a labelled pixel."""
        errors = error_frame(frame)
        self.pixels.update(errors)
        self.fpr95s += _fpr95_of(errors)

    def merge(self, other: FailureDetection) -> None:
        """Add what another worker counted. Raises MetricError when the bins differ."""
        self.pixels.merge(other.pixels)
        self.fpr95s += other.fpr95s

    def compute(self) -> FailureScores:
        """Raises MetricError without a right pixel or without an error."""
        success = ScoreHistogram(self.pixels.bits)
        success.known, success.anomalous = self.pixels.anomalous[::-1], self.pixels.known[::-1]
        return _failure_scores(self.pixels.compute(), success.compute(), self.fpr95s)


class ExactFailureDetection:
    """SynthCP's failure detection without approximation: keeps every pixel, 4 bytes each."""

    def __init__(self) -> None:
        self.pixels = ExactScores()  # errors are its anomalies
        self.fpr95s: list[float] = []

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError without classes, and for NaN at a labelled pixel."""
        errors = error_frame(frame)
        self.pixels.update(errors)
        self.fpr95s += _fpr95_of(errors)

    def merge(self, other: ExactFailureDetection) -> None:
        """Add what another worker kept."""
        self.pixels.merge(other.pixels)
        self.fpr95s += other.fpr95s

    def compute(self) -> FailureScores:
        """Raises MetricError without a right pixel or without an error."""
        success = ExactScores()
        success.known = [-uncertainty for uncertainty in self.pixels.anomalous]
        success.anomalous = [-uncertainty for uncertainty in self.pixels.known]
        return _failure_scores(self.pixels.compute(), success.compute(), self.fpr95s)


def _fpr95_of(errors: FrameResult) -> list[float]:
    """The frame's FPR95; nothing for a frame of right or of wrong pixels only."""
    right, wrong = split_scores(errors.score, errors.label)
    if not right.size or not wrong.size:
        return []
    return [nearest_fpr95_of(exact_steps(right, wrong)[1])]


def _failure_scores(
    of_errors: PixelScores, of_success: PixelScores, fpr95s: list[float]
) -> FailureScores:
    return FailureScores(
        aupr_error=of_errors.ap,
        aupr_success=of_success.ap,
        auroc=of_errors.auroc,
        fpr95=float(np.mean(fpr95s)) if fpr95s else float("nan"),
        pixels=of_errors.positives + of_errors.negatives,
        errors=of_errors.positives,
        frames=len(fpr95s),
        aupr_error_within=of_errors.ap_error,
        aupr_success_within=of_success.ap_error,
        auroc_within=of_errors.auroc_error,
    )


# --- ConfidNet ---------------------------------------------------------------------------------


def confidnet_fpr95(uncertainty: np.ndarray, right: np.ndarray) -> float:
    """Share of errors accepted at the first of 1000 thresholds that accepts 95 % of right pixels.

    uncertainty: float [n]. right: bool [n], the positives here. Thresholds rise in equal steps over
    the range of the confidence, -uncertainty; 95 % means 94.95 to 95.05 %, and NaN tells that no
    threshold accepts so many. Source: ConfidNet (Corbiere et al., NeurIPS 2019).
    """
    lowest, highest = -float(uncertainty.max()), -float(uncertainty.min())
    if lowest == highest or right.all() or not right.any():
        raise MetricError("ConfidNet's FPR needs right and wrong pixels and two distinct scores")
    thresholds = np.arange(lowest, highest, (highest - lowest) / CONFIDNET_STEPS)

    def accepted(kind: np.ndarray) -> np.ndarray:
        confidence = np.sort(-uncertainty[kind].astype(np.float64))
        return 1 - np.searchsorted(confidence, thresholds) / confidence.size

    tpr = accepted(right)
    inside = (tpr >= TPR_WINDOW[0]) & (tpr <= TPR_WINDOW[1])
    return float(accepted(~right)[inside.argmax()]) if inside.any() else float("nan")
