"""Thresholds with a guarantee, from frames that are exchangeable with those to come.

Conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster, 2022, theorem 1): with losses
of 0..1 that only fall while the threshold moves in its cautious direction, the first threshold with
n / (n + 1) * mean loss + 1 / (n + 1) <= alpha on n frames has an expected loss <= alpha on a new
frame. Guaranteed is the mean over calibration sets and new frames together, not the loss of each
frame nor of one calibration set; and nothing once the new frames are of another kind.

For counts of frames `share_bound` and `certified` hold with a stated confidence instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import ANOMALY, FrameResult
from anomaly_seg_ros.metrics.pixel import ScoreHistogram
from anomaly_seg_ros.metrics.score_bins import lower_edges

_BISECTIONS = 50  # to 1e-15


@dataclass(frozen=True)
class ControlledThreshold:
    """A threshold for s >= threshold with expected loss <= alpha on a new exchangeable frame.

    risk: mean loss of the `frames` it was chosen on. bound: n / (n + 1) * risk + 1 / (n + 1).
    """

    threshold: float
    alpha: float
    risk: float
    bound: float
    frames: int


@dataclass(frozen=True, eq=False)
class RiskCurve:
    """Mean loss of `frames` frames at each threshold for s >= threshold.

    thresholds: float32 [n], rising, fixed before any frame was seen. risk: float64 [n] in 0..1, NaN
    without a frame. falls: whether it falls while the threshold rises (else it rises with it).
    """

    thresholds: np.ndarray
    risk: np.ndarray
    frames: int
    falls: bool

    def select(self, alpha: float) -> ControlledThreshold:
        """The least cautious threshold that keeps the expected loss of a new frame <= alpha.

        That is the lowest one where the loss falls with the threshold and the highest one where it
        rises. Raises MetricError for alpha outside 0..1, for too few frames (1 / alpha - 1 are
        needed even if none has a loss), and when no finite threshold is enough.
        """
        if not 0 < alpha < 1:
            raise MetricError(f"alpha is {alpha}; expected a risk between 0 and 1")
        spare = 1 / (self.frames + 1)
        if spare > alpha:
            needed = math.ceil(1 / alpha - 1 - 1e-9)
            raise MetricError(
                f"{self.frames} frames cannot show a risk of {alpha}: expected {needed} or more, "
                f"or a risk of {spare:.3g} or more"
            )
        bound = self.frames * spare * self.risk + spare
        enough = np.flatnonzero(bound <= alpha)
        if not enough.size:
            raise MetricError(
                f"no finite threshold keeps the risk at {alpha}; the lowest possible bound is "
                f"{bound.min():.3g}: look for infinite scores or allow more"
            )
        at = enough[0] if self.falls else enough[-1]
        return ControlledThreshold(
            threshold=float(self.thresholds[at]),
            alpha=alpha,
            risk=float(self.risk[at]),
            bound=float(bound[at]),
            frames=self.frames,
        )


@dataclass(frozen=True, eq=False)
class Risks:
    """Curves of three losses of a frame; each counts the frames for which it is defined.

    false_alarms: share of the known pixels that are flagged; frames with a known pixel.
    misses: share of the anomalous pixels that are not; frames with an anomaly.
    missed_objects: 1 when an object has no flagged pixel, else 0; frames with an object.
    """

    false_alarms: RiskCurve
    misses: RiskCurve
    missed_objects: RiskCurve


class RiskCurves:
    """Mean losses by threshold, one threshold for each bin of a ScoreHistogram of `bits` bits.

    Neighbouring thresholds differ by 1/128 of their value at most with 16 bits; the guarantee is
    exact on them all the same. Bounded memory: 1.5 MiB for any number of frames. An object is a set
    of at least `min_area` anomalous pixels connected through sides or corners.
    """

    def __init__(self, bits: int = 16, min_area: int = 1) -> None:
        if min_area < 1:
            raise MetricError(f"objects of {min_area} pixels; expected min_area of 1 or more")
        self.bits = ScoreHistogram(bits).bits  # checks them
        self.min_area = min_area
        # By bin, summed over frames: shares of known and of anomalous pixels, and of the frames
        # those whose faintest object has its highest score here.
        self.shares = np.zeros((3, 1 << bits))
        self.frames = np.zeros(3, np.int64)

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError for NaN at a pixel that is not void, and odd labels."""
        histogram = ScoreHistogram(self.bits)
        histogram.update(frame)
        faintest = ScoreHistogram(self.bits)
        peaks = self._peaks(frame) if histogram.anomalous.any() else np.empty(0, np.float32)
        if peaks.size:
            faintest.update(FrameResult(peaks.min(keepdims=True)[None], np.zeros((1, 1), np.uint8)))
        for kind, (first, counts) in enumerate(
            (
                (histogram.first, histogram.known),
                (histogram.first, histogram.anomalous),
                (faintest.first, faintest.known),
            )
        ):
            if counts.any():
                self.shares[kind, first : first + counts.size] += counts / counts.sum()
                self.frames[kind] += 1

    def merge(self, other: RiskCurves) -> None:
        """Add another worker's. Raises MetricError when the bins or the objects differ."""
        if (self.bits, self.min_area) != (other.bits, other.min_area):
            raise MetricError(
                f"cannot merge risks of {self.bits} bits, min_area {self.min_area} and of "
                f"{other.bits} bits, min_area {other.min_area}"
            )
        self.shares += other.shares
        self.frames += other.frames

    def compute(self) -> Risks:
        """The curves; those without a frame have NaN risk and select nothing."""
        edges = lower_edges(np.arange(1 << self.bits), self.bits)
        finite = np.isfinite(edges)
        shares = self.shares / np.where(self.frames, self.frames, np.nan)[:, None]
        # Sums from the safe end, where nothing is lost: exactly 0 there.
        above = np.cumsum(shares[0, ::-1])[::-1]
        below = np.concatenate([np.zeros((2, 1)), np.cumsum(shares[1:], axis=1)[:, :-1]], axis=1)
        risks = [
            RiskCurve(edges[finite], risk[finite], int(frames), falls)
            for risk, frames, falls in zip(
                (above, *below), self.frames, (True, False, False), strict=True
            )
        ]
        return Risks(*risks)

    def _peaks(self, frame: FrameResult) -> np.ndarray:
        """The highest score of each object: float32 [n]."""
        anomalous = (frame.label == ANOMALY).astype(np.uint8)
        count, objects, stats, _ = cv2.connectedComponentsWithStats(anomalous, connectivity=8)
        peaks = np.full(count, -np.inf, np.float32)
        inside = anomalous != 0
        np.maximum.at(peaks, objects[inside], frame.score[inside])
        return peaks[1:][stats[1:, cv2.CC_STAT_AREA] >= self.min_area]


def share_bound(events: int, frames: int, confidence: float = 0.95) -> float:
    """The share of frames with an event is at most this, with the stated confidence.

    events: how many of `frames` independent frames had one, say a false region. Exact one-sided
    bound of Clopper and Pearson (1934): the share at which so few events have the probability
    1 - confidence. Raises MetricError for impossible counts or a confidence outside 0..1.
    """
    if not 0 <= events <= frames or frames < 1 or not 0 < confidence < 1:
        raise MetricError(
            f"{events} events in {frames} frames at confidence {confidence}; expected 0 to as many "
            "events as frames and a confidence between 0 and 1"
        )
    if events == frames:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _at_most(events, frames, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def certified(
    events: Sequence[int], frames: int, alpha: float, confidence: float = 0.95
) -> int | None:
    """Which threshold may be used so that the share of frames with an event is <= alpha, with the
    stated confidence; None when not even the first.

    events: of the same `frames` frames, how many had an event at each of some thresholds fixed
    beforehand, most cautious first. They are tested in that order up to the first whose bound is
    above alpha (fixed sequence testing; Angelopoulos, Bates, Candes, Jordan and Lei, Learn then
    Test, 2021), so that the confidence holds for the choice too. Raises MetricError as share_bound
    does, and when so few frames could not show alpha even without an event.
    """
    if not 0 < alpha < 1 or not 0 < confidence < 1:
        raise MetricError(
            f"a share of {alpha} with confidence {confidence}; expected both between 0 and 1"
        )
    needed = math.ceil(math.log(1 - confidence) / math.log1p(-alpha) - 1e-9)
    if frames < needed:
        raise MetricError(
            f"{frames} frames cannot show a share of {alpha} with confidence {confidence}; "
            f"expected {needed} or more"
        )
    last = None
    for number, count in enumerate(events):
        if share_bound(count, frames, confidence) > alpha:
            break
        last = number
    return last


def _at_most(events: int, frames: int, share: float) -> float:
    """Probability of at most so many events in `frames` independent frames."""
    ways = [
        math.lgamma(frames + 1) - math.lgamma(k + 1) - math.lgamma(frames - k + 1)
        for k in range(events + 1)
    ]
    k = np.arange(events + 1)
    return float(np.exp(ways + k * math.log(share) + (frames - k) * math.log1p(-share)).sum())
