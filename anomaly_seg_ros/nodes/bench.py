"""`anomaly-seg bench node`: the real detector node between a camera and a reader of masks.

The node is a process of its own with the shipped transport profile. Camera and reader are this
process, so that both ends of the way share a clock.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

from anomaly_seg_ros.bundle import DEFAULT_BUNDLE
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.environment import private_ros_environment, require_ros
from anomaly_seg_ros.nodes.statistics import DROP_CAUSES, Spread, spread
from anomaly_seg_ros.scenes import RoadSequence

if TYPE_CHECKING:
    from anomaly_seg_ros.nodes.camera_stand_in import CameraStandIn

WARMUP_SECONDS = 2.0
STRAGGLERS = 1.5  # seconds after the last image
SCENE_FRAMES = 30  # drawn before the start, sent in turn
OUTPUTS = ("anomaly_mask", "anomaly_score", "segmentation", "overlay")
AIM_OWN_SHARE = 0.15  # of Runner.run
AIM_MEGABYTES = 600.0

ENCODINGS = {
    "rgb8": lambda rgb: rgb,
    "bgr8": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR),
    "bgra8": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA),
    "mono8": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY),
}


@dataclass(frozen=True)
class NodeReport:
    """What was measured. Times in milliseconds; spreads are None when nothing arrived."""

    engine: str
    camera: str
    outputs: tuple[str, ...]
    seconds: float
    rate_asked: float
    rate_sent: float
    rate_received: float
    sent: int
    received: int
    dropped: Mapping[str, int]  # by the node, by cause
    lost: int  # neither received nor dropped by the node: on the way
    camera_to_mask: Spread | None
    camera_to_node: Spread | None
    in_node: Spread | None
    node_to_reader: float | None  # by difference of the medians
    stages: Mapping[str, float]
    cpu_engine: float  # Runner.run, per frame
    cpu_own: float  # the node's own work, per frame
    cpu_transport: float  # DDS, serialisation, executor, per frame
    own_share: float  # cpu_own / cpu_engine
    resident_megabytes: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `anomaly-seg bench node`."""
    from anomaly_seg_ros.cli.options import add_size_option, positive_int

    parser.add_argument("--bundle", default=DEFAULT_BUNDLE, help="shipped bundle or folder")
    parser.add_argument("--backend", default="auto", help="auto or a backend's name")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0: the node's choice")
    parser.add_argument("--rate", type=float, default=15.0, help="images per second (default: 15)")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time (default: 20)")
    add_size_option(parser)
    parser.add_argument(
        "--encoding", choices=tuple(ENCODINGS), default="rgb8", help="of raw images (default: rgb8)"
    )
    parser.add_argument("--compressed", action="store_true", help="send JPEG images")
    parser.add_argument(
        "--outputs",
        nargs="+",
        choices=OUTPUTS,
        default=["anomaly_mask"],
        metavar="TOPIC",
        help=f"what is subscribed, of {', '.join(OUTPUTS)} (default: anomaly_mask)",
    )
    parser.add_argument(
        "--cameras",
        type=positive_int,
        default=1,
        metavar="N",
        help="send N cameras at the same moments, to one process and then to N processes of one "
        "camera each (default: 1)",
    )
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="numbers as JSON")


def run_node_bench(args: argparse.Namespace) -> int:
    """Measure and print; 0 when done. Raises NodeError when the node does not start or dies."""
    from anomaly_seg_ros.nodes.cameras_bench import CamerasReport, cameras_table, measure_cameras

    _check(args)
    require_ros()
    with tempfile.TemporaryDirectory(prefix="anomaly_seg_bench_") as scratch:
        os.environ.update(private_ros_environment(Path(scratch), 2 * args.cameras))
        report: NodeReport | CamerasReport
        if args.cameras > 1:
            report = measure_cameras(args, Path(scratch))
            print(cameras_table(report))
        else:
            report = _measure(args, Path(scratch))
            print(table(report))
    if args.json is not None:
        args.json.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return 0


def _check(args: argparse.Namespace) -> None:
    for name, least in (("rate", 0.1), ("seconds", 1.0)):
        if getattr(args, name) < least:
            raise NodeError(f"--{name} is {getattr(args, name)}; expected at least {least:g}")
    if args.threads < 0:
        raise NodeError(f"--threads is {args.threads}; expected 0 or more")


def _measure(args: argparse.Namespace, scratch: Path) -> NodeReport:
    from anomaly_seg_ros.nodes.camera_stand_in import CameraStandIn
    from anomaly_seg_ros.nodes.node_process import detector_process

    parameters = node_parameters(args)
    log = scratch / "detector.log"
    first = args.outputs[0]
    arrivals: dict[tuple[int, int], float] = {}

    def received(name: str, message: Any, moment: float) -> None:
        if name == first:
            arrivals[message.header.stamp.sec, message.header.stamp.nanosec] = moment

    with (
        detector_process(parameters, {}, log) as process,
        CameraStandIn(
            args.outputs, process.check, compressed=args.compressed, on_output=received
        ) as camera,
    ):
        messages = scene_messages(args, camera, scene_images(args))
        camera.wait_until_active()
        stream(camera, messages, args.rate, WARMUP_SECONDS, "warming up")
        if not arrivals:
            raise NodeError(
                f"no mask came back in {WARMUP_SECONDS:.0f} s; the node's last lines:\n"
                + process.last_lines()
            )
        camera.spin_until(lambda: False, time.perf_counter() + STRAGGLERS)
        camera.reset_statistics()
        arrivals.clear()
        sent = stream(camera, messages, args.rate, args.seconds, "measuring")
        camera.spin_until(lambda: len(arrivals) == len(sent), time.perf_counter() + STRAGGLERS)
        camera.fresh_diagnostics()
        values = camera.fresh_diagnostics()  # the second was written after the last frame
    return _report(args, sent, arrivals, values)


def node_parameters(args: argparse.Namespace) -> dict[str, object]:
    """The parameters of the detector that the arguments ask for."""
    return {
        "bundle": args.bundle,
        "backend": args.backend,
        "threads": args.threads,
        "image_transport": "compressed" if args.compressed else "raw",
    }


def scene_images(args: argparse.Namespace) -> list[np.ndarray]:
    """What the camera sees, uint8 [H, W, 3] RGB."""
    road = RoadSequence(seed=7, size=args.size, frames_per_second=args.rate)
    return [road.frame(index).image for index in range(SCENE_FRAMES)]


def scene_messages(
    args: argparse.Namespace, camera: CameraStandIn, images: Sequence[np.ndarray]
) -> list[Any]:
    """The images as messages of this camera, without stamps."""
    if args.compressed:
        return [camera.message(image) for image in images]
    return [
        camera.message(np.ascontiguousarray(ENCODINGS[args.encoding](image)), args.encoding)
        for image in images
    ]


def stream(
    camera: CameraStandIn, messages: list[Any], rate: float, seconds: float, title: str
) -> dict[tuple[int, int], float]:
    """Send at a steady rate, in turn; stamp -> when it was sent (perf_counter)."""
    sent: dict[tuple[int, int], float] = {}
    start = time.perf_counter()
    count = max(1, round(rate * seconds))
    for index in tqdm(range(count), desc=title, unit="image", leave=False, file=sys.stderr):
        camera.spin_until(lambda: False, start + index / rate)
        stamp, moment = camera.send(messages[index % len(messages)])
        sent[stamp] = moment
    return sent


def _report(
    args: argparse.Namespace,
    sent: Mapping[tuple[int, int], float],
    arrivals: Mapping[tuple[int, int], float],
    values: Mapping[str, str],
) -> NodeReport:
    latencies = [arrivals[stamp] - moment for stamp, moment in sent.items() if stamp in arrivals]
    moments = sorted(moment for stamp, moment in arrivals.items() if stamp in sent)
    way = spread(latencies)
    to_node, in_node = _spread_of(values, "input age"), _spread_of(values, "latency")
    dropped = {cause: int(values[f"dropped: {cause}"]) for cause in DROP_CAUSES}
    engine, own = float(values["cpu engine ms/frame"]), float(values["cpu own ms/frame"])
    return NodeReport(
        engine=engine_text(values),
        camera=camera_text(args),
        outputs=tuple(args.outputs),
        seconds=args.seconds,
        rate_asked=args.rate,
        rate_sent=event_rate(sorted(sent.values())),
        rate_received=event_rate(moments),
        sent=len(sent),
        received=len(latencies),
        dropped=dropped,
        lost=len(sent) - len(latencies) - sum(dropped.values()),
        camera_to_mask=way,
        camera_to_node=to_node,
        in_node=in_node,
        node_to_reader=(
            way.p50 - to_node.p50 - in_node.p50 if way and to_node and in_node else None
        ),
        stages={
            key.removesuffix(" ms"): float(value)
            for key, value in values.items()
            if key.endswith(" ms") and " p50" not in key and " p95" not in key
        },
        cpu_engine=engine,
        cpu_own=own,
        cpu_transport=float(values["cpu transport ms/frame"]),
        own_share=own / engine if engine else 0.0,
        resident_megabytes=float(values["resident MB"]),
    )


def engine_text(values: Mapping[str, str]) -> str:
    """What runs, by the diagnostics of the node."""
    return (
        f"{values['bundle']} on {values['backend']} {values['engine version']}, "
        f"{values['device']}, {values['precision']}, {values['threads']} threads"
    )


def camera_text(args: argparse.Namespace) -> str:
    """What the camera sends."""
    return f"{args.size[1]}x{args.size[0]} {'jpeg' if args.compressed else args.encoding}"


def _spread_of(values: Mapping[str, str], name: str) -> Spread | None:
    if f"{name} p50 ms" not in values:
        return None
    return Spread(float(values[f"{name} p50 ms"]), float(values[f"{name} p95 ms"]))


def event_rate(moments: list[float]) -> float:
    """Events per second between the first and the last."""
    return (len(moments) - 1) / (moments[-1] - moments[0]) if len(moments) > 1 else 0.0


def table(report: NodeReport) -> str:
    """The report for people."""

    def times(title: str, value: Spread | None) -> str:
        numbers = f"{value.p50:8.1f} {value.p95:8.1f}" if value else "       -        -"
        return f"  {title:<34}{numbers}"

    drops = ", ".join(f"{count} {cause}" for cause, count in report.dropped.items() if count)
    back = "       -" if report.node_to_reader is None else f"{report.node_to_reader:8.1f}"
    verdict = "within" if report.own_share <= AIM_OWN_SHARE else "above"
    memory = "within" if report.resident_megabytes <= AIM_MEGABYTES else "above"
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in report.stages.items())
    return "\n".join(
        [
            f"engine    {report.engine}",
            f"camera    {report.camera} at {report.rate_asked:g} Hz for {report.seconds:g} s, "
            f"subscribed: {', '.join(report.outputs)}",
            f"rate      {report.rate_received:.2f} Hz out of {report.rate_sent:.2f} Hz in: "
            f"{report.received} of {report.sent} came back"
            + (f"; dropped by the node: {drops}" if drops else "")
            + (f"; lost on the way: {report.lost}" if report.lost else ""),
            "",
            "  latency, ms                            p50      p95",
            times("camera message in to mask out", report.camera_to_mask),
            times("  transport, camera to node", report.camera_to_node),
            times("  in the node", report.in_node),
            f"  {'  transport, node to reader':<34}{back}",
            "",
            "  CPU of the node process per frame, ms",
            f"  {'Runner.run':<34}{report.cpu_engine:8.1f}",
            f"  {'own work beyond Runner.run':<34}{report.cpu_own:8.1f}   "
            f"{100 * report.own_share:.1f} % of Runner.run, {verdict} the aim of "
            f"{100 * AIM_OWN_SHARE:.0f} %",
            f"  {'transport (DDS, serialisation)':<34}{report.cpu_transport:8.1f}",
            "",
            f"  resident memory of the node {report.resident_megabytes:.0f} MB, {memory} the aim "
            f"of {AIM_MEGABYTES:.0f} MB",
            f"  wall time per step, ms: {stages}",
        ]
    )
