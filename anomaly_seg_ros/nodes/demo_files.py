"""What the demo leaves: pictures, a contact sheet, a film, a bag, the numbers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, Image

from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.imaging.compressed import decode_compressed
from anomaly_seg_ros.imaging.encodings import fill_image, message_to_rgb
from anomaly_seg_ros.imaging.panels import tiled
from anomaly_seg_ros.replay.video_writer import write_video
from anomaly_seg_ros.replay.writers import jpeg_bytes, png_bytes, write_atomically
from anomaly_seg_ros.scenes import SceneFrame

SHEET_COLUMNS, SHEET_ROWS = 3, 3
SHEET_WIDTH = 560  # pixels of one picture on the sheet
METADATA_VERSION: Literal[8] = 8  # read by older rosbag2 too
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_TOPIC = "/camera/image/compressed"
TRUTH_TOPIC = "/truth/anomaly"
OVERLAY_TOPIC = "/detector/overlay/compressed"
MAP_TOPICS = {name: f"/detector/{name}" for name in ("anomaly_mask", "segmentation")}


@dataclass(frozen=True)
class Moment:
    """One frame: what was drawn, the camera message, the detector's answers by output name."""

    frame: SceneFrame
    message: Any
    answers: Mapping[str, Any]


class DemoFiles:
    """Collects moments in a scratch folder and writes everything into `out` at the end.

    A demo that is broken off leaves `out` as it was.
    """

    def __init__(self, out: Path, scratch: Path, rate: float) -> None:
        """Raises ReplayError when `out` cannot be a folder."""
        self.out = out
        self._rate = rate
        self._overlays = scratch / "overlays"
        self._bag_path = scratch / "bag"
        self._pictures: list[Path] = []
        self._unknown_pixels: list[int] = []
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._overlays.mkdir()
        except OSError as error:
            raise ReplayError(f"cannot write to {out}: {error.strerror or error}") from error
        self._bag = Writer(
            self._bag_path, version=METADATA_VERSION, storage_plugin=StoragePlugin.MCAP
        )
        self._bag.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._bag.open()
        self._bag_open = True
        self._types = get_typestore(Stores.LATEST)
        self._connections: dict[str, Any] = {}

    def add(self, moment: Moment) -> None:
        """Keep one moment."""
        overlay = message_to_rgb(moment.answers["overlay"])
        picture = self._overlays / f"{len(self._pictures):06d}.png"
        write_atomically(picture, png_bytes(overlay))
        self._pictures.append(picture)
        self._unknown_pixels.append(int(np.count_nonzero(moment.frame.anomaly == 1)))

        header = moment.message.header
        log = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        truth = Image(header=header)
        fill_image(truth, moment.frame.anomaly, "mono8")
        self._write(CAMERA_TOPIC, COMPRESSED, log, _jpeg(header, moment.frame.image))
        self._write(TRUTH_TOPIC, IMAGE, log, truth)
        for name, topic in MAP_TOPICS.items():
            self._write(topic, IMAGE, log, moment.answers[name])
        self._write(OVERLAY_TOPIC, COMPRESSED, log, _jpeg(header, overlay))

    def finish(self, results: str) -> None:
        """Write everything into `out`; what an earlier demo left there is replaced.

        Raises ReplayError when `out` cannot be written.
        """
        try:
            self._finish(results)
        except OSError as error:
            raise ReplayError(f"cannot write to {self.out}: {error.strerror or error}") from error

    def _finish(self, results: str) -> None:
        chosen = self._chosen()
        shutil.rmtree(self.out / "overlays", ignore_errors=True)
        for index in chosen:
            target = self.out / "overlays" / self._pictures[index].name
            write_atomically(target, self._pictures[index].read_bytes())
        sheet = contact_sheet([self._pictures[index] for index in chosen])
        write_atomically(self.out / "contact_sheet.png", png_bytes(sheet))
        write_video(self._pictures, self.out / "overlay.mp4", self._rate)
        self._bag_open = False
        self._bag.close()
        shutil.rmtree(self.out / "bag", ignore_errors=True)
        shutil.move(self._bag_path, self.out / "bag")
        write_atomically(self.out / "results.json", results.encode())

    def listing(self) -> list[tuple[Path, str]]:
        """What lies in `out` after `finish`, with a word on each."""
        return [
            (self.out / "contact_sheet.png", "moments of the drives on one page"),
            (self.out / "overlays", "the same moments at full size"),
            (self.out / "overlay.mp4", "all frames as a film"),
            (self.out / "bag", "ROS 2 bag: camera, masks, overlay, truth"),
            (self.out / "results.json", "the numbers above"),
        ]

    def __enter__(self) -> DemoFiles:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bag_open:
            self._bag.abort()

    def _chosen(self) -> list[int]:
        """Of each part of the film the frame that shows the most of unknown objects."""
        parts = np.array_split(np.arange(len(self._pictures)), SHEET_COLUMNS * SHEET_ROWS)
        return [
            int(max(part, key=lambda index: self._unknown_pixels[index]))
            for part in parts
            if len(part)
        ]

    def _write(self, topic: str, kind: str, log: int, message: Any) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._bag.add_connection(topic, kind, typestore=self._types)
        self._bag.write(self._connections[topic], log, serialize_message(message))


def contact_sheet(pictures: list[Path]) -> np.ndarray:
    """Pictures of one size side by side, row by row: uint8 [H, W, 3] RGB."""
    images = [decode_compressed(path.read_bytes()) for path in pictures]
    height, width = images[0].shape[:2]
    size = (SHEET_WIDTH, round(SHEET_WIDTH * height / width))
    cells = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return tiled(cells, SHEET_COLUMNS)


def _jpeg(header: Any, image: np.ndarray) -> CompressedImage:
    message = CompressedImage(header=header, format="jpeg")
    message.data.frombytes(jpeg_bytes(image))
    return message
