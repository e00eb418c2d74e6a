"""A thousand malformed images into the real detector process: counted, told once, survived."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from node_rig import image_message, road_picture
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from anomaly_seg_ros.imaging.encodings import SUPPORTED_ENCODINGS, message_to_map
from anomaly_seg_ros.nodes.camera_stand_in import CameraStandIn
from anomaly_seg_ros.nodes.node_process import NodeProcess, detector_process
from anomaly_seg_ros.nodes.reports import MAX_KINDS

SEED = 20
PATIENCE = 60.0


def test_a_thousand_malformed_images_are_counted_and_told_once(tiny: Path, tmp_path: Path) -> None:
    parameters = {"bundle": str(tiny), "queue_policy": "all", "queue_depth": 100}
    log = tmp_path / "detector.log"
    with (
        detector_process(parameters, {}, log) as process,
        CameraStandIn(["anomaly_mask"], process.check) as camera,
    ):
        values = send_all(camera, list(malformed_images(1000)))
        assert values["dropped: malformed"] == "1000"
        assert values["images received"] == "1000" and values["dropped: failed"] == "0"
        expect_one_report_per_kind(values, log, 1000)
        expect_a_good_mask(camera, camera.message(road_picture(box=(40, 40, 100, 120))))
    assert process.wait() == 0


def test_malformed_compressed_images_are_counted_and_told_once(tiny: Path, tmp_path: Path) -> None:
    parameters = {"bundle": str(tiny), "queue_policy": "all", "image_transport": "compressed"}
    log = tmp_path / "detector.log"
    with (
        detector_process(parameters, {}, log) as process,
        CameraStandIn(["anomaly_mask"], process.check, compressed=True) as camera,
    ):
        values = send_all(camera, list(malformed_jpegs(200)))
        assert values["dropped: malformed"] == "200"
        expect_one_report_per_kind(values, log, 200)
        expect_a_good_mask(camera, camera.message(road_picture(box=(40, 40, 100, 120))))
    assert process.wait() == 0


@pytest.mark.parametrize("seed", range(3))
def test_bytes_that_are_no_message_at_all_leave_the_node_alive(
    detector: NodeProcess, seed: int
) -> None:
    """What a broken publisher puts on the wire never reaches the callback, or is malformed."""
    from rclpy.serialization import serialize_message

    chance = random.Random(seed)
    good = serialize_message(image_message(road_picture(8, 8)))
    with CameraStandIn(["anomaly_mask"], detector.check) as camera:
        camera.wait_until_active(PATIENCE)
        for _ in range(60):
            broken = bytearray(good)
            for _ in range(chance.randrange(1, 8)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            camera._camera.publish(bytes(broken[: chance.randrange(8, len(broken) + 1)]))
            camera.spin_until(lambda: False, time.perf_counter() + 0.002)
        expect_a_good_mask(camera, camera.message(road_picture(box=(40, 40, 100, 120))))


@pytest.fixture(scope="module")
def detector(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One detector for all broken publishers: it must survive each."""
    log = tmp_path_factory.mktemp("detector") / "detector.log"
    with detector_process({"bundle": str(tiny)}, {}, log) as process:
        yield process
        process.check()


def send_all(camera: CameraStandIn, messages: list[Any]) -> dict[str, str]:
    """Send them all and wait until the node has counted them; its diagnostics then."""
    camera.wait_until_active(PATIENCE)
    camera.ask(camera.message(road_picture()), PATIENCE)
    camera.reset_statistics()
    qos = QoSProfile(depth=len(messages), reliability=QoSReliabilityPolicy.RELIABLE)
    publisher = camera.node.create_publisher(type(messages[0]), camera._camera.topic_name, qos)
    deadline = time.perf_counter() + PATIENCE
    assert camera.spin_until(lambda: publisher.get_subscription_count() == 1, deadline)
    for message in messages:
        publisher.publish(message)
        camera.spin_until(lambda: False, time.perf_counter() + 0.001)
    while int(camera.fresh_diagnostics(PATIENCE)["dropped: malformed"]) < len(messages):
        assert time.perf_counter() < deadline + PATIENCE, camera.diagnostics
    return camera.diagnostics


def expect_one_report_per_kind(values: dict[str, str], log: Path, total: int) -> None:
    """Every image has a kind, and each kind stands once in the log."""
    kinds = {k: int(v) for k, v in values.items() if k.startswith("bad input: ")}
    assert sum(kinds.values()) == total
    assert 3 <= len(kinds) <= MAX_KINDS + 1
    reports = [line for line in log.read_text().splitlines() if "bad image" in line]
    assert len(reports) == len(kinds), "\n".join(reports)


def expect_a_good_mask(camera: CameraStandIn, message: Any) -> None:
    """The node still finds the unknown object of a good image."""
    stamp, answer = camera.ask(message, PATIENCE)
    found, _ = answer["anomaly_mask"]
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == stamp
    mask = message_to_map(found)
    assert mask[70, 80] == 255 and mask[10, 10] == 0


def malformed_images(count: int) -> Iterator[Image]:
    """Images whose fields contradict each other, in every way and encoding there is."""
    chance = random.Random(SEED)
    breaks = (cut_off, short_step, no_pixels, unknown_encoding, enormous, empty)
    for number in range(count):
        message = image_message(road_picture(6, 8), number)
        message.encoding = chance.choice(SUPPORTED_ENCODINGS)
        message.step = 8 * 8
        message.data.frombytes(bytes(64 * 9))
        breaks[number % len(breaks)](message, chance)
        yield message


def cut_off(message: Image, chance: random.Random) -> None:
    """Fewer bytes than rows times step."""
    del message.data[chance.randrange(0, message.step * message.height) :]


def short_step(message: Image, chance: random.Random) -> None:
    """Rows that are shorter than their pixels."""
    message.step = chance.randrange(0, message.width)


def no_pixels(message: Image, chance: random.Random) -> None:
    """No rows or no columns."""
    if chance.random() < 0.5:
        message.width = 0
    else:
        message.height = 0


def unknown_encoding(message: Image, chance: random.Random) -> None:
    """A name that is none, printable or not."""
    letters = [chr(chance.randrange(1, 0x2FF)) for _ in range(chance.randrange(0, 12))]
    message.encoding = "x" + "".join(letters)


def enormous(message: Image, chance: random.Random) -> None:
    """Sizes of four thousand million pixels."""
    message.width = chance.randrange(1 << 20, 1 << 32)
    message.height = chance.randrange(1 << 20, 1 << 32)
    message.step = chance.randrange(1 << 20, 1 << 32)


def empty(message: Image, chance: random.Random) -> None:
    """No data at all."""
    del message.data[:]


def malformed_jpegs(count: int) -> Iterator[CompressedImage]:
    """Data that is no image, or the beginning of one."""
    chance = random.Random(SEED)
    jpeg = cv2.imencode(".jpg", road_picture())[1].tobytes()
    png = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))[1]
    for number in range(count):
        message = CompressedImage(format=chance.choice(["jpeg", "png", "rgb8; jpeg", "?"]))
        kind = number % 4
        if kind == 0:
            message.data.frombytes(jpeg[: chance.randrange(0, len(jpeg) - 2)])
        elif kind == 1:
            message.data.frombytes(chance.randbytes(chance.randrange(1, 400)))
        elif kind == 2:
            message.data.frombytes(png.tobytes()[: chance.randrange(8, 40)])
        yield message
