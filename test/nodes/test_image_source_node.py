"""The image source in a real context: pixels, truth, calibration, stamps and pace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import make_recordings as recordings
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from anomaly_seg_ros.imaging.encodings import message_to_map, message_to_rgb
from anomaly_seg_ros.nodes.image_source_node import ImageSourceNode
from anomaly_seg_ros.scenes import RoadSequence

PATIENCE = 60.0
ALL = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)


class Player:
    """Readers first, then the source, in a context of its own because it ends with it."""

    def __init__(self) -> None:
        self.context, self.source_context = Context(), Context()
        for context in (self.context, self.source_context):
            rclpy.init(args=[], context=context)
        self.peer = rclpy.create_node("peer", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.peer)
        self.node: ImageSourceNode | None = None

    def read(self, kind: type, topic: str) -> list[Any]:
        messages: list[Any] = []
        self.peer.create_subscription(kind, topic, messages.append, ALL)
        return messages

    def play(self, **parameters: object) -> ImageSourceNode:
        """Play to the end and read what has arrived."""
        parameters = {"wait_for_subscribers": 1, "rate": 200.0, **parameters}
        self.node = ImageSourceNode(
            context=self.source_context,
            parameter_overrides=[Parameter(name, value=v) for name, v in parameters.items()],
        )
        deadline = time.monotonic() + PATIENCE
        while self.source_context.ok():
            assert time.monotonic() < deadline
            self.executor.spin_once(timeout_sec=0.02)
        for _ in range(20):  # the last images were acknowledged: they wait in this process
            self.executor.spin_once(timeout_sec=0.02)
        return self.node

    def close(self) -> None:
        self.executor.shutdown()
        if self.node is not None:
            self.node.destroy_node()
        self.peer.destroy_node()
        for context in (self.context, self.source_context):
            context.try_shutdown()


@pytest.fixture
def player() -> Iterator[Player]:
    made = Player()
    yield made
    made.close()


def folder_of_images(folder: Path, count: int = 3) -> list[np.ndarray]:
    """PNG files with known pixels."""
    folder.mkdir()
    random = np.random.default_rng(3)
    images = [random.integers(0, 255, (24, 32, 3), np.uint8) for _ in range(count)]
    for number, image in enumerate(images):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"frame{number}.png"), bgr)
    return images


def test_images_of_a_folder_arrive_in_order_with_their_pixels(
    player: Player, tmp_path: Path
) -> None:
    images = folder_of_images(tmp_path / "images")
    messages = player.read(Image, "image")
    node = player.play(source=str(tmp_path / "images"), frame_id="front")
    assert node.exit_status == 0
    assert len(messages) == 3
    for message, image in zip(messages, images, strict=True):
        np.testing.assert_array_equal(message_to_rgb(message), image)
        assert message.header.frame_id == "front"


def test_scenes_come_with_their_truth_and_their_camera(player: Player) -> None:
    messages, labels = player.read(Image, "image"), player.read(Image, "image_source/labels")
    anomalies = player.read(Image, "image_source/anomaly")
    infos = player.read(CameraInfo, "camera_info")
    player.play(source="scenes:4:3", width=160, height=120, stamps="recorded")
    assert [len(found) for found in (messages, labels, anomalies, infos)] == [3, 3, 3, 3]
    road = RoadSequence(4, (120, 160))
    truth = road.frame(2)
    np.testing.assert_array_equal(message_to_rgb(messages[2]), truth.image)
    np.testing.assert_array_equal(message_to_map(labels[2]), truth.labels)
    np.testing.assert_array_equal(message_to_map(anomalies[2]), truth.anomaly)
    assert {m[2].header.stamp.nanosec for m in (messages, labels, anomalies, infos)} == {133333333}
    assert (infos[0].width, infos[0].height, infos[0].k[0]) == (160, 120, road.lens.focal)
    assert infos[0].k[2] == pytest.approx(79.5)


def test_compressed_images_are_jpeg_on_their_own_topic(player: Player, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    smooth = cv2.resize(np.array([[[200, 30, 30], [30, 30, 200]]], np.uint8), (64, 48))
    cv2.imwrite(str(tmp_path / "images" / "a.png"), cv2.cvtColor(smooth, cv2.COLOR_RGB2BGR))
    messages = player.read(CompressedImage, "image/compressed")
    player.play(source=str(tmp_path / "images"), transport="compressed")
    assert messages[0].format == "jpeg"
    assert np.abs(message_to_rgb(messages[0]).astype(int) - smooth).mean() < 4


def test_images_that_cannot_be_read_are_told_and_the_others_played(
    player: Player, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder_of_images(tmp_path / "images")
    (tmp_path / "images" / "frame1.png").write_bytes(b"no picture at all")
    messages = player.read(Image, "image")
    node = player.play(source=str(tmp_path / "images"))
    assert len(messages) == 2 and node.exit_status == 0
    told = capfd.readouterr().err
    assert "frame frame1 cannot be read" in told and "1 could not be read" in told


def test_a_recording_without_one_readable_image_fails(
    player: Player, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    player.read(Image, "image")
    assert player.play(source=str(tmp_path / "images")).exit_status == 1
    assert "holds no readable image" in capfd.readouterr().err


def test_a_bag_is_played_with_its_calibration_frame_and_stamps(
    player: Player, tmp_path: Path
) -> None:
    make = recordings.ROS2.types
    info = make["sensor_msgs/msg/CameraInfo"](
        header=recordings.header(0),
        height=recordings.HEIGHT,
        width=recordings.WIDTH,
        distortion_model="plumb_bob",
        d=np.array([0.1, -0.2, 0.0, 0.0, 0.0]),
        k=np.array([300.0, 0.0, 48.0, 0.0, 300.0, 24.0, 0.0, 0.0, 1.0]),
        r=np.eye(3).ravel(),
        p=np.array([300.0, 0.0, 48.0, 0.0, 0.0, 300.0, 24.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        binning_x=0,
        binning_y=0,
        roi=make["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )
    images = [
        recordings.image_message(number, recordings.picture(number), "bgr8") for number in range(3)
    ]
    bag = recordings.write_bag(
        tmp_path / "bag", {recordings.IMAGE_TOPIC: images, "/front/camera_info": [info]}
    )
    messages, infos = player.read(Image, "image"), player.read(CameraInfo, "camera_info")
    player.play(source=str(bag), stamps="recorded", rate=0.0)
    assert [len(messages), len(infos)] == [3, 3]
    np.testing.assert_array_equal(message_to_rgb(messages[1]), recordings.picture(1))
    stamp = messages[1].header.stamp
    assert stamp.sec * 10**9 + stamp.nanosec == recordings.stamp_of(1)
    assert infos[1].header == messages[1].header
    assert messages[1].header.frame_id == recordings.FRAME_ID
    assert infos[1].k[0] == 300.0 and list(infos[1].d)[:2] == [0.1, -0.2]


def test_a_recording_can_be_played_again_and_again(player: Player, tmp_path: Path) -> None:
    folder_of_images(tmp_path / "images")
    messages = player.read(Image, "image")

    def enough(message: Image) -> None:
        if len(messages) == 8:
            assert player.node is not None
            player.node.set_parameters([Parameter("loop", value=False)])

    player.peer.create_subscription(Image, "image", enough, ALL)
    player.play(source=str(tmp_path / "images"), loop=True)
    assert len(messages) in (9, 12)  # the round that was running ends
    np.testing.assert_array_equal(message_to_rgb(messages[3]), message_to_rgb(messages[0]))
