"""The camera of a soak: a process of its own that numbers its images and counts what it sent.

`python -m anomaly_seg_ros.nodes.soak.source ORDER.json` publishes stored pictures in turn. The
frame_id of each image says which source sent it and as which number; the detector passes it on
unchanged, so that every mask can be told apart. The stamp is the time of sending.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.nodes.main_loop import end_with_parent
from anomaly_seg_ros.nodes.node_process import NodeProcess
from anomaly_seg_ros.replay.writers import write_atomically

MARK = "soak"  # begins every frame_id of ours
SETTLE = 0.5  # seconds between the first subscriber and the first image
SUBSCRIBER_PATIENCE = 60.0


@dataclass(frozen=True)
class SourceOrder:
    """What a source sends. images: .npy, uint8 [N, H, W, 3] RGB, sent in turn on every topic."""

    run: str  # tells the sources of one soak apart
    images: str
    topics: tuple[str, ...]
    compressed: bool
    rate: float  # images per second on each topic
    count: int  # images on each topic, 0: until it is ended
    report: str  # file that is written at the end


@dataclass(frozen=True)
class SourceReport:
    """What a source has sent on each topic, and how long that took."""

    sent: int
    seconds: float

    @property
    def rate(self) -> float:
        return (self.sent - 1) / self.seconds if self.sent > 1 and self.seconds > 0 else 0.0


def numbered(run: str, number: int) -> str:
    """The frame_id of an image.

    >>> numbered("1x", 17)
    'soak/1x/17'
    """
    return f"{MARK}/{run}/{number}"


def number_in(frame_id: str) -> tuple[str, int] | None:
    """Run and number of an image of ours; None for others.

    >>> number_in("soak/1x/17"), number_in("camera_optical_frame")
    (('1x', 17), None)
    """
    parts = frame_id.split("/")
    if len(parts) != 3 or parts[0] != MARK or not parts[2].isdecimal():
        return None
    return parts[1], int(parts[2])


def start_source(order: SourceOrder, scratch: Path) -> NodeProcess:
    """Start the process. Raises NodeError."""
    path = scratch / f"source_{order.run}.json"
    path.write_text(json.dumps(asdict(order)), encoding="utf-8")
    module = "anomaly_seg_ros.nodes.soak.source"
    return NodeProcess(module, [str(path)], {}, path.with_suffix(".log"))


def read_report(order: SourceOrder) -> SourceReport | None:
    """What the source has sent; None while it is still sending."""
    path = Path(order.report)
    return SourceReport(**json.loads(path.read_text())) if path.is_file() else None


def main(arguments: Sequence[str]) -> int:
    """Send what the order says; SIGINT ends it."""
    import rclpy
    from rclpy.executors import ExternalShutdownException

    order = SourceOrder(**json.loads(Path(arguments[0]).read_text()))
    end_with_parent()
    rclpy.init(args=[])
    node = rclpy.create_node(f"soak_source_{order.run}")
    try:
        report = _send(node, order)
    except ExternalShutdownException:
        return 0
    write_atomically(Path(order.report), json.dumps(asdict(report)).encode())
    time.sleep(SETTLE)  # the last images are on their way
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _send(node: Any, order: SourceOrder) -> SourceReport:
    from rclpy.qos import QoSProfile, QoSReliabilityPolicy
    from sensor_msgs.msg import CompressedImage, Image

    kind, suffix = (CompressedImage, "/compressed") if order.compressed else (Image, "")
    qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
    publishers = [node.create_publisher(kind, topic + suffix, qos) for topic in order.topics]
    messages = _messages(order)
    deadline = time.perf_counter() + SUBSCRIBER_PATIENCE
    while not all(publisher.get_subscription_count() for publisher in publishers):
        if time.perf_counter() > deadline:
            raise SystemExit(f"nobody subscribes to {', '.join(order.topics)}{suffix}")
        time.sleep(0.02)
    time.sleep(SETTLE)
    clock, period = node.get_clock(), 1 / order.rate
    start = due = moment = time.perf_counter()
    number = 0
    while node.context.ok() and (not order.count or number < order.count):
        time.sleep(max(0.0, due - time.perf_counter()))
        moment = time.perf_counter()
        message = messages[number % len(messages)]
        message.header.frame_id = numbered(order.run, number)
        for publisher in publishers:
            message.header.stamp = clock.now().to_msg()
            publisher.publish(message)
        number += 1
        due = max(due + period, moment)  # late images move the others on: no burst follows
    return SourceReport(number, moment - start)


def _messages(order: SourceOrder) -> list[Any]:
    from sensor_msgs.msg import CompressedImage, Image

    from anomaly_seg_ros.imaging.encodings import fill_image
    from anomaly_seg_ros.replay.writers import jpeg_bytes

    messages: list[Any] = []
    for image in np.load(order.images):
        if order.compressed:
            message = CompressedImage(format="jpeg")
            message.data.frombytes(jpeg_bytes(image))
        else:
            message = Image()
            fill_image(message, image, "rgb8")
        messages.append(message)
    return messages


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
