"""What a drive without anomalies says about thresholds: false regions, pixels, quantiles.

Everything is counted while the frames stream by, for candidate thresholds fixed beforehand, so
that memory does not grow with the drive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.backends import Runner
from anomaly_seg_ros.backends.base import RunnerInfo, RunResult
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FalseRegions, FrameResult, RiskCurve, ScoreHistogram
from anomaly_seg_ros.score_quantiles import QUANTILE_LEVELS, histogram_quantiles

MIN_REGION = 200  # camera pixels: what counts as a false region
CANDIDATES = np.arange(0.3, 1.0, 0.02)  # parts of the range that the score is shown in


def candidate_thresholds(low: float, high: float) -> np.ndarray:
    """Thresholds to try for scores shown from `low` to `high`: float64 [n], rising.

    Of nine digits, so that what is written into a bundle is what was tried.
    """
    return np.array([float(f"{value:.9g}") for value in low + (high - low) * CANDIDATES])


@dataclass(frozen=True, eq=False)
class RegionCurve:
    """False regions of `frames` frames at each threshold for s >= threshold.

    thresholds: float64 [n], rising. regions, frames_with_regions: int64 [n]. pixels: float64 [n],
    the share of camera pixels in the mask. Fewer frames have a region the higher the threshold;
    `regions` may rise, where one region breaks into several.
    """

    thresholds: np.ndarray
    regions: np.ndarray
    frames_with_regions: np.ndarray
    pixels: np.ndarray
    frames: int

    @property
    def bound(self) -> np.ndarray:
        """Conformal bound of the share of frames with a false region: float64 [n]."""
        return (self.frames_with_regions + 1) / (self.frames + 1)

    def smallest(self, limit: float) -> int | None:
        """Index of the lowest threshold with at most `limit` false regions a frame, or None."""
        enough = np.flatnonzero(self.regions / self.frames <= limit)
        return int(enough[0]) if enough.size else None

    def controlled(self, limit: float) -> int:
        """Index of the lowest threshold with at most `limit` false regions a frame here, and an
        expected share of frames with a false region of at most `limit` on new ones.

        The second is conformal risk control (metrics.conformal): the loss of a frame, 1 with a
        false region and 0 without, only falls while the threshold rises, since masks only shrink.
        It holds on average over drives and frames exchangeable with these. Raises MetricError for
        a limit outside 0..1, too few frames, and where no threshold is enough.
        """
        if not 0 < limit < 1:
            raise MetricError(
                f"{limit:g} false regions a frame; expected more than 0 and less than 1"
            )
        if self.frames < frames_needed(limit):
            raise MetricError(
                f"{self.frames} frames are too few to show {100 * limit:.3g} false regions per "
                f"100 frames: expected {frames_needed(limit)} or more, even without one; take a "
                "longer drive or allow more"
            )
        share = self.frames_with_regions / self.frames
        risk = RiskCurve(self.thresholds, share, self.frames, falls=True)
        if self.bound[-1] <= limit:
            lowest = risk.select(limit).threshold
            kept = (self.thresholds >= lowest) & (self.regions <= limit * self.frames)
            if kept.any():
                return int(np.flatnonzero(kept)[0])
        raise MetricError(
            f"no threshold of {self.thresholds[0]:g} to {self.thresholds[-1]:g} is enough for "
            f"{100 * limit:.3g} false regions per 100 frames: at the highest there are "
            f"{100 * self.regions[-1] / self.frames:.3g}, on "
            f"{100 * self.frames_with_regions[-1] / self.frames:.3g} frames of 100; try higher "
            "thresholds, allow more, or look for anomalies on the drive"
        )


def frames_needed(limit: float) -> int:
    """Frames that conformal risk control needs to show a risk of `limit`, even without a loss."""
    return math.ceil(1 / limit - 1 - 1e-9)


class DriveCounts:
    """Counts one drive without anomalies on a detector, for one or several focuses at once.

    thresholds: rising. min_region: camera pixels from which a region counts. The detector's region
    of interest and the smallest region of its operating point narrow the masks as on the vehicle;
    its threshold and focus are set to what is tried, and its runner is wrapped.
    """

    def __init__(
        self,
        detector: Detector,
        thresholds: np.ndarray,
        focuses: Sequence[str],
        min_region: int = MIN_REGION,
    ) -> None:
        if len(thresholds) == 0 or not (np.diff(thresholds) > 0).all():
            raise MetricError(f"thresholds {thresholds}; expected some, each above the one before")
        self.frames = 0
        self.scores = ScoreHistogram()  # of the network's grid
        self._detector = detector
        self._answer = _OneAnswer(detector.runner)
        detector.runner = self._answer
        self._thresholds = thresholds
        self._regions = {
            focus: [FalseRegions(min_area=min_region) for _ in thresholds] for focus in focuses
        }
        self._flagged = {focus: np.zeros(len(thresholds), np.int64) for focus in focuses}
        self._pixels = 0

    def update(self, image: np.ndarray) -> None:
        """Add a frame, uint8 [H, W, 3] RGB. Raises DetectorError as `detect` does: the score is
        not finite, or the region of interest has another size. Nothing is counted then."""
        self._answer.forget()
        seen = self._detector.detect(image, wanted=("score",))[0].score
        assert seen is not None  # it was wanted
        highest = np.nanmax(seen)  # NaN where the network did not look
        score = self._answer.arrays["score"][0]
        self.scores.update(FrameResult(score, np.zeros(score.shape, np.uint8)))
        nothing = np.zeros(image.shape[:2], np.uint8)
        for focus, counters in self._regions.items():
            self._detector.focus = focus
            for index, (threshold, counter) in enumerate(
                zip(self._thresholds, counters, strict=True)
            ):
                mask = nothing
                if highest >= np.float32(threshold):
                    self._detector.threshold = float(threshold)
                    found = self._detector.detect(image, wanted=("mask",))[0].mask
                    assert found is not None  # it was wanted
                    mask = found
                    self._flagged[focus][index] += cv2.countNonZero(mask)
                counter.update(mask, nothing)
        self._pixels += nothing.size
        self.frames += 1

    def curve(self, focus: str) -> RegionCurve:
        """The false regions by threshold. Raises MetricError before the first frame."""
        if self.frames == 0:
            raise MetricError("false regions need at least one frame; found none")
        counters = self._regions[focus]
        return RegionCurve(
            self._thresholds,
            np.array([counter.regions for counter in counters], np.int64),
            np.array([counter.frames_with_regions for counter in counters], np.int64),
            self._flagged[focus] / self._pixels,
            self.frames,
        )

    def quantiles(self, levels: Sequence[float] = QUANTILE_LEVELS) -> list[float]:
        """Quantiles of the score on the network's grid, as bundle.yaml holds them."""
        return [round(float(value), 6) for value in histogram_quantiles(self.scores, levels)]


class _OneAnswer(Runner):
    """Runs the network once for each frame: other thresholds get the same answer."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.arrays: dict[str, np.ndarray] = {}

    def forget(self) -> None:
        """The next frame is another one."""
        self.arrays = {}

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        if not self.arrays:
            self.arrays = self._runner.run(image, ("score", "labels")).arrays
        return RunResult({name: self.arrays[name] for name in wanted}, {"total": 0.0})

    def warmup(self, runs: int = 2) -> float:
        return self._runner.warmup(runs)

    def describe(self) -> RunnerInfo:
        return self._runner.describe()

    def close(self) -> None:
        self._runner.close()
