"""How fast a Detector is here: percentiles of each step, CPU time and memory, without ROS."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anomaly_seg_ros.backends import RunnerInfo
from anomaly_seg_ros.detector import Detector

OWN_STEPS = ("fit", "finish")  # the Detector's own work around Runner.run


@dataclass(frozen=True)
class Percentiles:
    """Wall-clock milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class EngineReport:
    """What one measurement gave."""

    bundle: str
    runner: RunnerInfo
    camera: tuple[int, int]  # height, width
    network: tuple[int, int]
    frames: int
    steps: Mapping[str, Percentiles]  # fit, each stage, run (all stages), finish, total
    cpu: float  # milliseconds of CPU time per frame, all threads
    own_share: float  # medians: (fit + finish) / run
    resident_megabytes: float  # largest so far, of the whole process

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_engine(
    detector: Detector,
    images: Sequence[np.ndarray],
    wanted: Sequence[str],
    *,
    frames: int,
    warmup: int,
) -> EngineReport:
    """Detect `frames` times in turn over `images` (uint8 [H, W, 3], one size), after a warm-up.

    Raises what Detector.detect raises.
    """
    for index in range(warmup):
        detector.detect(images[index % len(images)], wanted)
    rows: list[dict[str, float]] = []
    cpu_start = time.process_time()
    for index in range(frames):
        start = time.perf_counter()
        detection = detector.detect(images[index % len(images)], wanted)[0]
        rows.append({**detection.seconds, "total": time.perf_counter() - start})
    cpu = (time.process_time() - cpu_start) / frames
    stages = [name for name in rows[0] if name not in (*OWN_STEPS, "run", "total")]
    steps = {
        name: _percentiles([row[name] for row in rows])
        for name in ("fit", *stages, "run", "finish", "total")
    }
    spec = detector.bundle.input
    return EngineReport(
        bundle=detector.bundle.name,
        runner=detector.runner.describe(),
        camera=(images[0].shape[0], images[0].shape[1]),
        network=(spec.height, spec.width),
        frames=frames,
        steps=steps,
        cpu=cpu * 1e3,
        own_share=sum(steps[name].p50 for name in OWN_STEPS) / steps["run"].p50,
        resident_megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    )


def report_lines(report: EngineReport) -> list[str]:
    """The report as lines for a terminal."""
    info = report.runner
    lines = [
        f"{report.bundle} on {info.backend} {info.version}, {info.device}, {info.precision}, "
        f"{info.threads} thread{'s' if info.threads != 1 else ''}",
        f"camera {report.camera[0]}x{report.camera[1]}, network "
        f"{report.network[0]}x{report.network[1]}, {report.frames} frames",
        *([info.note] if info.note else []),
        "",
        f"{'ms':<16}{'p50':>9}{'p95':>9}{'p99':>9}",
    ]
    stages = [name for name in report.steps if name not in (*OWN_STEPS, "run", "total")]
    for name, step in report.steps.items():
        shown = f"  {name}" if name in stages else name
        lines.append(f"{shown:<16}{step.p50:>9.2f}{step.p95:>9.2f}{step.p99:>9.2f}")
    total = report.steps["total"].p50
    return [
        *lines,
        "",
        f"{'rate':<16}{1e3 / total:>9.1f} frames/s at the median",
        f"{'CPU':<16}{report.cpu:>9.2f} ms per frame, all threads",
        f"{'own share':<16}{report.own_share:>9.1%} of run (fit + finish)",
        f"{'memory':<16}{report.resident_megabytes:>9.0f} MB resident at most, this process",
    ]


def _percentiles(seconds: Sequence[float]) -> Percentiles:
    p50, p95, p99 = np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99))
    return Percentiles(float(p50), float(p95), float(p99))
