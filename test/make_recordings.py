"""Real recordings of known content for tests: pictures, videos, ROS 2 and ROS 1 bags.

Picture number i is a gray road whose brightness tells the number, with a cyan block, the colour
the tiny bundle calls an anomaly, so that every reader can be checked against `picture(i)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

HEIGHT, WIDTH = 48, 96
BLOCK = (slice(16, 32), slice(32, 64))  # rows, columns of the anomaly
START_NS = 1_600_000_000_000_000_000
STEP_NS = 100_000_000
FRAME_ID = "front_camera_optical"
IMAGE_TOPIC = "/front/image_raw"
ROS2, ROS1 = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS1_NOETIC)
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 [H, W, 3] RGB."""
    image = np.full((height, width, 3), 40 + 12 * (number % 16), np.uint8)
    image[BLOCK] = (0, 255, 255)
    return image


def anomaly_label(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 [H, W]: 1 on the block, 0 elsewhere, one void row at the top."""
    label = np.zeros((height, width), np.uint8)
    label[BLOCK] = 1
    label[0] = 255
    return label


def write_image(path: Path, image: np.ndarray) -> Path:
    """RGB or single-channel image to a file of the kind its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    assert cv2.imwrite(str(path), stored)
    return path


def write_folder(folder: Path, count: int, suffix: str = ".png") -> Path:
    """road_0, road_1, ... road_10: names whose natural order differs from the alphabet's."""
    for number in range(count):
        write_image(folder / f"road_{number}{suffix}", picture(number))
    return folder


def write_labels(folder: Path, names: Sequence[str], label: np.ndarray | None = None) -> Path:
    for name in names:
        write_image(folder / f"{name}.png", anomaly_label() if label is None else label)
    return folder


def write_film(path: Path, count: int, codec: str = "mp4v", fps: float = 12.5) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(count):
        writer.write(cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def stamp_of(number: int) -> int:
    return START_NS + number * STEP_NS


def header(number: int, types: Any = ROS2, *, frame_id: str = FRAME_ID) -> Any:
    make, stamp = types.types, stamp_of(number)
    time = make["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    more = {"seq": number} if types is ROS1 else {}
    return make["std_msgs/msg/Header"](stamp=time, frame_id=frame_id, **more)


def image_message(number: int, image: np.ndarray, encoding: str, types: Any = ROS2) -> Any:
    """sensor_msgs/Image; rows are padded by 4 bytes for bgr8 and mono8."""
    pixels = image[..., ::-1] if encoding == "bgr8" else image
    rows = np.ascontiguousarray(pixels).reshape(image.shape[0], -1)
    if encoding in {"bgr8", "mono8"}:
        rows = np.pad(rows, ((0, 0), (0, 4)))
    rows = rows.view(np.uint8)
    return types.types[IMAGE](
        header=header(number, types),
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1],
        data=rows.ravel(),
    )


def compressed_message(
    number: int, image: np.ndarray, kind: str = ".png", types: Any = ROS2
) -> Any:
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    data = cv2.imencode(kind, stored)[1].ravel()
    return types.types[COMPRESSED](header=header(number, types), format=kind[1:], data=data)


def write_bag(
    path: Path,
    topics: dict[str, list[Any]],
    *,
    storage: str = "sqlite3",
    compression: str = "",
    edit: Callable[[str, int, bytes], bytes] = lambda topic, number, data: data,
) -> Path:
    """A ROS 2 bag of messages per topic; message i of each topic is logged 1 ms after its stamp.

    compression: "", message, file or storage. edit changes the stored bytes of a message.
    """
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    bag = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        bag.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with bag:
        for topic, messages in topics.items():
            kind = messages[0].__msgtype__
            connection = bag.add_connection(topic, kind, typestore=ROS2)
            for number, message in enumerate(messages):
                data = bytes(ROS2.serialize_cdr(message, kind))
                log = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec + 10**6
                bag.write(connection, log, edit(topic, number, data))
    return path


def write_bag1(path: Path, topics: dict[str, list[Any]]) -> Path:
    """A ROS 1 bag."""
    with Writer1(path) as bag:
        for topic, messages in topics.items():
            kind = messages[0].__msgtype__
            connection = bag.add_connection(topic, kind, typestore=ROS1)
            for message in messages:
                log = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec + 10**6
                bag.write(connection, log, ROS1.serialize_ros1(message, kind))
    return path


def image_bag(path: Path, count: int = 3, *, labels: int = 0, **options: Any) -> Path:
    """Raw rgb8 images on IMAGE_TOPIC, and mono8 labels of the first `labels` on /labels."""
    topics = {IMAGE_TOPIC: [image_message(i, picture(i), "rgb8") for i in range(count)]}
    if labels:
        topics["/labels"] = [image_message(i, anomaly_label(), "mono8") for i in range(labels)]
    return write_bag(path, topics, **options)
