"""One camera of the detector node: what comes in, what becomes of it, what goes out."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.drift import DriftWatch
from anomaly_seg_ros.nodes import statistics
from anomaly_seg_ros.nodes.debug_outputs import DebugOutputs
from anomaly_seg_ros.nodes.diagnostics import CameraState
from anomaly_seg_ros.nodes.events.recorder import EventRecorder
from anomaly_seg_ros.nodes.mailbox import Mailbox
from anomaly_seg_ros.nodes.outputs import DetectorOutputs
from anomaly_seg_ros.nodes.reports import FaultReports
from anomaly_seg_ros.nodes.statistics import FrameStatistics, Snapshot
from anomaly_seg_ros.nodes.subscription import silence_cause, subscribe
from anomaly_seg_ros.nodes.topics import input_topic
from anomaly_seg_ros.replay.bag_reader import header_stamp

SILENCE_REPEAT = 30.0  # seconds between two warnings of the same cause
STAMP_JUMP = 0.5  # seconds that stamps may go back: images overtake each other on the way
QUEUE_PATIENCE = 0.1  # seconds between two looks at a full queue


@dataclass(frozen=True)
class Arrival:
    """A camera message (sensor_msgs Image or CompressedImage) and when it came (perf_counter)."""

    message: Any
    moment: float


class Camera:
    """`NAME/image` in, `~/NAME/...` out; without a name `image` and `~/...`.

    Lives as long as the node, so that its counts survive every transition: `configure` and `free`
    make and destroy the outputs, `listen` and `unlisten` the subscription. The worker uses
    `outputs`, `drift`, `counts` and `faults`, the executor's thread everything else.
    """

    def __init__(self, node: Node, name: str, transport: str) -> None:
        """transport: raw or compressed. May be made before there is anything to serve."""
        self.name = name
        self.topic = input_topic(node, name, transport)
        self.enabled = True
        self.counts = FrameStatistics()
        self.faults = FaultReports(self._tell_fault)
        self.outputs: DetectorOutputs | None = None
        self.drift: DriftWatch | None = None
        self._node = node
        self._transport = transport
        self._subscription: Subscription | None = None
        self._mailbox: Mailbox[Camera, Arrival] | None = None
        self._keep_all = False
        self._debug: DebugOutputs | None = None
        self._recorder: EventRecorder | None = None
        self._newest_stamp = -math.inf  # seconds
        self._last_snapshot: Snapshot | None = None
        self._silence_told = ("", -math.inf)  # the cause and when

    def configure(self, bundle: Bundle, given: Mapping[str, Any], recorder: EventRecorder) -> None:
        """Offer the bundle's outputs and compare with its reference quantiles; again for another
        bundle, while no worker runs."""
        self._recorder = recorder
        if self.outputs is None:
            self.outputs = DetectorOutputs(self._node, self.name, bundle, recorder)
            self._debug = DebugOutputs(self._node, self.name)
        else:
            self.outputs.serve(bundle)
        self.drift = DriftWatch(
            bundle.reference_quantiles, given["drift_window"], given["drift_warning"]
        )

    def free(self) -> None:
        """Take the outputs down."""
        for outputs in (self.outputs, self._debug):
            if outputs is not None:
                outputs.destroy()
        self.outputs = self.drift = self._debug = self._recorder = None

    def listen(self, mailbox: Mailbox[Camera, Arrival], keep_all: bool) -> None:
        """Images go into this mailbox from now on; subscribe if need be. Raises NodeError."""
        self._mailbox, self._keep_all = mailbox, keep_all
        if self._subscription is not None:
            return
        self.counts.restart_silence()
        self._newest_stamp = -math.inf
        self._subscription = subscribe(
            self._node, self.name, self._transport, keep_all, self._on_image
        )

    def unlisten(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._mailbox = None

    def published(
        self, latency: float, age: float, fraction: float | None, regions: int | None
    ) -> None:
        """The worker published a frame: its times in seconds, the anomalous share of its mask and
        how many regions were reported."""
        if self._debug is not None:
            self._debug.publish(latency, age)
        if self._recorder is not None:
            self._recorder.found(self.name, fraction, regions or 0)

    def enable(self, enabled: bool) -> None:
        """False: images are counted and ignored."""
        if enabled and not self.enabled:
            self.counts.restart_silence()
        self.enabled = enabled

    def reset(self) -> None:
        """Count and compare from zero."""
        self.counts.reset()
        self.faults.reset()
        self._last_snapshot = None
        if self.drift is not None:
            self.drift.reset()

    def observe(self) -> CameraState:
        """For the diagnostics: now, and what it was when this was last asked."""
        before, self._last_snapshot = self._last_snapshot, self.counts.snapshot()
        return CameraState(
            name=self.name,
            topic=self.topic,
            now=self._last_snapshot,
            before=before,
            bad_inputs=self.faults.counts(),
            drift=self.drift.drift() if self.drift else None,
        )

    def warn_of_silence(self, limit: float) -> None:
        """Tell why no image comes, when none came for `limit` seconds; 0: never."""
        silence = self.counts.snapshot().silence
        if self._subscription is None or not self.enabled or not limit or silence <= limit:
            return
        cause = silence_cause(self._node, self.name, self._transport, self._subscription)
        told, at = self._silence_told
        now = time.perf_counter()
        if cause != told or now - at > SILENCE_REPEAT:
            self._silence_told = (cause, now)
            self._node.get_logger().warning(self._named(f"no image for {silence:.0f} s: {cause}"))

    def _on_image(self, message: Any) -> None:
        """Keep the newest message for the worker, or queue it; a full queue holds us up here."""
        moment = time.perf_counter()
        now = self._node.get_clock().now().nanoseconds
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self.counts.received(stamp, now * 1e-9 - stamp)
        if stamp < self._newest_stamp - STAMP_JUMP:
            self._tell_jump(self._newest_stamp - stamp)
        self._newest_stamp = stamp
        if self._recorder is not None:
            self._recorder.offer(self.name, self.topic, message, header_stamp(message.header, now))
        if not self.enabled:
            self.counts.skipped(statistics.DISABLED)
            return
        if self._mailbox is None:  # unsubscribed while the message was under way
            self.counts.dropped(statistics.STOPPED)
            return
        arrival = Arrival(message, moment)
        if not self._keep_all:
            self.counts.dropped(statistics.REPLACED, self._mailbox.put(self, arrival))
            return
        while self._node.context.ok():
            if not self._mailbox.put(self, arrival, QUEUE_PATIENCE):
                return
        self.counts.dropped(statistics.QUEUE_FULL)

    def _tell_jump(self, seconds: float) -> None:
        """The stamps went back: a recording began anew, or two sources publish on one topic."""
        self.counts.jumped()
        self._node.get_logger().warning(
            self._named(
                f"the stamp of an image on {self.topic} is {seconds:.1f} s before the last one's: "
                "a recording that begins anew, a clock that was set, or two publishers?"
            ),
            throttle_duration_sec=SILENCE_REPEAT,
        )

    def _tell_fault(self, message: str) -> None:
        self._node.get_logger().error(self._named(message))

    def _named(self, message: str) -> str:
        return f"camera {self.name}: {message}" if self.name else message
