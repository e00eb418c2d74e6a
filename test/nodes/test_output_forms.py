"""Smaller, compressed and recorded outputs, and the times of each mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from node_rig import RELIABLE, Rig, image_message, road_picture
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float64
from std_srvs.srv import Trigger

from anomaly_seg_ros.imaging import decode_compressed, message_to_map
from anomaly_seg_ros.replay.sources import open_source

MakeRig = Callable[..., Rig]
BOX = (40, 40, 100, 120)


def read_as(rig: Rig, kind: type, output: str) -> list:
    """Subscribe to an output of another type than Image."""
    messages: list = []
    qos = QoSProfile(depth=50, reliability=RELIABLE)
    rig.peer.create_subscription(kind, f"/detector/{output}", messages.append, qos)
    name = f"/detector/{output}"
    rig.spin_until(lambda: rig.node.count_subscribers(name) == 1, name)
    rig.spin_for(0.2)
    return messages


def test_the_compressed_mask_is_the_mask(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    small = read_as(made, CompressedImage, "anomaly_mask/compressed")
    made.camera.publish(image_message(road_picture(box=BOX)))
    made.spin_until(lambda: masks and small, "both forms")
    assert small[0].format == "mono8; png compressed " and small[0].header == masks[0].header
    decoded = decode_compressed(small[0].data)
    assert np.array_equal(decoded[..., 0], message_to_map(masks[0])) and decoded.any()


def test_a_compressed_overlay_alone_is_enough_to_work_for(rig: MakeRig) -> None:
    made = rig()
    made.start()
    pictures = read_as(made, CompressedImage, "overlay/compressed")
    made.camera.publish(image_message(road_picture(box=BOX)))
    made.spin_until(lambda: pictures, "the overlay")
    coarse = len(pictures[0].data)
    assert made.set_parameter("jpeg_quality", 5).successful
    made.camera.publish(image_message(road_picture(box=BOX), 2))
    made.spin_until(lambda: len(pictures) == 2, "the next one")
    assert len(pictures[1].data) < coarse


def test_outputs_for_programs_shrink_and_the_overlay_does_not(rig: MakeRig) -> None:
    made = rig(output_scale=0.25)
    made.start()
    read = {name: made.read(name) for name in ("anomaly_mask", "segmentation", "overlay")}
    made.camera.publish(image_message(road_picture(box=(50, 50, 53, 53))))
    made.spin_until(lambda: all(read.values()), "all outputs")
    sizes = {name: (found[0].height, found[0].width) for name, found in read.items()}
    assert sizes == {"anomaly_mask": (30, 40), "segmentation": (30, 40), "overlay": (120, 160)}
    assert made.set_parameter("output_scale", 1.0).successful
    made.camera.publish(image_message(road_picture(), 2))
    made.spin_until(lambda: len(read["anomaly_mask"]) == 2, "a whole mask")
    assert read["anomaly_mask"][1].height == 120


def test_the_times_of_each_mask_can_be_plotted(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    names = ("processing_time_ms", "cyclic_time_ms", "pipeline_latency_ms")
    times = {name: read_as(made, Float64, f"debug/{name}") for name in names}
    for number in range(3):
        made.camera.publish(image_message(road_picture(), number))
        made.spin_until(lambda: len(masks) == number + 1, "a mask")  # noqa: B023
    counts = dict(zip(names, (3, 2, 3), strict=True))  # no mask comes before the first
    made.spin_until(lambda: counts == {name: len(times[name]) for name in names}, "all times")
    assert all(0 < message.data < 60_000 for message in times["processing_time_ms"])


def test_stamps_that_go_back_are_counted_and_told(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    for sent, number in enumerate((100, 101, 3, 4), start=1):
        made.camera.publish(image_message(road_picture(), number))
        made.spin_until(lambda: len(masks) == sent, "a mask")  # noqa: B023
    made.spin_until(lambda: made.diagnostics.get("stamps gone back") == "1", "the count")
    made.spin_until(lambda: made.logged("98.0 s before the last one's"), "the warning")


def test_a_detection_is_recorded_though_nobody_subscribes(rig: MakeRig, tmp_path: Path) -> None:
    made = rig(**{"record.folder": str(tmp_path), "record.after": 0.2, "record.min_fraction": 0.01})
    made.start()
    for number in range(3):
        made.camera.publish(image_message(road_picture(box=BOX), number))
        made.spin_for(0.1)
    made.spin_until(lambda: made.diagnostics.get("recordings written") == "1", "the recording")
    (bag,) = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    with open_source(str(bag), topic="/camera/image") as source:
        frames = list(source.frames())
    assert 1 <= len(frames) <= 3
    with open_source(str(bag), topic="/detector/anomaly_mask") as source:
        assert len(list(source.frames())) >= 1
    assert '"operating_point": "default"' in (bag / "event.json").read_text()


def test_a_camera_without_stamps_is_recorded_in_time(rig: MakeRig, tmp_path: Path) -> None:
    made = rig(**{"record.folder": str(tmp_path), "record.after": 0.2, "record.min_fraction": 0.01})
    made.start()
    message = image_message(road_picture(box=BOX))
    message.header.stamp.sec = message.header.stamp.nanosec = 0
    made.camera.publish(message)
    made.spin_until(lambda: made.diagnostics.get("recordings written") == "1", "the recording")
    (bag,) = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    for topic in ("/camera/image", "/detector/anomaly_mask"):
        with open_source(str(bag), topic=topic) as source:
            assert [frame.stamp_ns > 1e18 for frame in source.frames()] == [True], topic


def test_recording_by_hand_needs_a_folder(rig: MakeRig) -> None:
    made = rig()
    made.start()
    client = made.peer.create_client(Trigger, "/detector/record")
    made.spin_until(client.service_is_ready, "the service")
    future = client.call_async(Trigger.Request())
    made.spin_until(future.done, "the answer")
    assert not future.result().success and "record.folder" in future.result().message
