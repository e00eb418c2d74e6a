"""Operating points of a bundle from a recorded drive without anomalies."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from anomaly_seg_ros.bundle import BUNDLE_FILE, SHIPPED, Bundle, write_bundle
from anomaly_seg_ros.bundle_parts import OperatingPoint
from anomaly_seg_ros.calibration import (
    MIN_REGION,
    DriveCounts,
    RegionCurve,
    candidate_thresholds,
    frames_needed,
)
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import BundleError, DetectorError, MetricError, ReplayError
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.scene_source import SceneSource
from anomaly_seg_ros.replay.sources import BadFrame, Source
from anomaly_seg_ros.scenes import RoadSequence
from anomaly_seg_ros.score_quantiles import histogram_quantiles

CARD = "MODEL_CARD.md"
MAX_CANDIDATES = 500  # each costs a mask of every frame
PIXEL_RATES = (("fpr01", 0.01), ("fpr05", 0.05))  # share of the network grid's cells that pass


@dataclass(frozen=True)
class AllowedRate:
    """False regions that are let through: per so many frames, or per minute (frames None)."""

    regions: float
    frames: int | None

    @classmethod
    def parse(cls, text: str) -> AllowedRate:
        """From "1/100", per frames, or "2/min". Raises ReplayError for anything else."""
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)/([0-9]+|min)", text.strip())
        if match is None or float(match[1]) == 0 or match[2].strip("0") == "":
            raise ReplayError(
                f"false regions {text!r}: expected a number per frames or per minute, both above "
                'zero, for example "1/100" or "2/min"'
            )
        return cls(float(match[1]), None if match[2] == "min" else int(match[2]))

    def __str__(self) -> str:
        noun = "false region" if self.regions == 1 else "false regions"
        return f"{self.regions:g} {noun} per " + (
            "minute" if self.frames is None else f"{self.frames} frames"
        )

    def per_frame(self, frames_per_second: float | None) -> float:
        """As false regions a frame. Raises ReplayError for a rate by time without times."""
        if self.frames is not None:
            return self.regions / self.frames
        if frames_per_second is None:
            raise ReplayError(
                "false regions per minute need a recording with rising time stamps; give them per "
                'frames, for example "1/100"'
            )
        return self.regions / (60 * frames_per_second)


@dataclass(frozen=True)
class CalibrateOptions:
    """What to choose, and from which frames: every 3 takes frames 0, 3, 6, ...

    thresholds: lowest, highest and step to try; None: by the bundle's display range.
    region: identity of the region of interest of the detector, for the record.
    """

    rate: AllowedRate
    name: str = "calibrated"
    min_region: int = MIN_REGION
    thresholds: tuple[float, float, float] | None = None
    every: int = 1
    limit: int | None = None
    region: str = ""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a drive says: the new points, and the curve they were read from."""

    points: tuple[OperatingPoint, ...]  # the one by false regions, then those by pixels
    reference_quantiles: list[float]
    curve: RegionCurve
    chosen: int  # index into the curve
    frames_per_second: float | None  # of the recording, by its stamps
    bad_frames: list[BadFrame]
    record: dict[str, Any] = field(default_factory=dict)  # for the bundle's provenance


def calibrate(
    source: Source,
    detector: Detector,
    options: CalibrateOptions,
    *,
    progress: Progress = no_progress,
) -> Calibration:
    """Stream once over a drive without anomalies and choose thresholds.

    The focus and the smallest region of the detector's operating point hold for the new point too.
    Of drawn scenes the drive without unknown objects is taken. Frames that cannot be read are left
    out and listed. Raises ReplayError when none can, and DetectorError or MetricError when a
    score is not finite, there are too few frames, or no threshold is enough.
    """
    if isinstance(source, SceneSource):
        drive = source.sequence
        source.sequence = RoadSequence(drive.seed, drive.size, drive.frames_per_second, False)
    point = detector.operating_point
    _check_names(detector.bundle, options.name)
    _check_length(source, options)
    counts = DriveCounts(
        detector, _candidates(detector.bundle, options), (point.focus,), options.min_region
    )
    stamps, bad = _stream(source, counts, options, progress)
    frames_per_second = _frame_rate(stamps)
    curve = counts.curve(point.focus)
    chosen = curve.controlled(options.rate.per_frame(frames_per_second))
    info = source.describe()
    data = f"{curve.frames} frames of {Path(info.path).name} ({info.kind}, {info.identity})"
    data += ", without unknown objects" if info.kind == "scenes" else ""
    by_regions = OperatingPoint(
        options.name,
        float(curve.thresholds[chosen]),
        f"at most {options.rate}, of {options.min_region} px or more: "
        f"{100 * curve.regions[chosen] / curve.frames:.2f} per 100 frames here; conformal bound of "
        f"the share of frames with one: {curve.bound[chosen]:.2%}",
        data,
        point.focus,
        point.min_region,
    )
    levels = [1 - rate for _, rate in PIXEL_RATES]
    by_pixels = [
        OperatingPoint(
            f"{options.name}_{suffix}",
            round(float(threshold), 6),
            f"{rate:.0%} of normal pixels pass",
            data,
        )
        for (suffix, rate), threshold in zip(
            PIXEL_RATES, histogram_quantiles(counts.scores, levels), strict=True
        )
    ]
    runner = detector.runner.describe()
    return Calibration(
        points=(by_regions, *by_pixels),
        reference_quantiles=counts.quantiles(),
        curve=curve,
        chosen=chosen,
        frames_per_second=frames_per_second,
        bad_frames=bad,
        record={
            "point": options.name,
            "data": data,
            "unreadable_frames": len(bad),
            "every": options.every,
            "frames_per_second": round(frames_per_second, 3) if frames_per_second else "unknown",
            "region_of_interest": options.region or "none",
            "thresholds_tried": [float(value) for value in curve.thresholds[[0, -1]]],
            "backend": f"{runner.backend} {runner.version}, {runner.device}, {runner.precision}",
        },
    )


def target(bundle: Bundle, out: Path | None) -> Path:
    """Where the calibrated bundle goes: the new folder `out`, or None for its own.

    Raises BundleError for a folder in use and for a shipped bundle's own.
    """
    if out is None:
        if bundle.folder.parent == SHIPPED:
            raise BundleError(f"{bundle.folder} is shipped and stays as it is: write a copy")
        return bundle.folder
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} is in use; choose a new folder for the calibrated bundle")
    return out


def write_calibrated(bundle: Bundle, found: Calibration, out: Path | None) -> Bundle:
    """The bundle with the new points beside the old ones and the drive's quantiles, in `out`.

    None: in its own folder. Raises BundleError as target and write_bundle do.
    """
    folder = target(bundle, out)
    description = yaml.safe_load((bundle.folder / BUNDLE_FILE).read_text(encoding="utf-8"))
    for point in found.points:
        entry: dict[str, Any] = {
            "threshold": point.threshold,
            "rule": point.rule,
            "data": point.data,
            "focus": point.focus,
        }
        if point.min_region:
            entry["min_region"] = point.min_region
        description["operating_points"][point.name] = entry
    description["score"]["reference_quantiles"] = found.reference_quantiles
    before = bundle.provenance.get("calibrations")
    description["provenance"] = {
        **bundle.provenance,
        "calibrations": [*(before if isinstance(before, list) else []), found.record],
    }
    files = {
        stage.name: {f"{file.precision}@{file.target}": file.path for file in stage.files}
        for stage in bundle.stages
    }
    written = write_bundle(folder, description=description, stage_files=files)
    card = bundle.folder / CARD
    if card.is_file() and not (folder / CARD).exists():
        shutil.copyfile(card, folder / CARD)
    return written


def _check_names(bundle: Bundle, name: str) -> None:
    made = [name, *(f"{name}_{suffix}" for suffix, _ in PIXEL_RATES)]
    taken = [point for point in made if point in bundle.operating_points]
    if taken:
        raise ReplayError(
            f"bundle {bundle.name} has the operating point {taken[0]} already; choose another name"
        )


def _check_length(source: Source, options: CalibrateOptions) -> None:
    """What is sure to be too short is told before the drive and not after it."""
    frames = -(-len(source) // options.every)
    frames = min(frames, options.limit or frames)
    if not frames or options.rate.frames is None:
        return
    needed = frames_needed(options.rate.per_frame(None))
    if frames < needed:
        raise MetricError(
            f"{frames} frames are too few to show {options.rate}: expected "
            f"{needed} or more; take a longer drive or allow more"
        )


def _candidates(bundle: Bundle, options: CalibrateOptions) -> np.ndarray:
    if options.thresholds is None:
        return candidate_thresholds(*bundle.score_display)
    low, high, step = options.thresholds
    count = (high - low) / step + 1 if step > 0 else 0
    if not np.isfinite(count) or not 1 <= count <= MAX_CANDIDATES:
        raise ReplayError(
            f"thresholds {low:g} to {high:g} in steps of {step:g}; expected the lowest first and "
            f"at most {MAX_CANDIDATES} of them"
        )
    return np.array([float(f"{low + k * step:.9g}") for k in range(int(count + 1e-9))])


def _stream(
    source: Source, counts: DriveCounts, options: CalibrateOptions, progress: Progress
) -> tuple[list[tuple[int, int]], list[BadFrame]]:
    """Count the frames; index and stamp in ns of the first and last, and what was unreadable."""
    ends: list[tuple[int, int]] = []
    bad: list[BadFrame] = []
    total = -(-len(source) // options.every)
    total = min(total, options.limit or total)
    with progress("frames", total, 0) as advance:
        for frame in source.frames(lambda index: index % options.every == 0):
            if isinstance(frame, BadFrame):
                bad.append(frame)
                continue
            try:
                counts.update(frame.image)
            except DetectorError as error:
                raise DetectorError(f"frame {frame.name}: {error}") from error
            if frame.stamp_ns is not None:
                ends = [*ends[:1], (frame.index, frame.stamp_ns)]
            advance()
            if counts.frames == options.limit:
                break
    if not counts.frames:
        reason = bad[0].reason if bad else "it holds none"
        raise ReplayError(
            f"{source.describe().path}: not one frame could be read. First reason: {reason}"
        )
    return ends, bad


def _frame_rate(ends: list[tuple[int, int]]) -> float | None:
    """Frames a second of the recording; None where its stamps do not rise."""
    if len(ends) < 2 or ends[1][1] <= ends[0][1]:
        return None
    (first, start), (last, end) = ends
    return (last - first) / (end - start) * 1e9
