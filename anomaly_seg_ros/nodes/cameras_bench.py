"""`anomaly-seg bench node --cameras N`: one detector process for N cameras against one for each.

Both ways get the same images at the same moments: all cameras expose together, as a triggered rig
does, which is the hardest for one engine. The second way is what one does without several cameras
in a process, so its numbers stand beside the first's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes import bench
from anomaly_seg_ros.nodes.camera_stand_in import DETECTOR, CameraStandIn, Stamp
from anomaly_seg_ros.nodes.node_process import NodeProcess, detector_process
from anomaly_seg_ros.nodes.parameters import UNNAMED
from anomaly_seg_ros.nodes.statistics import Spread, spread


@dataclass(frozen=True)
class CamerasRun:
    """One way of serving the cameras; all of them together, but the latency of the worst."""

    processes: int
    sent: int
    received: int
    masks_per_second: float
    p50: float | None  # milliseconds from image out to mask in; None when a camera got no mask
    p95: float | None
    cpu_per_mask: float  # milliseconds of the detector processes: engine, own work and transport
    resident_megabytes: float  # of all detector processes


@dataclass(frozen=True)
class CamerasReport:
    """Both ways, in the order of the measurement."""

    engine: str
    camera: str
    cameras: int
    outputs: tuple[str, ...]
    seconds: float
    rate_asked: float
    one: CamerasRun
    many: CamerasRun


@dataclass(frozen=True)
class Line:
    """A camera and reader, and the detector process that serves it."""

    process: NodeProcess
    camera: CameraStandIn
    messages: list[Any]
    arrivals: dict[Stamp, float]


def measure_cameras(args: argparse.Namespace, scratch: Path) -> CamerasReport:
    """Measure one process, then args.cameras processes. Raises NodeError."""
    names = [f"camera_{number}" for number in range(1, args.cameras + 1)]
    images = bench.scene_images(args)
    one, engine = _measure(args, names, images, scratch, together=True)
    many, _ = _measure(args, names, images, scratch, together=False)
    return CamerasReport(
        engine=engine,
        camera=bench.camera_text(args),
        cameras=len(names),
        outputs=tuple(args.outputs),
        seconds=args.seconds,
        rate_asked=args.rate,
        one=one,
        many=many,
    )


def _measure(
    args: argparse.Namespace,
    names: Sequence[str],
    images: Sequence[np.ndarray],
    scratch: Path,
    together: bool,
) -> tuple[CamerasRun, str]:
    """One way, and the engine that the detector tells."""
    with ExitStack() as stack, ThreadPoolExecutor(len(names)) as pool:
        parameters = bench.node_parameters(args)
        if together:
            given = parameters | {"cameras": list(names)}
            processes = [stack.enter_context(detector_process(given, {}, scratch / "one.log"))]
        else:
            processes = [
                stack.enter_context(
                    detector_process(parameters, {}, scratch / f"{name}.log", f"__ns:=/{name}")
                )
                for name in names
            ]
        lines = []
        for index, name in enumerate(names):
            process = processes[0 if together else index]
            lines.append(_line(args, stack, process, name, images, together))
        list(pool.map(lambda line: line.camera.wait_until_active(), lines))
        list(pool.map(lambda line: _warm_up(args, line), lines))
        sent = list(pool.map(lambda line: _stream(args, line), lines))
        told = [_last_diagnostics(line) for line in lines[: len(processes)]]
    latencies = [
        spread(line.arrivals[stamp] - at for stamp, at in of.items() if stamp in line.arrivals)
        for line, of in zip(lines, sent, strict=True)
    ]
    arrivals = [
        sorted(moment for stamp, moment in line.arrivals.items() if stamp in of)
        for line, of in zip(lines, sent, strict=True)
    ]
    run = CamerasRun(
        processes=len(processes),
        sent=sum(map(len, sent)),
        received=sum(map(len, arrivals)),
        masks_per_second=sum(map(bench.event_rate, arrivals)),
        p50=_worst(latencies, "p50"),
        p95=_worst(latencies, "p95"),
        cpu_per_mask=float(np.mean([_cpu_per_mask(values) for values in told])),
        resident_megabytes=sum(float(values["resident MB"]) for values in told),
    )
    return run, bench.engine_text(told[0])


def _line(
    args: argparse.Namespace,
    stack: ExitStack,
    process: NodeProcess,
    name: str,
    images: Sequence[np.ndarray],
    together: bool,
) -> Line:
    arrivals: dict[Stamp, float] = {}

    def received(output: str, message: Any, moment: float) -> None:
        if output == args.outputs[0]:
            arrivals[message.header.stamp.sec, message.header.stamp.nanosec] = moment

    camera = stack.enter_context(
        CameraStandIn(
            args.outputs,
            process.check,
            compressed=args.compressed,
            on_output=received,
            topic=f"/{name}/image",
            detector=DETECTOR if together else f"/{name}{DETECTOR}",
            camera=name if together else UNNAMED,
        )
    )
    return Line(process, camera, bench.scene_messages(args, camera, images), arrivals)


def _warm_up(args: argparse.Namespace, line: Line) -> None:
    bench.stream(line.camera, line.messages, args.rate, bench.WARMUP_SECONDS, "warming up")
    _wait_for_stragglers(line, 0)
    if not line.arrivals:
        raise NodeError(
            f"no mask came back in {bench.WARMUP_SECONDS:.0f} s; the node's last lines:\n"
            + line.process.last_lines()
        )
    line.camera.reset_statistics()
    line.arrivals.clear()


def _stream(args: argparse.Namespace, line: Line) -> dict[Stamp, float]:
    """What was sent, and when; the arrivals are in the line."""
    sent = bench.stream(line.camera, line.messages, args.rate, args.seconds, "measuring")
    _wait_for_stragglers(line, len(sent))
    return sent


def _wait_for_stragglers(line: Line, expected: int) -> None:
    """Until as many have come, at most STRAGGLERS seconds; 0: all that time."""
    deadline = time.perf_counter() + bench.STRAGGLERS
    line.camera.spin_until(lambda: 0 < expected == len(line.arrivals), deadline)


def _last_diagnostics(line: Line) -> Mapping[str, str]:
    line.camera.fresh_diagnostics()
    return line.camera.fresh_diagnostics()  # the second was written after the last frame


def _cpu_per_mask(values: Mapping[str, str]) -> float:
    return sum(float(values[f"cpu {part} ms/frame"]) for part in ("engine", "own", "transport"))


def _worst(latencies: Sequence[Spread | None], percentile: str) -> float | None:
    known = [getattr(value, percentile) for value in latencies if value is not None]
    return max(known) if len(known) == len(latencies) else None


def cameras_table(report: CamerasReport) -> str:
    """The report for people."""
    one, many = report.one, report.many

    def row(title: str, first: float | None, second: float | None, digits: int = 1) -> str:
        cells = "".join(
            f"{'-' if value is None else f'{value:.{digits}f}':>14}" for value in (first, second)
        )
        ratio = f"{first / second:.2f}" if first is not None and second else "-"
        return f"  {title:<32}{cells}{ratio:>8}"

    heads = f"{'1 process':>14}{f'{many.processes} processes':>14}{'ratio':>8}"
    return "\n".join(
        [
            f"engine    {report.engine}, in each process",
            f"cameras   {report.cameras} of {report.camera} at {report.rate_asked:g} Hz for "
            f"{report.seconds:g} s, at the same moments, subscribed: {', '.join(report.outputs)}",
            "",
            f"  {'':<32}{heads}",
            row("images sent", one.sent, many.sent, 0),
            row("masks received", one.received, many.received, 0),
            row("masks per second", one.masks_per_second, many.masks_per_second, 2),
            row("latency p50, worst camera, ms", one.p50, many.p50),
            row("latency p95, worst camera, ms", one.p95, many.p95),
            row("CPU per mask, ms", one.cpu_per_mask, many.cpu_per_mask),
            row("resident memory, MB", one.resident_megabytes, many.resident_megabytes, 0),
        ]
    )
