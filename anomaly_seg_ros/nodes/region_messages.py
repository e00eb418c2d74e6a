"""Regions as messages: vision_msgs/Detection2DArray and visualization_msgs/MarkerArray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from anomaly_seg_ros.ground import GroundPoint, Pinhole
from anomaly_seg_ros.regions import Region

ANOMALY = "anomaly"  # class_id of every detection
MARKER_DEPTH = 1.0  # m before the camera, where the distance is unknown
DEPTH_LIMITS = (1.0, 80.0)  # m: what is farther is drawn here, RViz's cameras see 100 m
LINE_PIXELS = 2.0
TEXT_PIXELS = 16.0
COLOR = (1.0, 0.45, 0.0)


@dataclass(frozen=True)
class FoundRegion:
    """What is published of one region. id: of the track, None without tracking."""

    region: Region
    id: int | None
    ground: GroundPoint  # where its foot stands; not known without geometry


def pinhole(info: CameraInfo, height: int, width: int) -> Pinhole | None:
    """The intrinsics of a picture [height, width] from its camera_info; None when uncalibrated.

    P without distortion, as RViz takes it, or K where P is empty; cut to the region of interest,
    and scaled when the picture has another size (binning, or a driver that shrinks images).
    """
    fx, fy, cx, cy = info.p[0], info.p[5], info.p[2], info.p[6]
    if not fx > 0 or not fy > 0:
        fx, fy, cx, cy = info.k[0], info.k[4], info.k[2], info.k[5]
    columns, rows = info.roi.width or info.width, info.roi.height or info.height
    if not fx > 0 or not fy > 0 or not columns or not rows:
        return None
    across, down = width / columns, height / rows
    return Pinhole(
        fx=fx * across,
        fy=fy * down,
        cx=(cx - info.roi.x_offset + 0.5) * across - 0.5,
        cy=(cy - info.roi.y_offset + 0.5) * down - 0.5,
    )


def detection_array(types: Any, header: Any, found: Sequence[FoundRegion]) -> Any:
    """A Detection2DArray of vision_msgs 4 or later; `types` is vision_msgs.msg, which is optional.

    One hypothesis each: class_id `anomaly`, the highest score inside, and as position of the pose
    the foot on the road, in the optical frame of the header; NaN when it is unknown.
    """
    message = types.Detection2DArray(header=header)
    for item in found:
        region = item.region
        detection = types.Detection2D(header=header)
        detection.id = "" if item.id is None else str(item.id)
        detection.bbox.center.position.x = region.left + region.width / 2  # of the box's edges
        detection.bbox.center.position.y = region.top + region.height / 2
        detection.bbox.size_x = float(region.width)
        detection.bbox.size_y = float(region.height)
        result = types.ObjectHypothesisWithPose()
        result.hypothesis.class_id = ANOMALY
        result.hypothesis.score = float(region.max_score)
        position = result.pose.pose.position
        position.x, position.y, position.z = item.ground.optical
        detection.results = [result]
        message.detections.append(detection)
    return message


def marker_array(
    header: Any,
    found: Sequence[FoundRegion],
    lens: Pinhole,
    class_names: Mapping[int, str],
    lifetime: float,
) -> MarkerArray:
    """A box and a text for each region, in the optical frame of the header.

    Seen through the camera they lie on the picture; the depth is that of the foot, or
    MARKER_DEPTH. The first marker deletes what the frame before has drawn; `lifetime`, in seconds,
    ends what no later frame deletes.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    expiry = Duration(sec=int(lifetime), nanosec=int(lifetime % 1 * 1e9))
    for index, item in enumerate(found):
        region = item.region
        depth = MARKER_DEPTH
        if item.ground.known:
            depth = min(max(item.ground.optical[2], DEPTH_LIMITS[0]), DEPTH_LIMITS[1])
        left, top = region.left - 0.5, region.top - 0.5  # the edges of the box
        right, bottom = left + region.width, top + region.height
        common = {
            "header": header,
            "id": index if item.id is None else item.id & 0x7FFFFFFF,
            "action": Marker.ADD,
            "color": ColorRGBA(r=COLOR[0], g=COLOR[1], b=COLOR[2], a=1.0),
            "lifetime": expiry,
        }
        box = Marker(ns="box", type=Marker.LINE_STRIP, **common)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        box.points = [_point(lens, column, row, depth) for column, row in corners]
        box.scale.x = LINE_PIXELS * depth / lens.fx
        text = Marker(ns="text", type=Marker.TEXT_VIEW_FACING, **common)
        text.text = marker_text(item, class_names)
        text.pose.position = _point(lens, (left + right) / 2, top - 0.7 * TEXT_PIXELS, depth)
        text.scale.z = TEXT_PIXELS * depth / lens.fy
        markers += [box, text]
    return MarkerArray(markers=markers)


def marker_text(item: FoundRegion, class_names: Mapping[int, str]) -> str:
    """id, highest score, distance and the class the network takes it for: `#3 0.94 12.1 m car`."""
    parts = [] if item.id is None else [f"#{item.id}"]
    if not math.isnan(item.region.max_score):
        parts.append(f"{item.region.max_score:.2f}")
    if item.ground.known:
        parts.append(f"{item.ground.distance:.1f} m")
    name = class_names.get(-1 if item.region.class_id is None else item.region.class_id)
    return " ".join([*parts, *([name] if name else [])])


def _point(lens: Pinhole, column: float, row: float, depth: float) -> Point:
    x, y = lens.ray(column, row)
    return Point(x=x * depth, y=y * depth, z=depth)
