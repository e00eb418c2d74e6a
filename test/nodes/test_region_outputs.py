"""`~/regions` and `~/markers` of the detector node."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from node_rig import RELIABLE, Rig, image_message, road_picture
from rclpy.context import Context
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String
from visualization_msgs.msg import Marker, MarkerArray

from anomaly_seg_ros.nodes import region_outputs
from anomaly_seg_ros.nodes.region_messages import FoundRegion
from anomaly_seg_ros.nodes.topics import info_topic

MakeRig = Callable[..., Rig]
BOX = (40, 40, 100, 120)
EVERY_FRAME = {"regions.confirm_frames": 1, "regions.window_frames": 1}
INFO_TOPIC = "/camera/camera_info"


def read(rig: Rig, output: str, kind: type) -> list[Any]:
    """Subscribe to an output; the list fills while spinning."""
    messages: list[Any] = []
    name = f"/detector/{output}"
    qos = QoSProfile(depth=50, reliability=RELIABLE)
    rig.peer.create_subscription(kind, name, messages.append, qos)
    rig.spin_until(lambda: rig.peer.count_publishers(name) == 1, f"publisher of {output}")
    rig.spin_for(0.1)
    return messages


def calibrate(rig: Rig) -> None:
    """Publish the CameraInfo of a camera of 160x120 pixels until the node has it."""
    message = CameraInfo(height=120, width=160)
    message.p = [200.0, 0.0, 79.5, 0.0, 0.0, 200.0, 59.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    publisher = rig.peer.create_publisher(CameraInfo, INFO_TOPIC, 1)
    outputs = rig.node._cameras[0].outputs
    assert outputs is not None
    regions = outputs._regions

    def arrived() -> bool:
        publisher.publish(message)
        return regions._info is not None

    rig.spin_until(arrived, "the calibration")


@pytest.fixture
def with_vision_msgs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions go out as JSON in the place of vision_msgs, which no package index has."""

    def as_text(types: Any, header: Any, found: list[FoundRegion]) -> String:
        items = [
            {
                "id": item.id,
                "box": [item.region.left, item.region.top, item.region.width, item.region.height],
                "score": item.region.max_score,
                "distance": item.ground.distance,
            }
            for item in found
        ]
        return String(data=json.dumps({"frame_id": header.frame_id, "regions": items}))

    types = SimpleNamespace(Detection2DArray=String)
    monkeypatch.setattr(region_outputs, "_vision_msgs", lambda: types)
    monkeypatch.setattr(region_outputs, "detection_array", as_text)


def test_markers_lie_around_the_unknown_object_under_the_cameras_header(rig: MakeRig) -> None:
    made = rig(**EVERY_FRAME, camera_height=1.5, camera_pitch=0.05)
    made.start()
    markers = read(made, "markers", MarkerArray)
    calibrate(made)
    sent = image_message(road_picture(box=BOX), number=7)
    made.camera.publish(sent)
    made.spin_until(lambda: markers, "markers")
    old, box, text = markers[0].markers
    assert old.action == Marker.DELETEALL
    assert box.header == text.header == sent.header
    columns = [200 * p.x / p.z + 79.5 for p in box.points]
    rows = [200 * p.y / p.z + 59.5 for p in box.points]
    found = (min(rows), min(columns), max(rows), max(columns))
    assert found == pytest.approx((39.5, 39.5, 99.5, 119.5), abs=4.0)  # a cell of the network
    number, score, distance, unit = text.text.split()[:4]
    assert (number, unit) == ("#1", "m") and float(score) > 0.9
    foot = max(rows) - 0.5
    fall = (foot - 59.5) / 200 * math.cos(0.05) + math.sin(0.05)
    assert float(distance) == pytest.approx(1.5 / fall, rel=0.02)


def test_regions_are_tracked_over_frames(rig: MakeRig, with_vision_msgs: None) -> None:
    made = rig()
    made.start()
    texts = read(made, "regions", String)
    for number in range(1, 6):
        picture = road_picture(box=(40, 30 + 4 * number, 80, 70 + 4 * number))
        made.camera.publish(image_message(picture, number))
        made.spin_until(lambda: len(texts) == number, "regions")  # noqa: B023
    found = [json.loads(text.data) for text in texts]
    assert [item["frame_id"] for item in found] == [f"camera_{n}" for n in range(1, 6)]
    assert [[r["id"] for r in item["regions"]] for item in found] == [[], [], [1], [1], [1]]
    assert math.isnan(found[-1]["regions"][0]["distance"])


def test_without_tracking_every_region_of_a_frame_is_reported_at_once(
    rig: MakeRig, with_vision_msgs: None
) -> None:
    made = rig(**{"regions.tracking": False})
    made.start()
    texts = read(made, "regions", String)
    picture = road_picture(box=BOX)
    picture[4:32, 4:32] = picture[60, 60]
    made.camera.publish(image_message(picture))
    made.spin_until(lambda: texts, "regions")
    regions = json.loads(texts[0].data)["regions"]
    assert [region["id"] for region in regions] == [None, None]
    assert made.set_parameter("regions.min_size", 1000.0).successful
    made.camera.publish(image_message(picture, 2))
    made.spin_until(lambda: len(texts) == 2, "regions")
    assert json.loads(texts[1].data)["regions"] == regions[:1]


def test_a_frame_without_regions_deletes_the_markers_before(rig: MakeRig) -> None:
    made = rig(**EVERY_FRAME)
    made.start()
    markers = read(made, "markers", MarkerArray)
    calibrate(made)
    made.camera.publish(image_message(road_picture()))
    made.spin_until(lambda: markers, "markers")
    assert [marker.action for marker in markers[0].markers] == [Marker.DELETEALL]


def test_regions_are_computed_only_for_subscribers(
    rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    find = region_outputs.find_regions

    def counting(*maps: Any, **options: Any) -> Any:
        found.append(maps)
        return find(*maps, **options)

    monkeypatch.setattr(region_outputs, "find_regions", counting)
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    made.camera.publish(image_message(road_picture(box=BOX), 1))
    made.spin_until(lambda: masks, "mask")
    assert not found
    read(made, "markers", MarkerArray)
    made.camera.publish(image_message(road_picture(box=BOX), 2))
    made.spin_until(lambda: len(masks) == 2, "mask")
    made.spin_until(lambda: len(found) == 1, "regions")
    made.spin_until(lambda: "regions ms" in made.fresh_diagnostics(), "the time it takes")


def test_a_missing_vision_msgs_is_told_once_and_the_topic_is_not_offered(
    rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_outputs, "_vision_msgs", lambda: None)
    made = rig()
    made.start()
    made.read("anomaly_mask")
    assert made.peer.count_publishers("/detector/regions") == 0
    assert len(made.logged("no topic ~/regions: vision_msgs is not installed")) == 1


def test_a_missing_calibration_is_told_once_with_its_topic(rig: MakeRig) -> None:
    made = rig(**EVERY_FRAME)
    made.start()
    markers = read(made, "markers", MarkerArray)
    masks = made.read("anomaly_mask")
    for number in range(1, 15):
        made.camera.publish(image_message(road_picture(box=BOX), number))
        made.spin_until(lambda: len(masks) == number, "mask")  # noqa: B023
    assert not markers
    told = made.logged(f"no CameraInfo on {INFO_TOPIC}")
    assert len(told) == 1 and "Remap `camera_info`" in told[0]


@pytest.mark.parametrize(
    ("remappings", "topic"),
    [
        ([], "/front/camera_info"),
        (["image:=image_rect"], "/front/camera_info"),
        (["image:=/left/image_raw"], "/left/camera_info"),
        (["image:=/left/image_raw", "camera_info:=/calibration"], "/calibration"),
        (["image:=/image"], "/camera_info"),
    ],
)
def test_calibration_is_looked_for_beside_the_image_or_where_it_is_remapped(
    remappings: list[str], topic: str
) -> None:
    context = Context()
    rclpy.init(args=[], context=context)
    arguments = [word for remapping in remappings for word in ("-r", remapping)]
    node = rclpy.create_node(
        "any", namespace="front", context=context, cli_args=["--ros-args", *arguments]
    )
    found = info_topic(node, "")
    node.destroy_node()
    context.try_shutdown()
    assert found == topic


def test_more_confirmations_than_frames_in_the_window_are_refused(rig: MakeRig) -> None:
    made = rig()
    made.start()
    result = made.set_parameter("regions.confirm_frames", 6)
    assert not result.successful and "6 of 5 frames" in result.reason
    assert made.set_parameter("regions.window_frames", 8).successful
    assert made.set_parameter("regions.confirm_frames", 6).successful
