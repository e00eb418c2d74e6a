"""Send to mask for each kind of camera, beside the bare detector of the same run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.engine_bench import Percentiles, percentiles
from anomaly_seg_ros.nodes.camera_stand_in import CAMERA_TOPIC
from anomaly_seg_ros.nodes.soak.results import Check, LatencyNumbers, Part
from anomaly_seg_ros.nodes.soak.rig import MASK, Rig, Setup
from anomaly_seg_ros.nodes.soak.stream import stream

LARGE = (1080, 1920)
CAMERAS = ("front", "left", "right")
CAMERAS_PARAMETER = "cameras"
LOAD = 0.5  # of the rate that the bare detector can serve, over all cameras
FASTEST = 30.0  # images per second of one camera
FRAMES, QUICK_FRAMES = 300, 20  # over all cameras
BARE_FRAMES, QUICK_BARE_FRAMES = 100, 20
WARM_FRAMES = 10


@dataclass(frozen=True)
class LatencyRow:
    """One kind of camera. size: (height, width)."""

    size: tuple[int, int]
    compressed: bool
    cameras: int

    @property
    def name(self) -> str:
        transport = "compressed" if self.compressed else "raw"
        return f"latency_{self.size[1]}x{self.size[0]}_{transport}_{self.cameras}"

    @property
    def title(self) -> str:
        transport = "compressed" if self.compressed else "raw"
        cameras = "one camera" if self.cameras == 1 else f"{self.cameras} cameras"
        return f"{self.size[1]}x{self.size[0]} {transport}, {cameras}"


def latency_rows(sizes: Sequence[tuple[int, int]]) -> list[LatencyRow]:
    """Every size, raw and compressed, with one camera and with three."""
    return [
        LatencyRow(size, compressed, cameras)
        for size in sizes
        for compressed in (False, True)
        for cameras in (1, len(CAMERAS))
    ]


def measure_bare(
    bundle: Bundle, threads: int, pictures: np.ndarray, quick: bool
) -> tuple[Percentiles, str]:
    """Milliseconds of Detector.detect, for the mask of one image, and what it runs on.

    pictures: uint8 [N, H, W, 3] RGB.
    """
    seconds = []
    with Detector(bundle, threads=threads or None) as detector:
        info = detector.runner.describe()
        for number in range(WARM_FRAMES + (QUICK_BARE_FRAMES if quick else BARE_FRAMES)):
            start = time.perf_counter()
            detector.detect(pictures[number % len(pictures)], ("mask",))
            seconds.append(time.perf_counter() - start)
    engine = (
        f"{info.backend} {info.version}, {info.device}, {info.precision}, {info.threads} threads"
    )
    return percentiles(seconds[WARM_FRAMES:]), engine


def measure_latency(setup: Setup, row: LatencyRow) -> Part:
    """One row of the table. Raises NodeError."""
    start = time.perf_counter()
    several = row.cameras > 1
    names = CAMERAS[: row.cameras]
    topics = tuple(f"/{name}/image" for name in names) if several else (CAMERA_TOPIC,)
    outputs = tuple(f"{name}/{MASK}" for name in names) if several else (MASK,)
    parameters = {CAMERAS_PARAMETER: list(names)} if several else {}
    bare = setup.bare[row.size]
    rate = min(FASTEST, LOAD * 1e3 / bare.p50 / row.cameras)
    frames = max(2, (QUICK_FRAMES if setup.quick else FRAMES) // row.cameras)
    with Rig(setup, row.name, parameters, outputs, row.compressed) as rig:
        rig.wait_until_active()
        if several and not rig.has_parameter(CAMERAS_PARAMETER):
            reason = f"the node has no parameter {CAMERAS_PARAMETER}"
            return Part(row.name, row.title, 0.0, not_offered=reason)
        order = rig.order(rate, frames, row.size, topics)
        done = stream(rig, order, row.title)
        ages = [
            arrival.age
            for output in outputs
            for arrival in rig.reader.of(order.run, output)
            if arrival.number >= 1  # the first finds cold caches
        ]
        status = rig.process.stop()
    found = percentiles(ages) if ages else None
    numbers = LatencyNumbers(
        size=row.size,
        transport="compressed" if row.compressed else "raw",
        cameras=row.cameras,
        rate=done.report.rate,
        sent=done.report.sent * row.cameras,
        masks=sum(len(rig.reader.of(order.run, output)) for output in outputs),
        send_to_mask=found,
        bare=bare,
        ratio=found.p50 / bare.p50 if found else None,
    )
    silent = [output for output in outputs if not rig.reader.of(order.run, output)]
    checks = (
        Check("masks of every camera", not silent, f"none on {', '.join(silent)}" * bool(silent)),
        Check("SIGINT ends the node", status == 0, f"exit status {status}, expected 0"),
    )
    return Part(row.name, row.title, time.perf_counter() - start, checks, numbers)
