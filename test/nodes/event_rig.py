"""An event recorder with a clock of its own, and cameras whose images are known by number."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from node_rig import image_message
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from anomaly_seg_ros.nodes.events.folder import EVENT_FILE
from anomaly_seg_ros.nodes.events.recorder import EventRecorder
from anomaly_seg_ros.nodes.events.settings import RecorderSettings
from anomaly_seg_ros.replay.bag_reader import Bag, BagMessage

PATIENCE = 30.0  # seconds; nothing here measures time
IMAGE_TOPIC, MASK_TOPIC = "/front/image_raw", "/detector/anomaly_mask"
KINDS = (Image, CompressedImage, String)
ABOUT = {"bundle": "tiny", "operating_point": "default", "threshold": 0.5}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class EventRig:
    """A recorder with a clock of its own and what it has reported."""

    def __init__(self, folder: Path | None, describe: Callable[[], Any] = ABOUT.copy, **given: Any):
        self.clock = Clock()
        self.told: list[tuple[str, str]] = []
        settings = RecorderSettings(**{"folder": folder, "before": 3, "after": 2, **given})
        self.recorder = EventRecorder(
            settings, describe, lambda kind, text: self.told.append((kind, text)), self.clock
        )

    def image(self, number: int, camera: str = "front") -> None:
        """An image a second: number i arrives at second i."""
        self.clock.now = 1000.0 + number
        message = image_message(picture(number), number)
        self.recorder.offer(camera, f"/{camera}/image_raw", message, stamp_of(number))

    def images(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            self.image(number)

    def finished(self, count: int = 1) -> Path:
        """Wait until so many recordings are written; the folder of the last."""
        self.until("recordings written", str(count))
        return Path(self.recorder.status()["last recording"])

    def until(self, key: str, value: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.recorder.status()[key] != value:
            assert time.monotonic() < deadline, f"{self.recorder.status()}, {self.told}"
            time.sleep(0.01)

    def faults(self, text: str) -> list[str]:
        return [told for _, told in self.told if text in told]


def picture(number: int) -> np.ndarray:
    """Noise, another for each number: nothing compresses it away."""
    return np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)


def stamp_of(number: int) -> int:
    return (1_700_000_000 + number) * 1_000_000_000 + 123_456_789


def numbers_in(folder: Path, topic: str = IMAGE_TOPIC) -> list[int]:
    """The images of a recording; each is what the camera sent."""
    bag = Bag(folder)
    numbers = []
    for message in bag.messages(topic):
        number = message.log_ns // 1_000_000_000 - 1_700_000_000
        assert ros_message(message) == image_message(picture(number), number)
        numbers.append(number)
    bag.close()
    return numbers


def ros_message(message: BagMessage) -> Any:
    """A message of a bag, read by ROS. Its bytes say nothing: the padding in between is random."""
    kinds = {f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}": kind for kind in KINDS}
    return deserialize_message(bytes(message.raw), kinds[message.message_type])


def event_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / EVENT_FILE).read_text())
