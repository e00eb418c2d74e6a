"""The topics of anomaly regions: `~/regions` for programs, `~/markers` for RViz and Foxglove."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo
from visualization_msgs.msg import MarkerArray

from anomaly_seg_ros.detector import MAPS, Detection
from anomaly_seg_ros.errors import DetectorError, NodeError
from anomaly_seg_ros.ground import NOWHERE, Mount, Pinhole, ground_point
from anomaly_seg_ros.nodes.region_messages import (
    FoundRegion,
    detection_array,
    marker_array,
    pinhole,
)
from anomaly_seg_ros.nodes.topics import info_name, info_topic, output_name
from anomaly_seg_ros.region_tracking import Persistence, RegionTracker
from anomaly_seg_ros.regions import Region, find_regions, smallest_area

MARKER_LIFETIME = 1.0  # seconds: markers of a detector that has stopped vanish
UNCALIBRATED_FRAMES = 10  # without CameraInfo, before that is told: the first may overtake it
INFO_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class RegionOutput:
    """One topic of regions: its private name and what of a Detection it needs."""

    topic: str
    needs: tuple[str, ...]
    description: str


TRACKED = RegionOutput("", ("mask", "score"), "followed without a message, for the recorder")
REGIONS = RegionOutput("regions", ("mask", "score"), "boxes, scores, ids and positions")
MARKERS = RegionOutput("markers", MAPS, "boxes and texts to draw over the image")


@dataclass(frozen=True)
class RegionSettings:
    """How regions are made. min_size: see `smallest_area`; mount of height 0: no distances."""

    min_size: float = 0.0005
    tracking: bool = True
    persistence: Persistence = field(default_factory=Persistence)
    mount: Mount = field(default_factory=Mount)


def region_settings(given: Mapping[str, Any]) -> RegionSettings:
    """From the parameters regions.* and camera_*. Raises NodeError when they do not fit."""
    names = {"confirm": "confirm_frames", "window": "window_frames", "forget": "forget_frames"}
    try:
        persistence = Persistence(**{key: given[f"regions.{names[key]}"] for key in names})
    except DetectorError as error:
        raise NodeError(
            f"{error}: see regions.confirm_frames, .window_frames, .forget_frames"
        ) from error
    return RegionSettings(
        min_size=given["regions.min_size"],
        tracking=given["regions.tracking"],
        persistence=persistence,
        mount=Mount(given["camera_height"], given["camera_pitch"]),
    )


class RegionOutputs:
    """The publishers of one camera's regions and the camera_info they need.

    `wanted` and `publish` are called by the worker, everything else by the executor's thread.
    """

    def __init__(
        self, node: Node, camera: str, class_names: Mapping[int, str], qos: QoSProfile
    ) -> None:
        """class_names: by id; may be replaced while frames flow."""
        self._node = node
        self._camera = camera
        self.class_names = class_names
        self._tracker = RegionTracker()
        self._info: CameraInfo | None = None  # the newest; replaced as a whole
        self._uncalibrated = 0  # frames that needed it and had none
        self._vision_msgs = _vision_msgs()
        self._publishers: dict[RegionOutput, Publisher] = {
            MARKERS: node.create_publisher(MarkerArray, output_name(camera, MARKERS.topic), qos)
        }
        if self._vision_msgs is not None:
            self._publishers[REGIONS] = node.create_publisher(
                self._vision_msgs.Detection2DArray, output_name(camera, REGIONS.topic), qos
            )
        else:
            node.get_logger().info(
                f"no topic {output_name(camera, REGIONS.topic)}: vision_msgs is not installed",
                once=True,
            )
        self._info_topic = info_topic(node, camera)
        self._subscription: Subscription = node.create_subscription(
            CameraInfo, self._info_topic, self._on_info, INFO_QOS
        )

    def wanted(self, always: bool = False) -> list[RegionOutput]:
        """The outputs that someone subscribes to right now; frames nobody saw are no history.

        always: regions are followed even when nobody subscribes.
        """
        watched = [
            output
            for output in (REGIONS, MARKERS)
            if output in self._publishers and self._publishers[output].get_subscription_count() > 0
        ]
        if not watched and always:
            return [TRACKED]
        if not watched:
            self._tracker.reset()
        return watched

    def publish(
        self,
        outputs: Collection[RegionOutput],
        header: Any,
        detection: Detection,
        settings: RegionSettings,
        send: Callable[[Publisher, Any], None],
    ) -> tuple[float, int]:
        """Find the regions of one frame and publish them under the camera's own header.

        Returns the wall seconds of finding and tracking, and how many there are.
        """
        start = time.perf_counter()
        assert detection.mask is not None  # every output needs it
        height, width = detection.mask.shape
        lens = pinhole(self._info, height, width) if self._info is not None else None
        found = self._found(header, detection, lens, settings)
        seconds = time.perf_counter() - start
        for output in outputs:
            if output is REGIONS:
                send(self._publishers[output], detection_array(self._vision_msgs, header, found))
            elif output is MARKERS and lens is not None:
                message = marker_array(header, found, lens, self.class_names, MARKER_LIFETIME)
                send(self._publishers[output], message)
        if lens is None and (MARKERS in outputs or settings.mount.height > 0):
            self._warn_of_missing_calibration()
        return seconds, len(found)

    def destroy(self) -> None:
        """Take publishers and subscription down."""
        self._node.destroy_subscription(self._subscription)
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _found(
        self, header: Any, detection: Detection, lens: Pinhole | None, settings: RegionSettings
    ) -> list[FoundRegion]:
        assert detection.mask is not None
        shape: tuple[int, int] = detection.mask.shape
        regions = find_regions(
            detection.mask,
            detection.score,
            detection.labels,
            min_area=smallest_area(settings.min_size, shape),
        )

        def located(region: Region, number: int | None) -> FoundRegion:
            ground = ground_point(*region.foot, lens, settings.mount) if lens else NOWHERE
            return FoundRegion(region, number, ground)

        if not settings.tracking:
            self._tracker.reset()
            return [located(region, None) for region in regions]
        self._tracker.persistence = settings.persistence
        stamp = header.stamp.sec + header.stamp.nanosec * 1e-9
        tracked = self._tracker.update(regions, stamp, shape)
        return [located(item.region, item.id) for item in tracked]

    def _warn_of_missing_calibration(self) -> None:
        self._uncalibrated += 1
        if self._uncalibrated == UNCALIBRATED_FRAMES:
            found = "an uncalibrated" if self._info is not None else "no"
            self._node.get_logger().warning(
                f"{found} CameraInfo on {self._info_topic}: no "
                f"{output_name(self._camera, MARKERS.topic)} and no distances. Remap "
                f"`{info_name(self._camera)}` to the topic of the camera's calibration"
            )

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message


def _vision_msgs() -> ModuleType | None:
    """vision_msgs.msg of version 4 or later, or None."""
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:
        return None
