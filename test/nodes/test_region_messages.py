"""Regions as messages, and lenses out of camera_info."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from geometry_msgs.msg import PoseWithCovariance
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from anomaly_seg_ros.ground import NOWHERE, Mount, Pinhole, ground_point
from anomaly_seg_ros.nodes.region_messages import (
    FoundRegion,
    detection_array,
    marker_array,
    marker_text,
    pinhole,
)
from anomaly_seg_ros.regions import Region

LENS = Pinhole(fx=200.0, fy=200.0, cx=79.5, cy=59.5)
REGION = Region(40, 60, 21, 30, 500, (50.0, 89.0), 0.6, 0.9375, 13)
NAMES = {13: "car"}
HEADER = Header(frame_id="camera_optical_frame")
HEADER.stamp.sec = 42
STANDING = FoundRegion(REGION, 7, ground_point(50.0, 89.0, LENS, Mount(1.5, 0.0)))
UNKNOWN = FoundRegion(REGION, None, NOWHERE)


# The fields of vision_msgs 4.1 (Humble and later), whose messages no package index has.
@dataclass(slots=True)
class Point2D:
    x: float = 0.0
    y: float = 0.0


@dataclass(slots=True)
class Pose2D:
    position: Point2D = field(default_factory=Point2D)
    theta: float = 0.0


@dataclass(slots=True)
class BoundingBox2D:
    center: Pose2D = field(default_factory=Pose2D)
    size_x: float = 0.0
    size_y: float = 0.0


@dataclass(slots=True)
class ObjectHypothesis:
    class_id: str = ""
    score: float = 0.0


@dataclass(slots=True)
class ObjectHypothesisWithPose:
    hypothesis: ObjectHypothesis = field(default_factory=ObjectHypothesis)
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)


@dataclass(slots=True)
class Detection2D:
    header: Header = field(default_factory=Header)
    results: list[ObjectHypothesisWithPose] = field(default_factory=list)
    bbox: BoundingBox2D = field(default_factory=BoundingBox2D)
    id: str = ""


@dataclass(slots=True)
class Detection2DArray:
    header: Header = field(default_factory=Header)
    detections: list[Detection2D] = field(default_factory=list)


VISION_MSGS = SimpleNamespace(
    Detection2DArray=Detection2DArray,
    Detection2D=Detection2D,
    ObjectHypothesisWithPose=ObjectHypothesisWithPose,
)


def info(height: int = 120, width: int = 160) -> CameraInfo:
    """Of a camera with LENS."""
    message = CameraInfo(height=height, width=width)
    message.p = [200.0, 0.0, 79.5, 0.0, 0.0, 200.0, 59.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def test_a_detection_has_box_id_score_and_the_foot_on_the_road() -> None:
    message = detection_array(VISION_MSGS, HEADER, [STANDING])
    (detection,) = message.detections
    assert message.header == detection.header == HEADER
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (50.5, 75.0)
    assert (detection.bbox.size_x, detection.bbox.size_y, detection.id) == (21.0, 30.0, "7")
    (result,) = detection.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("anomaly", 0.9375)
    position = result.pose.pose.position
    assert position.y == pytest.approx(1.5)  # as far below a level camera as it is high
    assert position.z == pytest.approx(1.5 * 200 / 29.5)


def test_an_unknown_place_is_nan_and_no_track_is_no_id() -> None:
    (detection,) = detection_array(VISION_MSGS, HEADER, [UNKNOWN]).detections
    position = detection.results[0].pose.pose.position
    assert detection.id == "" and all(map(math.isnan, (position.x, position.y, position.z)))


def test_no_regions_are_an_empty_message_under_the_header() -> None:
    message = detection_array(VISION_MSGS, HEADER, [])
    assert message.header == HEADER and message.detections == []


@pytest.mark.parametrize("found", [STANDING, UNKNOWN])
def test_seen_through_the_camera_the_marker_lies_on_the_edges_of_the_box(
    found: FoundRegion,
) -> None:
    _, box, text = marker_array(HEADER, [found], LENS, NAMES, 1.5).markers
    pixels = [(200 * p.x / p.z + 79.5, 200 * p.y / p.z + 59.5) for p in box.points]
    corners = [(39.5, 59.5), (60.5, 59.5), (60.5, 89.5), (39.5, 89.5), (39.5, 59.5)]
    assert pixels == [pytest.approx(corner) for corner in corners]
    depth = found.ground.optical[2] if found.ground.known else 1.0
    assert {p.z for p in box.points} == {text.pose.position.z} == {depth}
    assert (box.header, text.header) == (HEADER, HEADER)
    assert (box.lifetime.sec, box.lifetime.nanosec) == (1, 500_000_000)


def test_markers_of_the_frame_before_are_deleted_first() -> None:
    markers = marker_array(HEADER, [STANDING, UNKNOWN], LENS, NAMES, 1.0).markers
    assert [m.action for m in markers] == [Marker.DELETEALL, *[Marker.ADD] * 4]
    assert len({(m.ns, m.id) for m in markers[1:]}) == 4


def test_a_far_foot_is_drawn_where_rviz_still_sees_it() -> None:
    far = FoundRegion(REGION, 1, ground_point(50.0, 59.6, LENS, Mount(1.5, 0.0)))
    assert far.ground.distance > 1000
    box = marker_array(HEADER, [far], LENS, NAMES, 1.0).markers[1]
    assert {p.z for p in box.points} == {80.0}


def test_the_text_tells_what_is_known() -> None:
    assert marker_text(STANDING, NAMES) == f"#7 0.94 {STANDING.ground.distance:.1f} m car"
    assert marker_text(UNKNOWN, {}) == "0.94"


def test_the_lens_is_that_of_the_projection_matrix() -> None:
    assert pinhole(info(), 120, 160) == LENS


def test_without_projection_matrix_the_lens_is_that_of_the_camera_matrix() -> None:
    message = CameraInfo(height=120, width=160)
    message.k = [200.0, 0.0, 79.5, 0.0, 200.0, 59.5, 0.0, 0.0, 1.0]
    assert pinhole(message, 120, 160) == LENS


def test_a_picture_of_half_the_size_has_half_the_focal_length() -> None:
    half = pinhole(info(), 60, 80)
    assert half == Pinhole(fx=100.0, fy=100.0, cx=39.5, cy=29.5)


def test_a_region_of_interest_moves_the_centre() -> None:
    message = info()
    message.roi.x_offset, message.roi.y_offset = 20, 10
    message.roi.width, message.roi.height = 100, 60
    assert pinhole(message, 60, 100) == Pinhole(fx=200.0, fy=200.0, cx=59.5, cy=49.5)


def test_an_uncalibrated_camera_has_no_lens() -> None:
    assert pinhole(CameraInfo(height=120, width=160), 120, 160) is None
    assert pinhole(info(0, 0), 120, 160) is None
