"""The one thread that owns the engine: takes frames of all cameras in turn, publishes masks."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.detector import Detection
from anomaly_seg_ros.errors import AnomalySegError, EncodingError
from anomaly_seg_ros.imaging.encodings import message_to_rgb
from anomaly_seg_ros.nodes import statistics
from anomaly_seg_ros.nodes.camera import Arrival, Camera
from anomaly_seg_ros.nodes.engine import Engine
from anomaly_seg_ros.nodes.mailbox import Mailbox
from anomaly_seg_ros.nodes.outputs import Output, needed
from anomaly_seg_ros.nodes.process_cost import CostLedger
from anomaly_seg_ros.nodes.reports import kind_of
from anomaly_seg_ros.nodes.settings import Settings, apply

STOP_PATIENCE = 30.0  # seconds for the frame in work; a large model on a small CPU takes seconds


@dataclass(frozen=True)
class Frame:
    """An image on its way through the engine."""

    camera: Camera
    arrival: Arrival
    stamp: float  # seconds
    outputs: list[Output]  # of the camera, that someone subscribes to
    image: np.ndarray  # uint8 [H, W, 3] RGB
    decode: float  # seconds


class Worker:
    """Runs from `start` to `stop`. Nothing a frame does ends it: faults are counted and told."""

    def __init__(
        self,
        *,
        engine: Engine,
        mailbox: Mailbox[Camera, Arrival],
        max_batch: int,
        batch_wait: float,
        settings: Settings,
        clock: Callable[[], float],
        alive: Callable[[], bool],
    ) -> None:
        """Up to `max_batch` frames, of a camera each, run together; it waits `batch_wait` seconds
        for them. `clock` gives the node's time in seconds, `alive` whether ROS still runs."""
        self.settings = settings  # replaced as a whole by the parameter callback
        self.ledger: CostLedger | None = None
        self._engine = engine
        self._mailbox = mailbox
        self._max_batch = max_batch
        self._batch_wait = batch_wait
        self._clock = clock
        self._alive = alive
        self._applied = settings
        self._thread = threading.Thread(target=self._work, name="detector_worker", daemon=True)

    def start(self) -> None:
        """Begin to take frames."""
        self._thread.start()

    def stop(self) -> bool:
        """Let the frames in work finish, drop the others; False when it does not end in time."""
        for camera, left in self._mailbox.close().items():
            camera.counts.dropped(statistics.STOPPED, left)
        self._thread.join(STOP_PATIENCE)
        return not self._thread.is_alive()

    def _work(self) -> None:
        self.ledger = CostLedger(self._engine.threads, threading.get_native_id())
        while arrivals := self._mailbox.take(self._max_batch, self._batch_wait):
            self._serve(arrivals)

    def _serve(self, arrivals: Mapping[Camera, Arrival]) -> None:
        """Frames that go through the engine together."""
        settings, frames = self.settings, list[Frame]()
        for camera, arrival in arrivals.items():
            try:
                frames += self._opened(camera, arrival, settings)
            except Exception as error:
                self._lost(camera, error)
        if frames:
            self._process(frames, settings)

    def _lost(self, camera: Camera, error: Exception) -> None:
        """Count and tell what cost a frame of this camera; the next frame counts."""
        if isinstance(error, EncodingError):
            camera.counts.dropped(statistics.MALFORMED)
            camera.faults.add(kind_of(error), f"bad image, frame dropped: {error}")
            return
        camera.counts.dropped(statistics.FAILED)
        if isinstance(error, AnomalySegError):
            camera.faults.add(kind_of(error), f"frame failed: {error}")
        elif self._alive():  # the engine or OpenCV may raise anything
            camera.faults.add(
                f"{type(error).__name__}: {kind_of(error)}",
                "frame failed, please report this:\n" + "".join(traceback.format_exception(error)),
            )

    def _opened(self, camera: Camera, arrival: Arrival, settings: Settings) -> list[Frame]:
        """The frame, or none when nobody wants it. Raises EncodingError."""
        assert camera.outputs is not None  # from configure to cleanup
        outputs = camera.outputs.wanted()
        if not outputs and not settings.always_process:
            camera.counts.skipped(statistics.UNWATCHED)
            return []
        header = arrival.message.header
        stamp = header.stamp.sec + header.stamp.nanosec * 1e-9
        if settings.max_age and self._clock() - stamp > settings.max_age:
            camera.counts.dropped(statistics.STALE)
            return []
        start = time.perf_counter()
        image = message_to_rgb(arrival.message)
        return [Frame(camera, arrival, stamp, outputs, image, time.perf_counter() - start)]

    def _process(self, frames: Sequence[Frame], settings: Settings) -> None:
        """Detect in all frames at once and publish; when that fails, in each alone."""
        engine_before = self._engine.meter.cpu_seconds
        try:
            detections = self._detect(frames, settings)
        except Exception as error:
            if len(frames) == 1:
                self._lost(frames[0].camera, error)
            else:  # which of them it was shows one by one
                for frame in frames:
                    self._process([frame], settings)
            return
        engine = (self._engine.meter.cpu_seconds - engine_before) / len(frames)
        for frame, detection in zip(frames, detections, strict=True):
            try:
                self._publish(frame, detection, settings, engine)
            except Exception as error:
                self._lost(frame.camera, error)

    def _detect(self, frames: Sequence[Frame], settings: Settings) -> list[Detection]:
        if settings is not self._applied:
            apply(settings, self._engine.detector)
            self._applied = settings
        self._engine.watched.watches = [
            frame.camera.drift for frame in frames if frame.camera.drift is not None
        ]
        wanted = [name for frame in frames for name in needed(frame.outputs) or ("mask",)]
        return self._engine.detector.detect(
            [frame.image for frame in frames], wanted=tuple(dict.fromkeys(wanted))
        )

    def _publish(
        self, frame: Frame, detection: Detection, settings: Settings, engine: float
    ) -> None:
        """engine: CPU seconds of this frame in the engine."""
        camera, arrival = frame.camera, frame.arrival
        assert camera.outputs is not None
        published = camera.outputs.publish(
            frame.outputs, arrival.message.header, frame.image, detection, settings
        )
        done = time.perf_counter()
        if self.ledger is not None:
            self.ledger.add(engine, published.transport)
        fraction = _fraction(detection.mask)
        pictures = published.seconds.get("overlay", 0.0)  # for people, after the masks
        latency = done - pictures - arrival.moment
        age = self._clock() - pictures - frame.stamp
        camera.counts.finished(
            latency=latency,
            age=age,
            seconds={"decode": frame.decode, **detection.seconds, **published.seconds},
            anomaly_fraction=fraction,
        )
        camera.published(latency, age, fraction, published.regions)


def _fraction(mask: np.ndarray | None) -> float | None:
    return None if mask is None else cv2.countNonZero(mask) / mask.size
