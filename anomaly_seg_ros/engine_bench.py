"""How fast engines are here: percentiles of each step, CPU time and memory, without ROS.

Machines are noisy, and their clocks fall as they grow warm. So engines that are compared take
turns: rounds of a few frames each, the order rotated, and the ratio is taken round by round.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from anomaly_seg_ros.backends import RunnerInfo
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.machine import Machine, package_joules, this_machine
from anomaly_seg_ros.replay.progress import Progress, no_progress

OWN_STEPS = ("fit", "finish")  # the Detector's own work around Runner.run
ROUND = 10  # frames of one engine in a row: its caches are as warm as when it is alone


@dataclass(frozen=True)
class Percentiles:
    """Wall-clock milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Ratio:
    """Time of Runner.run over that of the first engine: medians of rounds that lay side by side."""

    median: float
    low: float  # 10 % of rounds are below
    high: float  # 10 % of rounds are above


@dataclass(frozen=True)
class EngineTimes:
    """What one engine took."""

    name: str
    bundle: str
    runner: RunnerInfo
    network: tuple[int, int]  # height, width
    steps: Mapping[
        str, Percentiles
    ]  # fit, upload, each stage, download, run (these), finish, total
    ratio: Ratio
    cpu: float  # milliseconds of CPU time per frame, all threads
    joules: float | None  # of the processor packages per frame, other processes included
    own_share: float  # medians: (fit + finish) / run


@dataclass(frozen=True)
class EngineReport:
    """What one measurement gave."""

    camera: tuple[int, int]  # height, width
    frames: int  # of each engine
    engines: tuple[EngineTimes, ...]
    before: Machine
    after: Machine  # right after the last frame: clocks and power under load
    resident_megabytes: float  # largest so far, of the whole process with all engines

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_engines(
    detectors: Mapping[str, Detector],
    images: Sequence[np.ndarray],
    wanted: Sequence[str],
    *,
    frames: int,
    warmup: int,
    progress: Progress = no_progress,
) -> EngineReport:
    """Detect `frames` times with each detector in turn over `images`, after a warm-up of each.

    images: uint8 [H, W, 3], one size. Raises what Detector.detect raises.
    """
    for detector in detectors.values():
        for index in range(warmup):
            detector.detect(images[index % len(images)], wanted)
    before = this_machine()
    counts = {name: _Counts() for name in detectors}
    names = list(detectors)
    with progress("measuring", frames * len(names), 0) as advance:
        for number, start in enumerate(range(0, frames, ROUND)):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                if len(names) > 1:  # brings the caches back from the engine before
                    detectors[name].detect(images[start % len(images)], wanted)
                block = range(start, min(frames, start + ROUND))
                counts[name].measure(detectors[name], images, wanted, block)
                for _ in block:
                    advance()
    after = this_machine()
    first = counts[names[0]]
    return EngineReport(
        camera=(images[0].shape[0], images[0].shape[1]),
        frames=frames,
        engines=tuple(
            counts[name].times(name, detectors[name], first, frames) for name in detectors
        ),
        before=before,
        after=after,
        resident_megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    )


@dataclass
class _Counts:
    """What was measured of one engine so far."""

    rows: list[dict[str, float]] = field(default_factory=list)  # seconds by step, per frame
    rounds: list[float] = field(default_factory=list)  # median seconds of run, per round
    cpu: float = 0.0
    joules: float | None = 0.0

    def measure(
        self, detector: Detector, images: Sequence[np.ndarray], wanted: Sequence[str], block: range
    ) -> None:
        """One round."""
        joules, cpu = package_joules(), time.process_time()
        for index in block:
            start = time.perf_counter()
            detection = detector.detect(images[index % len(images)], wanted)[0]
            self.rows.append({**detection.seconds, "total": time.perf_counter() - start})
        self.cpu += time.process_time() - cpu
        ended = package_joules()
        if joules is None or ended is None or ended < joules or self.joules is None:
            self.joules = None
        else:
            self.joules += ended - joules
        self.rounds.append(float(np.median([row["run"] for row in self.rows[-len(block) :]])))

    def times(self, name: str, detector: Detector, first: _Counts, frames: int) -> EngineTimes:
        steps = {
            step: percentiles([row[step] for row in self.rows])
            for step in ("fit", *_inner_steps(self.rows[0]), "run", "finish", "total")
        }
        spec = detector.bundle.input
        low, median, high = np.percentile(np.divide(self.rounds, first.rounds), (10, 50, 90))
        return EngineTimes(
            name=name,
            bundle=detector.bundle.name,
            runner=detector.runner.describe(),
            network=(spec.height, spec.width),
            steps=steps,
            ratio=Ratio(float(median), float(low), float(high)),
            cpu=self.cpu / frames * 1e3,
            joules=None if self.joules is None else self.joules / frames,
            own_share=sum(steps[step].p50 for step in OWN_STEPS) / steps["run"].p50,
        )


def report_lines(report: EngineReport) -> list[str]:
    """The report as lines for a terminal."""
    lines = [*report.after.lines(), *_busy_lines(report.before)]
    height, width = report.camera
    turns = f", in turns of {ROUND}" if len(report.engines) > 1 else ""
    lines.append(f"camera {height}x{width}, {report.frames} frames of each engine{turns}")
    for engine in report.engines:
        lines += ["", *_engine_lines(engine)]
    if len(report.engines) > 1:
        lines += ["", *_comparison(report.engines)]
    return [*lines, "", f"memory {report.resident_megabytes:.0f} MB resident at most, this process"]


def _engine_lines(engine: EngineTimes) -> list[str]:
    info = engine.runner
    threads = f", {info.threads} thread{'s' if info.threads != 1 else ''}" if info.threads else ""
    inner = _inner_steps(engine.steps)
    lines = [
        f"{engine.bundle} on {info.backend} {info.version}, {info.device}, {info.precision}"
        f"{threads}, network {engine.network[0]}x{engine.network[1]}",
        *([info.note] if info.note else []),
        f"{'ms':<16}{'p50':>9}{'p95':>9}{'p99':>9}",
    ]
    for name, step in engine.steps.items():
        shown = f"  {name}" if name in inner else name
        lines.append(f"{shown:<16}{step.p50:>9.2f}{step.p95:>9.2f}{step.p99:>9.2f}")
    rate = 1e3 / engine.steps["total"].p50
    lines += [
        f"{'rate':<16}{rate:>9.1f} frames/s at the median",
        f"{'CPU':<16}{engine.cpu:>9.2f} ms per frame, all threads",
        f"{'own share':<16}{engine.own_share:>9.1%} of run (fit + finish)",
    ]
    if engine.joules is not None:
        lines.append(f"{'energy':<16}{engine.joules:>9.2f} J per frame, whole processor")
    return lines


def _comparison(engines: Sequence[EngineTimes]) -> list[str]:
    """One row for each engine, with its ratio to the first."""
    width = max(len("engine"), *(len(engine.name) for engine in engines)) + 2
    head = f"{'engine':<{width}}{'total p50':>11}{'p95':>9}{'p99':>9}{'run p50':>9}{'CPU':>9}"
    lines = [f"{head}  run / first (10-90 % of rounds)"]
    for engine in engines:
        total, ratio = engine.steps["total"], engine.ratio
        lines.append(
            f"{engine.name:<{width}}{total.p50:>11.2f}{total.p95:>9.2f}{total.p99:>9.2f}"
            f"{engine.steps['run'].p50:>9.2f}{engine.cpu:>9.2f}"
            f"  {ratio.median:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"
        )
    return lines


def _busy_lines(machine: Machine) -> list[str]:
    if not machine.busy:
        return []
    return [
        f"others compute here too (load {machine.load:.1f} on {machine.cores} cores before the "
        "start): times are too long, ratios hold better"
    ]


def _inner_steps(steps: Mapping[str, object]) -> list[str]:
    """What Runner.run is made of: upload, stages, download."""
    return [name for name in steps if name not in (*OWN_STEPS, "run", "total")]


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """Of durations in seconds, at least one."""
    p50, p95, p99 = np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99))
    return Percentiles(float(p50), float(p95), float(p99))
