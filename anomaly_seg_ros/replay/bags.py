"""A bag's camera images as a source, and label images of a bag by their stamp."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.errors import EncodingError, ReplayError
from anomaly_seg_ros.imaging.encodings import message_to_map, message_to_rgb
from anomaly_seg_ros.replay.bag_reader import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    Bag,
    BagMessage,
    header_stamp,
    recorded_files,
)
from anomaly_seg_ros.replay.sources import (
    BadFrame,
    CameraModel,
    Frame,
    Source,
    SourceInfo,
    every_frame,
    file_identity,
    plausible_count,
)

MESSAGES_PER_BYTE = 10  # of compressed black pictures at the very most


class BagSource(Source):
    """The images of one topic.

    topic: None takes the only image topic; `not_topics` names topics that are no camera (labels).
    keep_messages stores the original message with each frame, for a result bag.
    Raises ReplayError for a damaged bag, no image topic, several, or one that is not there.
    """

    def __init__(
        self,
        path: Path,
        topic: str | None = None,
        *,
        not_topics: tuple[str, ...] = (),
        keep_messages: bool = False,
    ) -> None:
        super().__init__()
        self.bag = Bag(path)
        self.keep_messages = keep_messages
        self.warnings = list(self.bag.warnings)
        try:
            self.topic, count = _choose_topic(self.bag, topic, not_topics)
        except ReplayError:
            self.bag.close()
            raise
        self.count = plausible_count(count, self.bag.size() * MESSAGES_PER_BYTE)

    def close(self) -> None:
        self.bag.close()

    def __len__(self) -> int:
        return self.count

    def frames(self, wanted: Callable[[int], bool] = every_frame) -> Iterator[Frame | BadFrame]:
        index = 0
        messages = self.bag.messages(self.topic)
        while True:
            name = f"{index:06d}"
            try:
                message = next(messages, None)
            except ReplayError as error:
                self.warn(str(error))
                yield BadFrame(index, name, str(error))
                break
            if message is None:
                break
            if wanted(index):
                yield self._frame(message, index, name)
            index += 1
        if index < self.count:
            self.warn(f"{index} of the {self.count} messages that the bag promises could be read")

    def _frame(self, message: BagMessage, index: int, name: str) -> Frame | BadFrame:
        try:
            decoded = self.bag.decode(message)
            image = message_to_rgb(decoded)
        except EncodingError as error:
            return BadFrame(index, name, str(error))
        original = self.bag.as_ros2(message, decoded) if self.keep_messages else None
        return Frame(
            index,
            name,
            header_stamp(decoded.header, message.log_ns),
            image,
            str(decoded.header.frame_id),
            self.topic,
            message.log_ns,
            original,
        )

    def camera(self) -> CameraModel | None:
        """The first CameraInfo beside the image topic."""
        base = self.topic.removesuffix("/compressed").rpartition("/")[0]
        for message in self.bag.messages(f"{base}/camera_info"):
            if message.message_type == CAMERA_INFO:
                return _camera_model(self.bag.decode(message))
        return None

    @functools.cached_property
    def _identity(self) -> str:
        return f"{file_identity(recorded_files(self.bag.path))}:{self.topic}"

    def describe(self) -> SourceInfo:
        seconds = self.bag.seconds()
        fps = (self.count - 1) / seconds if self.count > 1 and seconds > 0 else None
        return SourceInfo("bag", str(self.bag.path), self.count, fps, self.topic, self._identity)


class LabelTopic:
    """Label images of a bag topic, found by the stamp of their camera image.

    Only stamps are held in memory; a label is read when it is asked for.
    """

    def __init__(self, path: Path, topic: str) -> None:
        self.bag = Bag(path)
        self.topic = topic
        self.unreadable: list[str] = []
        self.log_ns: dict[int, int] = {}  # stamp -> log time
        for number, message in enumerate(self.bag.messages(topic)):
            try:
                stamp = header_stamp(self.bag.decode(message).header, message.log_ns)
            except EncodingError as error:
                self.unreadable.append(f"label message {number} of {topic}: {error}")
                continue
            if stamp in self.log_ns:
                self.unreadable.append(
                    f"label message {number} of {topic} repeats stamp {stamp}: the first counts"
                )
                continue
            self.log_ns[stamp] = message.log_ns

    def read(self, stamp: int) -> np.ndarray:
        """The label [H, W] of this stamp. Raises EncodingError; KeyError for an unknown stamp."""
        log_ns = self.log_ns[stamp]
        for message in self.bag.messages(self.topic, log_ns, log_ns + 1):
            decoded = self.bag.decode(message)
            if header_stamp(decoded.header, message.log_ns) == stamp:
                return message_to_map(decoded)
        raise EncodingError(f"the label of stamp {stamp} could be read once and is gone now")

    def close(self) -> None:
        self.bag.close()


def _choose_topic(bag: Bag, topic: str | None, not_topics: tuple[str, ...]) -> tuple[str, int]:
    topics = {
        name: entry
        for name, entry in bag.topics((IMAGE, COMPRESSED_IMAGE)).items()
        if name not in not_topics
    }
    listed = "; ".join(f"{name} ({kind}, {count})" for name, (kind, count) in topics.items())
    if topic is not None:
        name = topic if topic in topics else f"/{topic}"
        if name not in topics:
            raise ReplayError(
                f"{bag.path}: no image topic {topic!r}. Image topics here: {listed or 'none'}."
            )
        if topics[name][1] == 0:
            raise ReplayError(f"{bag.path}: topic {name} holds no message. Here: {listed}.")
        return name, topics[name][1]
    filled = {name: count for name, (_, count) in topics.items() if count}
    colour = {name: n for name, n in filled.items() if not name.endswith("/compressedDepth")}
    if not colour:
        raise ReplayError(
            f"{bag.path}: no topic with images (sensor_msgs Image or CompressedImage). Image"
            f" topics: {listed or 'none'}. Record the camera's topic."
        )
    if len(colour) > 1:
        raise ReplayError(f"{bag.path}: several image topics; choose one with --topic: {listed}.")
    return next(iter(colour.items()))


def _camera_model(info: Any) -> CameraModel:
    def values(name: str) -> tuple[float, ...]:
        field = getattr(info, name, None)  # ROS 1 writes these fields in capitals
        return tuple(
            float(value) for value in (getattr(info, name.upper()) if field is None else field)
        )

    return CameraModel(
        int(info.height),
        int(info.width),
        str(info.distortion_model),
        values("d"),
        values("k"),
        values("r"),
        values("p"),
        str(info.header.frame_id),
    )
