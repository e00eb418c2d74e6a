"""The result bag: camera images and what was found in them, under the camera's stamps.

A ROS 2 bag with the topics of the detector node: RViz or Foxglove show a replay like a drive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.bundle_parts import SYNTHESIS
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.imaging.encodings import fill_image
from anomaly_seg_ros.replay.bag_folder import BagFolder
from anomaly_seg_ros.replay.bag_reader import COMPRESSED_IMAGE, IMAGE
from anomaly_seg_ros.replay.manifest import FrameRecord

IMAGE_TOPIC = "/camera/image_raw/compressed"  # of recordings that have no topics
FRAME_ID = "camera_optical_frame"
OUTPUTS = {  # array of a part -> topic, encoding: as the detector node publishes them
    "labels": ("/detector/segmentation", "mono8"),
    "mask": ("/detector/anomaly_mask", "mono8"),
    "score": ("/detector/anomaly_score", "32FC1"),
    SYNTHESIS: ("/detector/synthesis", "rgb8"),  # of bundles that make it
}
STILL_NS = 100_000_000  # between images that have no stamps


def write_bag(
    records: Iterable[FrameRecord],
    out: Path,
    folder: Path,
    storage: str,
    advance: Callable[[], object] = lambda: None,
) -> int:
    """Join the parts of finished frames to a bag at `folder`; returns the messages written.

    Images of a bag are stored as they were; other recordings become JPEG on IMAGE_TOPIC. Headers
    of all messages of a frame are the same. mcap is zstd-compressed by chunk, sqlite3 not at
    all. The bag appears under its name only when it is whole. Raises ReplayError.
    """
    writer = _Writer(folder, storage)
    try:
        for record in records:
            with np.load(out / record.files["bag"][0]) as part:
                writer.write(record, part)
            advance()
        return writer.finish()
    except OSError as error:
        raise ReplayError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        writer.bag.discard()


class _Writer:
    """Frames into a bag that gets its name at the end."""

    def __init__(self, folder: Path, storage: str) -> None:
        self.bag = BagFolder(folder, storage)
        self.types = self.bag.types

    def write(self, record: FrameRecord, part: Any) -> None:
        stamp = record.stamp_ns
        if stamp is None:
            stamp = (record.index + 1) * STILL_NS
        log = record.log_ns if record.log_ns is not None else stamp
        frame_id = record.frame_id if record.topic else record.frame_id or FRAME_ID
        message_type = str(part["message_type"])
        image: bytes | memoryview = part["image"].tobytes()
        if not message_type:
            message_type = COMPRESSED_IMAGE
            image = self._compressed_image(stamp, frame_id, part["image"])
        self.bag.add(record.topic or IMAGE_TOPIC, message_type, log, image)
        for name, (topic, encoding) in OUTPUTS.items():
            if name in part:
                data = self._map(stamp, frame_id, part[name], encoding)
                self.bag.add(topic, IMAGE, log, data)

    def finish(self) -> int:
        self.bag.close()
        self.bag.reveal()
        return sum(self.bag.messages.values())

    def _compressed_image(self, stamp: int, frame_id: str, data: np.ndarray) -> memoryview:
        make = self.types.types[COMPRESSED_IMAGE]
        message = make(header=self._header(stamp, frame_id), format="jpeg", data=data)
        return self.types.serialize_cdr(message, COMPRESSED_IMAGE)

    def _map(self, stamp: int, frame_id: str, values: np.ndarray, encoding: str) -> memoryview:
        message = self.types.types[IMAGE](
            header=self._header(stamp, frame_id),
            height=0,
            width=0,
            encoding="",
            is_bigendian=0,
            step=0,
            data=np.empty(0, np.uint8),
        )
        fill_image(message, values, encoding)
        message.data = np.frombuffer(message.data, np.uint8)
        return self.types.serialize_cdr(message, IMAGE)

    def _header(self, stamp: int, frame_id: str) -> Any:
        make = self.types.types
        time = make["builtin_interfaces/msg/Time"](
            sec=stamp // 1_000_000_000, nanosec=stamp % 1_000_000_000
        )
        return make["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)
