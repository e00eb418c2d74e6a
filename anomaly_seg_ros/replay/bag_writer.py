"""The result bag: camera images and what was found in them, under the camera's stamps.

A ROS 2 bag with the topics of the detector node: RViz or Foxglove show a replay like a drive.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from anomaly_seg_ros.bundle_parts import SYNTHESIS
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.imaging.encodings import fill_image
from anomaly_seg_ros.replay.bag_reader import COMPRESSED_IMAGE, IMAGE, no_rosbags, typestore
from anomaly_seg_ros.replay.manifest import FrameRecord

IMAGE_TOPIC = "/camera/image_raw/compressed"  # of recordings that have no topics
FRAME_ID = "camera_optical_frame"
OUTPUTS = {  # array of a part -> topic, encoding: as the detector node publishes them
    "labels": ("/detector/segmentation", "mono8"),
    "mask": ("/detector/anomaly_mask", "mono8"),
    "score": ("/detector/anomaly_score", "32FC1"),
    SYNTHESIS: ("/detector/synthesis", "rgb8"),  # of bundles that make it
}
STORAGES = ("mcap", "sqlite3")
METADATA_VERSION: Final = 8  # read by every rosbag2 that reads 9, and by older ones
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
    if storage not in STORAGES:
        raise ReplayError(f"bag storage {storage!r}: expected one of {', '.join(STORAGES)}")
    writer = _Writer(folder.with_name(f".{folder.name}.part"), folder, storage)
    try:
        for record in records:
            with np.load(out / record.files["bag"][0]) as part:
                writer.write(record, part)
            advance()
        return writer.finish()
    except OSError as error:
        raise ReplayError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        writer.discard()


class _Writer:
    """A rosbags writer in a folder that is renamed at the end."""

    def __init__(self, part: Path, folder: Path, storage: str) -> None:
        try:
            from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
        except ImportError as error:
            raise no_rosbags(error) from error
        self.part, self.folder = part, folder
        self.discard()
        # The files inside carry the folder's name: write under that name, one level down.
        mcap = storage == "mcap"
        self.bag = Writer(
            part / folder.name,
            version=METADATA_VERSION,
            storage_plugin=StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3,
        )
        if mcap:
            self.bag.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self.bag.open()
        self.open = True
        self.types = typestore(False)
        self.connections: dict[str, Any] = {}
        self.messages = 0

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
        self._add(record.topic or IMAGE_TOPIC, message_type, log, image)
        for name, (topic, encoding) in OUTPUTS.items():
            if name in part:
                data = self._map(stamp, frame_id, part[name], encoding)
                self._add(topic, IMAGE, log, data)

    def finish(self) -> int:
        self.open = False
        self.bag.close()
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.bag.path.rename(self.folder)
        return self.messages

    def discard(self) -> None:
        if getattr(self, "open", False):
            self.open = False
            self.bag.abort()
        shutil.rmtree(self.part, ignore_errors=True)

    def _add(self, topic: str, message_type: str, log: int, data: bytes | memoryview) -> None:
        if topic not in self.connections:
            self.connections[topic] = self.bag.add_connection(
                topic, message_type, typestore=self.types
            )
        self.bag.write(self.connections[topic], log, data)
        self.messages += 1

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
