"""Whether the scores of now are still those the bundle was calibrated on.

Compared is the share of scores between each two of the bundle's reference quantiles with what it
was on the reference drives, by the population stability index (Lewis, An Introduction to Credit
Scoring, 1992): PSI = sum (now - then) ln(now / then), 0 for equal shares. By custom below 0.1 is no
change, above 0.25 a large one. The bins that the quantiles make are narrow at the upper end, so
that a tail that alarms come from counts for more than its share of pixels.

It tells that the picture changed (dusk, rain, a dirty lens, another town), never what is wrong, and
nothing acts on it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.backends import Runner
from anomaly_seg_ros.backends.base import RunnerInfo, RunResult
from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.score_quantiles import QUANTILE_LEVELS

WINDOW = 600  # frames
LIMIT = 0.25  # PSI from which a change is told
CLEARED = 0.4  # of the limit: below it the change is over
CELL_STEP = 2  # rows and columns of the grid that are looked at: neighbours tell little new
SMALLEST_SHARE = 1e-4  # stands for an empty bin, whose logarithm would be infinite


@dataclass(frozen=True)
class Drift:
    """The last frames against the reference. psi and rank are None until the window is full.

    rank: mean place of the scores among the reference's, 0..1; above 0.5 they are higher.
    note: why nothing is compared, empty where it is.
    """

    frames: int  # in the window
    psi: float | None = None
    rank: float | None = None
    drifting: bool = False
    note: str = ""


class DriftMonitor:
    """The scores of the last `window` frames against reference quantiles, with hysteresis.

    A drift begins when a full window's PSI is above `limit` and ends below CLEARED of it. Memory:
    13 shares for each frame of the window. `update` and `drift` may be called by two threads.
    """

    def __init__(
        self, reference: Sequence[float], window: int = WINDOW, limit: float = LIMIT
    ) -> None:
        """reference: the scores at QUANTILE_LEVELS. Raises MetricError for other lengths, a
        reference of one value, a window below 1 and a limit that is not above 0."""
        fault = reference_fault(reference)
        if fault:
            raise MetricError(fault)
        if window < 1 or not limit > 0:
            raise MetricError(f"window {window}, limit {limit}; expected 1 or more and above 0")
        # Scores up to and with an edge lie below it. Levels that share a score share an edge.
        edges, last = np.unique(np.asarray(reference, np.float32)[::-1], return_index=True)
        self._edges = edges[1:-1]
        levels = np.asarray(QUANTILE_LEVELS)[::-1][last]
        self._then = np.diff(np.concatenate([[0.0], levels[1:-1], [1.0]]))
        self._middle = np.cumsum(self._then) - self._then / 2
        self._window, self._limit = window, limit
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all frames, and a drift with them."""
        with self._lock:
            self._shares = np.zeros((self._window, self._then.size))
            self._frames = 0
            self._drifting = False

    def update(self, score: np.ndarray) -> None:
        """Add a frame's scores: float32 [h, w], the network's grid, finite."""
        cells = score[::CELL_STEP, ::CELL_STEP].ravel()
        bins = np.searchsorted(self._edges, cells, side="left")
        shares = np.bincount(bins, minlength=self._then.size) / cells.size
        with self._lock:
            self._shares[self._frames % self._window] = shares
            self._frames += 1
            if self._frames >= self._window:
                psi = self._psi()
                self._drifting = psi > self._limit * (CLEARED if self._drifting else 1)

    def drift(self) -> Drift:
        """The state after the last frame."""
        with self._lock:
            if self._frames < self._window:
                return Drift(self._frames)
            rank = float(self._shares.mean(axis=0) @ self._middle)
            return Drift(self._window, self._psi(), rank, self._drifting)

    def _psi(self) -> float:
        now = np.maximum(self._shares.mean(axis=0), SMALLEST_SHARE)
        return float(np.sum((now - self._then) * np.log(now / self._then)))


class DriftWatch:
    """The drift of one camera, and why nothing is compared where that is so."""

    def __init__(
        self, reference: Sequence[float], window: int = WINDOW, limit: float = LIMIT
    ) -> None:
        """reference: the bundle's quantiles; where they are none, `drift().note` says so. limit 0:
        nothing is compared."""
        fault = reference_fault(reference)
        self._note = f"no reference: {fault}" if fault else "" if limit > 0 else "off"
        self._monitor = None if self._note else DriftMonitor(reference, window, limit)

    def update(self, score: np.ndarray) -> None:
        """Add a frame's scores, float32 [h, w]; one that is not finite is passed over."""
        if self._monitor and np.isfinite(score).all():  # else the detector refuses the frame
            self._monitor.update(score)

    def drift(self) -> Drift:
        """The state after the last frame."""
        return self._monitor.drift() if self._monitor else Drift(0, note=self._note)

    def reset(self) -> None:
        """Forget all frames."""
        if self._monitor:
            self._monitor.reset()


class WatchedRunner(Runner):
    """A runner that watches for drift in every run that makes the score anyway.

    `watches` belong to the images of the next run, in their order. Runs for labels alone, which
    make no score, are not seen: nothing is computed for the sake of the comparison.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.watches: Sequence[DriftWatch] = ()

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        result = self._runner.run(image, wanted)
        if "score" in result.arrays:
            for watch, score in zip(self.watches, result.arrays["score"], strict=True):
                watch.update(score)
        return result

    def warmup(self, runs: int = 2) -> float:
        return self._runner.warmup(runs)

    def describe(self) -> RunnerInfo:
        return self._runner.describe()

    def close(self) -> None:
        self._runner.close()


def reference_fault(reference: Sequence[float]) -> str | None:
    """Why these quantiles of a bundle are no reference to compare with, or None."""
    if len(reference) != len(QUANTILE_LEVELS):
        return (
            f"the bundle has {len(reference)} quantiles, {len(QUANTILE_LEVELS)} are expected: "
            "see anomaly-seg calibrate"
        )
    if len(np.unique(np.asarray(reference, np.float32))) < 3:
        return "the bundle's quantiles hardly differ: see anomaly-seg calibrate"
    return None
