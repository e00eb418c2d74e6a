"""The one thread that owns the engine: takes frames from the mailbox, publishes masks."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from anomaly_seg_ros.backends.base import Runner, RunnerInfo, RunResult
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import AnomalySegError, EncodingError
from anomaly_seg_ros.imaging.encodings import message_to_rgb
from anomaly_seg_ros.imaging.overlay import OverlayStyle
from anomaly_seg_ros.nodes import statistics
from anomaly_seg_ros.nodes.mailbox import Mailbox
from anomaly_seg_ros.nodes.outputs import DetectorOutputs, needed
from anomaly_seg_ros.nodes.process_cost import CostLedger
from anomaly_seg_ros.nodes.region_outputs import RegionSettings
from anomaly_seg_ros.nodes.reports import FaultReports, kind_of
from anomaly_seg_ros.nodes.statistics import FrameStatistics

STOP_PATIENCE = 30.0  # seconds for the frame in work; a large model on a small CPU takes seconds


@dataclass(frozen=True)
class Arrival:
    """A camera message (sensor_msgs Image or CompressedImage) and when it came (perf_counter)."""

    message: Any
    moment: float


@dataclass(frozen=True)
class Settings:
    """What can be changed while frames flow. None: as the operating point has it."""

    operating_point: str = "default"
    threshold: float | None = None
    focus: str | None = None
    max_age: float = 0.0  # seconds, 0: no limit
    always_process: bool = False
    style: OverlayStyle = field(default_factory=OverlayStyle)
    legend: bool = True
    regions: RegionSettings = field(default_factory=RegionSettings)


class MeteredRunner(Runner):
    """A runner that adds up the CPU time its caller's thread spends in `run`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.cpu_seconds = 0.0

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        start = time.thread_time()
        try:
            return self._runner.run(image, wanted)
        finally:
            self.cpu_seconds += time.thread_time() - start

    def warmup(self, runs: int = 2) -> float:
        return self._runner.warmup(runs)

    def describe(self) -> RunnerInfo:
        return self._runner.describe()

    def close(self) -> None:
        self._runner.close()


class Worker:
    """Runs from `start` to `stop`. Nothing a frame does ends it: faults are counted and told."""

    def __init__(
        self,
        *,
        detector: Detector,
        meter: MeteredRunner,
        engine_threads: frozenset[int],
        outputs: DetectorOutputs,
        mailbox: Mailbox[Arrival],
        settings: Settings,
        counts: FrameStatistics,
        faults: FaultReports,
        clock: Callable[[], float],
        alive: Callable[[], bool],
    ) -> None:
        """`clock` gives the node's time in seconds, `alive` whether ROS still runs."""
        self.mailbox = mailbox
        self.settings = settings  # replaced as a whole by the parameter callback
        self.ledger: CostLedger | None = None
        self._detector = detector
        self._meter = meter
        self._engine_threads = engine_threads
        self._outputs = outputs
        self._counts = counts
        self._faults = faults
        self._clock = clock
        self._alive = alive
        self._applied = settings
        self._thread = threading.Thread(target=self._work, name="detector_worker", daemon=True)

    def start(self) -> None:
        """Begin to take frames."""
        self._thread.start()

    def stop(self) -> bool:
        """Let the frame in work finish, drop the others; False when it does not end in time."""
        self._counts.dropped(statistics.STOPPED, self.mailbox.close())
        self._thread.join(STOP_PATIENCE)
        return not self._thread.is_alive()

    def _work(self) -> None:
        self.ledger = CostLedger(self._engine_threads, threading.get_native_id())
        while (arrival := self.mailbox.take()) is not None:
            self._survive(arrival)

    def _survive(self, arrival: Arrival) -> None:
        """One frame, whatever it is."""
        try:
            self._process(arrival)
        except EncodingError as error:
            self._counts.dropped(statistics.MALFORMED)
            self._faults.add(kind_of(error), f"bad image, frame dropped: {error}")
        except AnomalySegError as error:
            self._counts.dropped(statistics.FAILED)
            self._faults.add(kind_of(error), f"frame failed: {error}")
        except Exception as error:  # the engine or OpenCV may raise anything; the next frame counts
            self._counts.dropped(statistics.FAILED)
            if self._alive():
                self._faults.add(
                    f"{type(error).__name__}: {kind_of(error)}",
                    f"frame failed, please report this:\n{traceback.format_exc()}",
                )

    def _process(self, arrival: Arrival) -> None:
        settings = self.settings
        if settings is not self._applied:
            apply(settings, self._detector)
            self._applied = settings
        outputs = self._outputs.wanted()
        if not outputs and not settings.always_process:
            self._counts.skipped(statistics.UNWATCHED)
            return
        header = arrival.message.header
        stamp = header.stamp.sec + header.stamp.nanosec * 1e-9
        if settings.max_age and self._clock() - stamp > settings.max_age:
            self._counts.dropped(statistics.STALE)
            return

        start = time.perf_counter()
        image = message_to_rgb(arrival.message)
        decode = time.perf_counter() - start
        engine_before = self._meter.cpu_seconds
        detection = self._detector.detect(image, wanted=needed(outputs) or ("mask",))[0]
        published, transport = self._outputs.publish(
            outputs,
            header,
            image,
            detection,
            settings.style,
            settings.legend,
            settings.regions,
        )
        done = time.perf_counter()
        if self.ledger is not None:
            self.ledger.add(self._meter.cpu_seconds - engine_before, transport)
        self._counts.finished(
            latency=done - published.get("overlay", 0.0) - arrival.moment,
            age=self._clock() - published.get("overlay", 0.0) - stamp,
            seconds={"decode": decode, **detection.seconds, **published},
            anomaly_fraction=_fraction(detection.mask),
        )


def apply(settings: Settings, detector: Detector) -> None:
    """Put the operating point, threshold and focus of `settings` in force."""
    detector.focus = settings.focus
    detector.operating_point = settings.operating_point
    if settings.threshold is not None:
        detector.threshold = settings.threshold


def _fraction(mask: np.ndarray | None) -> float | None:
    return None if mask is None else cv2.countNonZero(mask) / mask.size
