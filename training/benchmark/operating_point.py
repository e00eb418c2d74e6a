"""A threshold chosen on frames of its own, with a stated guarantee, and what it does elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import ANOMALY, KNOWN, FalseRegions, RiskCurves
from training.benchmark.results import BenchmarkError
from training.benchmark.scored_frames import ScoredFrame

MIN_REGION = 200  # pixels at the evaluated size: smaller false regions are not counted
RISKS = {
    "false_alarms": "share of known pixels marked",
    "misses": "share of anomalous pixels not marked",
    "missed_objects": "chance that an object of the frame has no marked pixel",
}


@dataclass(frozen=True)
class ChosenPoint:
    """A threshold for s >= threshold and how it was chosen."""

    threshold: float
    rule: str


@dataclass(frozen=True)
class Calibration:
    """Conformal risk control on a dataset: the expected risk of a new such frame is at most alpha.

    risk: one of RISKS. See `anomaly_seg_ros.metrics.conformal`.
    """

    dataset: str
    risk: str
    alpha: float

    @classmethod
    def parse(cls, dataset: str, risk: str) -> Calibration:
        """Read risk "false_alarms=0.01". Raises BenchmarkError."""
        kind, _, value = risk.partition("=")
        try:
            alpha = float(value)
        except ValueError:
            alpha = 0.0
        if kind not in RISKS or not 0 < alpha < 1:
            raise BenchmarkError(
                f"risk {risk!r}: expected KIND=ALPHA with a kind of {', '.join(RISKS)} and an "
                "alpha between 0 and 1, for example false_alarms=0.01"
            )
        return cls(dataset, kind, alpha)

    def curves(self) -> RiskCurves:
        """An empty accumulator for the calibration frames."""
        return RiskCurves()

    def select(self, curves: RiskCurves) -> ChosenPoint:
        """Raises MetricError when the frames are too few for alpha."""
        chosen = getattr(curves.compute(), self.risk).select(self.alpha)
        return ChosenPoint(
            chosen.threshold,
            f"score >= {chosen.threshold:.6g}: expected {RISKS[self.risk]} of a new frame at most "
            f"{self.alpha:g} (conformal risk control on {chosen.frames} frames of {self.dataset})",
        )


@dataclass(frozen=True)
class AtThreshold:
    """Fractions; means over frames. None where no frame defines it."""

    recall: float | None  # pooled share of anomalous pixels marked
    precision: float | None  # pooled
    false_alarms: float | None  # mean share of a frame's known pixels marked
    misses: float | None  # mean share of a frame's anomalous pixels not marked
    false_regions: float  # per 100 frames


class ThresholdScores:
    """What a fixed threshold marks: a streaming accumulator."""

    def __init__(self, threshold: float) -> None:
        self.threshold = np.float32(threshold)
        self.counts = np.zeros((2, 2), np.int64)  # [known, anomalous] x [left, marked]
        self.alarms: list[float] = []
        self.misses: list[float] = []
        self.regions = FalseRegions(MIN_REGION)

    def update(self, frame: ScoredFrame) -> None:
        """Add a frame."""
        marked = frame.score >= self.threshold
        counts = np.array(
            [
                [np.count_nonzero(of & ~marked), np.count_nonzero(of & marked)]
                for of in (frame.label == KNOWN, frame.label == ANOMALY)
            ]
        )
        self.counts += counts
        if counts[0].any():
            self.alarms.append(counts[0, 1] / counts[0].sum())
        if counts[1].any():
            self.misses.append(counts[1, 0] / counts[1].sum())
        self.regions.update(marked.astype(np.uint8), frame.label)

    def merge(self, other: ThresholdScores) -> None:
        """Add later frames. Raises MetricError for another threshold."""
        if self.threshold != other.threshold:
            raise MetricError(f"thresholds {self.threshold} and {other.threshold} do not merge")
        self.counts += other.counts
        self.alarms += other.alarms
        self.misses += other.misses
        self.regions.merge(other.regions)

    def compute(self) -> AtThreshold:
        """Raises MetricError before the first frame."""
        (_, false), (missed, found) = self.counts.tolist()
        return AtThreshold(
            recall=found / (found + missed) if found + missed else None,
            precision=found / (found + false) if found + false else None,
            false_alarms=float(np.mean(self.alarms)) if self.alarms else None,
            misses=float(np.mean(self.misses)) if self.misses else None,
            false_regions=self.regions.compute().per_100_frames,
        )
