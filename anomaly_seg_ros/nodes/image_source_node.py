"""A camera made of a recording: image folder, video, bag or procedural scenes to ROS topics."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import SetParametersResult
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from anomaly_seg_ros.errors import AnomalySegError, NodeError
from anomaly_seg_ros.imaging.encodings import fill_image
from anomaly_seg_ros.nodes.main_loop import run_node
from anomaly_seg_ros.nodes.parameters import (
    declare,
    fault_in,
    parameter_help,
    values,
)
from anomaly_seg_ros.nodes.source_parameters import SOURCE_PARAMETERS
from anomaly_seg_ros.replay.pace import Pace
from anomaly_seg_ros.replay.scene_source import SceneSource
from anomaly_seg_ros.replay.sources import BadFrame, CameraModel, Frame, Source, open_source
from anomaly_seg_ros.replay.writers import jpeg_bytes
from anomaly_seg_ros.scenes import SceneFrame

DEFAULT_FRAME_ID = "camera_optical_frame"
DELIVERY_PATIENCE = 3.0  # seconds for the last images to reach reliable subscribers


@dataclass(frozen=True)
class SourceFrame:
    """A frame and, of procedural scenes, its truth."""

    frame: Frame | BadFrame
    truth: SceneFrame | None = None


class ImageSourceNode(Node):
    """`image`, `image/compressed` and `camera_info` out; of scenes also the truth.

    `~/labels` mono8 are the class ids, `~/anomaly` mono8 is 0 known, 1 unknown object, 255 void.
    """

    def __init__(self, **node_options: Any) -> None:
        self.exit_status = 0
        self._source: Source | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        # rclpy destroys a node whose construction fails: what that needs is set above.
        super().__init__("image_source", **node_options)
        declare(self, SOURCE_PARAMETERS)
        self._given = values(self, SOURCE_PARAMETERS)
        source = self._source = self._open()
        self._camera = _camera_model(source)
        transport = self._given["transport"]
        self._raw = self._publisher(Image, "image") if transport != "compressed" else None
        self._compressed = (
            self._publisher(CompressedImage, self.resolve_topic_name("image") + "/compressed")
            if transport != "raw"
            else None
        )
        self._info = self._publisher(CameraInfo, "camera_info") if self._camera else None
        self._truth: dict[str, Any] = {}
        if isinstance(source, SceneSource):
            self._truth = {name: self._publisher(Image, f"~/{name}") for name in TRUTH_TOPICS}
        self.add_on_set_parameters_callback(self._check_parameters)
        self._thread = threading.Thread(
            target=self._play, args=(source,), name="image_source", daemon=True
        )
        self._thread.start()

    def destroy_node(self) -> None:
        """End the playing thread and take the node down.

        At its end the playing thread comes here itself: shutting ROS down destroys the nodes.
        """
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(DELIVERY_PATIENCE + 2.0)
        if self._source is not None:
            self._source.close()
        super().destroy_node()

    def _open(self) -> Source:
        given = self._given
        if not given["source"]:
            raise NodeError(
                "parameter source is empty: give an image folder, a video, a bag or scenes:SEED, "
                "as in --ros-args -p source:=scenes:7"
            )
        size = (given["height"], given["width"])
        source = open_source(given["source"], topic=given["topic"] or None, size=size)
        info = source.describe()
        count = f"{info.frames} frames" if info.frames else "unknown number of frames"
        self.get_logger().info(
            f"{info.kind} {info.path}: {count}" + (f" of {info.topic}" if info.topic else "")
        )
        return source

    def _publisher(self, kind: type, topic: str) -> Any:
        best_effort = self._given["reliability"] == "best_effort"
        reliability = (
            QoSReliabilityPolicy.BEST_EFFORT if best_effort else QoSReliabilityPolicy.RELIABLE
        )
        return self.create_publisher(
            kind,
            topic,
            QoSProfile(depth=self._given["depth"], reliability=reliability),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _check_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        reason = fault_in(SOURCE_PARAMETERS, changes)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    # -- the playing thread ------------------------------------------------------------------------

    def _play(self, source: Source) -> None:
        try:
            self._wait_for_subscribers()
            rounds = 0
            while not self._stop.is_set() and (rounds == 0 or self.get_parameter("loop").value):
                self._play_once(source)
                rounds += 1
            if not self._stop.is_set():
                self._deliver()
        except AnomalySegError as error:
            self._failed(str(error))
        except InvalidHandle:
            pass  # ROS was shut down between two images
        except Exception:  # the thread's last words; without them the node would stand still
            if self.context.ok():
                self._failed(f"stopped, please report this:\n{traceback.format_exc()}")
        if self._given["exit_at_end"] or self.exit_status:
            self.context.try_shutdown()

    def _failed(self, message: str) -> None:
        self.exit_status = 1
        self.get_logger().error(message)

    def _wait_for_subscribers(self) -> None:
        wanted = self._given["wait_for_subscribers"]
        if not wanted:
            return
        cameras = [publisher for publisher in (self._raw, self._compressed) if publisher]
        topics = " or ".join(publisher.topic_name for publisher in cameras)
        self.get_logger().info(f"waiting for {wanted} subscriber(s) of {topics}")
        while not self._stop.wait(0.05):
            if max(publisher.get_subscription_count() for publisher in cameras) >= wanted:
                return

    def _play_once(self, source: Source) -> None:
        start = time.perf_counter()
        pace = Pace(source.describe().fps)
        good = bad = 0
        for item in _source_frames(source):
            frame = item.frame
            if isinstance(frame, BadFrame):
                bad += 1
                self.get_logger().warning(f"frame {frame.name} cannot be read: {frame.reason}")
                continue
            delay = pace.delay(self.get_parameter("rate").value, frame.stamp_ns)
            if self._stop.wait(delay):
                return
            self._publish(frame, item.truth)
            good += 1
        seconds = time.perf_counter() - start
        self.get_logger().info(
            f"{good} images published at {good / seconds:.1f}/s"
            + (f", {bad} could not be read" if bad else "")
        )
        for warning in source.warnings:
            self.get_logger().warning(warning)
        if not good:
            raise NodeError(f"{self._given['source']} holds no readable image")

    def _publish(self, frame: Frame, truth: SceneFrame | None) -> None:
        header = Header(
            stamp=self._stamp(frame),
            frame_id=self._given["frame_id"] or frame.frame_id or DEFAULT_FRAME_ID,
        )
        if self._raw is not None:
            self._raw.publish(_image_message(header, frame.image, "rgb8"))
        if self._compressed is not None:
            message = CompressedImage(header=header, format="jpeg")
            message.data.frombytes(jpeg_bytes(frame.image))
            self._compressed.publish(message)
        if self._info is not None and self._camera is not None:
            self._info.publish(_camera_info(header, self._camera))
        if truth is not None:
            for name, publisher in self._truth.items():
                if publisher.get_subscription_count():
                    publisher.publish(_image_message(header, getattr(truth, name), "mono8"))

    def _stamp(self, frame: Frame) -> Time:
        if self._given["stamps"] == "recorded" and frame.stamp_ns is not None:
            seconds, nanoseconds = divmod(frame.stamp_ns, 1_000_000_000)
            return Time(sec=seconds, nanosec=nanoseconds)
        return self.get_clock().now().to_msg()

    def _deliver(self) -> None:
        """Let reliable subscribers get the last images before the publishers go."""
        for publisher in (self._raw, self._compressed):
            if publisher is not None:
                publisher.wait_for_all_acked(Duration(seconds=DELIVERY_PATIENCE))


def _source_frames(source: Source) -> Iterator[SourceFrame]:
    if not isinstance(source, SceneSource):
        for frame in source:
            yield SourceFrame(frame)
        return
    for index in range(len(source)):
        scene = source.scene(index)
        stamp = round(scene.seconds * 1e9)
        yield SourceFrame(Frame(index, f"{index:06d}", stamp, scene.image, DEFAULT_FRAME_ID), scene)


TRUTH_TOPICS = ("labels", "anomaly")  # fields of SceneFrame


def _image_message(header: Header, image: np.ndarray, encoding: str) -> Image:
    message = Image(header=header)
    fill_image(message, image, encoding)
    return message


def _camera_model(source: Source) -> CameraModel | None:
    """The recording's calibration; of scenes the pinhole camera that drew them."""
    if not isinstance(source, SceneSource):
        return source.camera()
    lens = source.sequence.lens
    x, y = (lens.width - 1) / 2, (lens.height - 1) / 2
    return CameraModel(
        height=lens.height,
        width=lens.width,
        distortion_model="plumb_bob",
        d=(0.0,) * 5,
        k=(lens.focal, 0.0, x, 0.0, lens.focal, y, 0.0, 0.0, 1.0),
        r=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        p=(lens.focal, 0.0, x, 0.0, 0.0, lens.focal, y, 0.0, 0.0, 0.0, 1.0, 0.0),
        frame_id=DEFAULT_FRAME_ID,
    )


def _camera_info(header: Header, camera: CameraModel) -> CameraInfo:
    message = CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model=camera.distortion_model,
    )
    message.d, message.k, message.r, message.p = (
        [float(value) for value in part] for part in (camera.d, camera.k, camera.r, camera.p)
    )
    return message


HELP = f"""\
usage: image_source_node --ros-args -p source:=PATH [-r image:=/my/camera] [-p NAME:=VALUE ...]

Publishes a recording like a camera: `image`, `image/compressed`, `camera_info` where known.
PATH: image folder, video, ROS bag or scenes:SEED[:FRAMES] (procedural road; its truth comes on
~/labels and ~/anomaly, mono8).

Parameters:
{parameter_help(SOURCE_PARAMETERS)}
"""


def main(args: Sequence[str] | None = None) -> int:
    """Play to the end or to SIGINT; 0, 1 when the recording broke off, 2 for wrong parameters."""
    return run_node(ImageSourceNode, HELP, args, status=lambda node: node.exit_status)


if __name__ == "__main__":
    raise SystemExit(main())
