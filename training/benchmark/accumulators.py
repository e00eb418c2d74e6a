"""Accumulators around those of `anomaly_seg_ros.metrics`: several at once, guarded, masked."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FalseRegions, FrameResult, PooledIntervals, ScoreHistogram
from training.benchmark.operating_point import MIN_REGION
from training.benchmark.scored_frames import ScoredFrame


class Nothing:
    """Counts nothing: for figures that come from the pooled scores every run has."""

    def update(self, frame: FrameResult) -> None:
        """Leave the frame alone."""

    def merge(self, other: Nothing) -> None:
        """Leave the other alone."""


class Guarded:
    """An accumulator whose first MetricError is kept instead of ending the run.

    Frames are checked before they come here; what is refused here does not fit the protocol (no
    classes, scores out of its range), which is a reason for the table and not a fault of the frame.
    """

    NOTHING: ClassVar[Nothing] = Nothing()

    def __init__(self, accumulator: Any) -> None:
        self.accumulator = accumulator
        self.refusal: str | None = None

    def update(self, frame: ScoredFrame) -> None:
        """Add a frame, unless one was refused before."""
        if self.refusal is None:
            try:
                self.accumulator.update(frame)
            except MetricError as error:
                self.refusal = str(error)

    def merge(self, other: Guarded) -> None:
        """Add later frames; the first refusal stays."""
        self.refusal = self.refusal or other.refusal
        if self.refusal is None:
            self.accumulator.merge(other.accumulator)

    def checked(self) -> Any:
        """The accumulator. Raises MetricError with the reason of a refusal."""
        if self.refusal is not None:
            raise MetricError(self.refusal)
        return self.accumulator


class Together:
    """Several accumulators over the same frames."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def update(self, frame: ScoredFrame) -> None:
        """Add a frame to each."""
        for part in self.parts:
            part.update(frame)

    def merge(self, other: Together) -> None:
        """Add later frames to each."""
        for mine, theirs in zip(self.parts, other.parts, strict=True):
            mine.merge(theirs)


class Pooled:
    """The pooled curve of all pixels, and what its intervals are drawn from."""

    def __init__(self) -> None:
        self.histogram = ScoreHistogram()
        self.intervals = PooledIntervals()

    def update(self, frame: FrameResult) -> None:
        """Add a frame."""
        self.histogram.update(frame)
        self.intervals.update(frame)

    def merge(self, other: Pooled) -> None:
        """Add later frames."""
        self.histogram.merge(other.histogram)
        self.intervals.merge(other.intervals)


class MaskedFalseRegions(FalseRegions):
    """FalseRegions of a contender's own mask."""

    def __init__(self) -> None:
        super().__init__(MIN_REGION)

    def update(self, frame: ScoredFrame) -> None:  # type: ignore[override]
        """Add a frame. Raises MetricError for a contender without an operating point."""
        if frame.mask is None:
            raise MetricError("this contender has no operating point, so it marks nothing")
        super().update(frame.mask.astype(np.uint8), frame.label)
