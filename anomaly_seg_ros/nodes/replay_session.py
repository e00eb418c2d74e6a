"""A recording in front of the real detector node: the node's process, and frames as messages."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anomaly_seg_ros.errors import NodeError, ReplayError
from anomaly_seg_ros.nodes.camera_stand_in import CameraStandIn, Stamp, stamp_of
from anomaly_seg_ros.nodes.environment import private_ros_environment, require_ros
from anomaly_seg_ros.nodes.node_process import detector_process
from anomaly_seg_ros.replay.bag_reader import COMPRESSED_IMAGE
from anomaly_seg_ros.replay.bags import BagSource
from anomaly_seg_ros.replay.cdr_stamp import read_stamp, with_stamp
from anomaly_seg_ros.replay.pace import DEFAULT_RATE
from anomaly_seg_ros.replay.sources import Frame, Source

SETTLE_PATIENCE = 20.0  # seconds; the frame in work of a large model takes some


class ReplaySession:
    """The detector node in a process of its own, ready, with a camera and readers around it.

    source: frames of a bag are sent as the bag stores them, all others as raw rgb8. parameters: of
    the node. outputs: topics that are read. A context manager; raises NodeError when the node does
    not start or does not answer to the first frame, with the last lines of its log.
    """

    def __init__(
        self, source: Source, parameters: Mapping[str, object], outputs: Sequence[str]
    ) -> None:
        require_ros()
        compressed = False
        if isinstance(source, BagSource):
            source.keep_messages = True
            kind, _ = source.bag.topics((COMPRESSED_IMAGE,)).get(source.topic, ("", 0))
            compressed = kind == COMPRESSED_IMAGE
        first = _first_frame(source)
        with ExitStack() as stack:
            scratch = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="anomaly_seg_replay_"))
            )
            os.environ.update(private_ros_environment(scratch))
            given = {**parameters, "image_transport": "compressed" if compressed else "raw"}
            self.process = stack.enter_context(
                detector_process(given, {}, scratch / "detector.log")
            )
            self.camera = stack.enter_context(
                CameraStandIn(outputs, self.process.check, compressed=compressed)
            )
            self._meet(first)
            self._stack = stack.pop_all()

    def _meet(self, first: Frame) -> None:
        """Wait until all topics have found each other, then let the node count from zero."""
        try:
            self.camera.wait_until_active()
            self.camera.ask(self.camera.message(first.image))
        except NodeError as error:
            if not self.process.is_running:
                raise  # its last lines are told already
            raise NodeError(f"{error}. Its last lines:\n{self.process.last_lines()}") from error
        self.settled_diagnostics()
        self.camera.reset_statistics()

    def settled_diagnostics(self) -> Mapping[str, str]:
        """The node's diagnostics once every frame that it received is accounted for, or the last
        ones after SETTLE_PATIENCE: masks are out before the node has counted them.
        """
        deadline = time.perf_counter() + SETTLE_PATIENCE
        while True:
            values = self.camera.fresh_diagnostics()
            counted = int(values["masks published"]) + sum(
                int(count)
                for name, count in values.items()
                if name.startswith(("dropped: ", "skipped: "))
            )
            if counted == int(values["images received"]) or time.perf_counter() > deadline:
                return values

    def message(self, frame: Frame) -> Any:
        """What is published for a frame: the bag's CDR bytes, or a message with its stamp."""
        if frame.message is not None:
            return frame.message.cdr
        message = self.camera.message(frame.image)
        nanoseconds = frame.stamp_ns
        if nanoseconds is None:
            nanoseconds = round(frame.index * 1e9 / DEFAULT_RATE)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, 10**9)
        return message

    def send(self, payload: Any) -> tuple[Stamp, float]:
        """Publish what `message` made, unchanged; its stamp, and when (perf_counter)."""
        stamp = read_stamp(payload) if isinstance(payload, bytes) else stamp_of(payload)
        return stamp, self.camera.publish(payload)

    def send_now(self, payload: Any) -> tuple[Stamp, float]:
        """Publish it stamped with the time of now; its stamp, and when (perf_counter)."""
        if not isinstance(payload, bytes):
            return self.camera.send(payload)
        now = self.camera.node.get_clock().now().to_msg()
        stamp = (now.sec, now.nanosec)
        return stamp, self.camera.publish(with_stamp(payload, stamp))

    def __enter__(self) -> ReplaySession:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def _first_frame(source: Source) -> Frame:
    frame = next((frame for frame in source if isinstance(frame, Frame)), None)
    if frame is None:
        raise ReplayError(f"{source.describe().path}: not one frame could be read")
    return frame
