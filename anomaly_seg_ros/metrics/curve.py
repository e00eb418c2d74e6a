"""The exact curve of an anomaly score and what is read from it.

With the known pixels as negatives, the anomalous ones as positives and s >= t as detection:
- AP, the step sum of precision over recall, one step per distinct score (scikit-learn's
  average_precision_score; AuPRC in the benchmarks);
- AUROC, the trapezoid of TPR over FPR, so that a tie counts one half;
- FPR95, the FPR at the first threshold, from above, with TPR >= 0.95;
- the FPR where the recall is nearest to 0.95, which the benchmarks that go image by image call
  FPR95 too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TPR_OF_INTEREST = 0.95


@dataclass(frozen=True, eq=False)
class Curve:
    """Points from the highest threshold down: float64 [n] each, but for the thresholds' own dtype.

    recall (TPR) and fpr rise from 0 to 1; precision is 1 where nothing is detected.
    """

    thresholds: np.ndarray
    recall: np.ndarray
    fpr: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True, eq=False)
class Steps:
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

    @property
    def recall(self) -> np.ndarray:
        """float64 [n], up to 1."""
        return self.detected / self.all_positives


def exact_steps(known: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, Steps]:
    """The distinct scores of the anomalous pixels, falling, and the curve at each.

    known, anomalous: float [n] and [m], no NaN, in any order.
    """
    known = np.sort(known)
    scores, counts = np.unique(anomalous, return_counts=True)
    below = np.searchsorted(known, scores, side="left")
    up_to = np.searchsorted(known, scores, side="right")
    steps = Steps(
        positives=counts[::-1],
        tied=(up_to - below)[::-1],
        above=(known.size - up_to)[::-1],
        all_positives=anomalous.size,
        all_negatives=known.size,
    )
    return scores[::-1], steps


def curve_of(scores: np.ndarray, steps: Steps) -> Curve:
    """The steps as a curve, with the point above all scores where nothing is detected."""
    false = steps.above + steps.tied
    precision = steps.detected / (steps.detected + false)
    return Curve(
        thresholds=np.concatenate([np.full(1, np.inf, scores.dtype), scores]),
        recall=np.concatenate([[0.0], steps.recall]),
        fpr=np.concatenate([[0.0], false / steps.all_negatives]),
        precision=np.concatenate([[1.0], precision]),
    )


def ap_of(steps: Steps) -> float:
    detected = steps.detected
    precision = detected / (detected + steps.above + steps.tied)
    return float(np.sum(steps.positives / steps.all_positives * precision))


def auroc_of(steps: Steps) -> float:
    below = (steps.all_negatives - steps.above - steps.tied / 2) / steps.all_negatives
    return float(np.sum(steps.positives / steps.all_positives * below))


def step_of_fpr95(steps: Steps) -> int:
    """The first step, from above, whose recall reaches 0.95."""
    return int(np.argmax(steps.recall >= TPR_OF_INTEREST))


def fpr95_of(steps: Steps) -> float:
    at = step_of_fpr95(steps)
    return float((steps.above[at] + steps.tied[at]) / steps.all_negatives)


def nearest_fpr95_of(steps: Steps) -> float:
    """FPR where |recall - 0.95|, in float64, is smallest; the higher recall where two are.

    Of the thresholds with that recall the lowest counts: the one before the next positive is
    detected. Only full recall is taken at its first threshold.
    """
    distance = np.abs(steps.recall - TPR_OF_INTEREST)
    last = distance.size - 1
    at = last - int(np.argmin(distance[::-1]))
    false = steps.above[at + 1] if at < last else steps.above[at] + steps.tied[at]
    return float(false / steps.all_negatives)
