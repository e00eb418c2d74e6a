"""Times of each mask as topics, to plot: `~/debug/...`."""

from __future__ import annotations

import time

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64

from anomaly_seg_ros.nodes.topics import output_name

QOS = QoSProfile(depth=10)
PROCESSING, PIPELINE, CYCLE = TOPICS = (
    "debug/processing_time_ms",  # arrival of the image to masks published
    "debug/pipeline_latency_ms",  # stamp of the image to masks published, by the node's clock
    "debug/cyclic_time_ms",  # since the masks before
)


class DebugOutputs:
    """The publishers of one camera. `publish` is called by the worker."""

    def __init__(self, node: Node, camera: str) -> None:
        self._node = node
        self._publishers: dict[str, Publisher] = {
            topic: node.create_publisher(Float64, output_name(camera, topic), QOS)
            for topic in TOPICS
        }
        self._last: float | None = None

    def publish(self, latency: float, age: float) -> None:
        """Seconds from arrival, and from the stamp, to the masks just published."""
        now = time.perf_counter()
        seconds = {PROCESSING: latency, PIPELINE: age}
        if self._last is not None:
            seconds[CYCLE] = now - self._last
        self._last = now
        for topic, value in seconds.items():
            if self._publishers[topic].get_subscription_count() > 0:
                self._publishers[topic].publish(Float64(data=1e3 * value))

    def destroy(self) -> None:
        """Take the publishers down."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
