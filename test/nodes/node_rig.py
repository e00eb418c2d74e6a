"""A detector node in a real rclpy context of this process, with a camera and readers around it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String
from tiny_bundle import ANOMALY_COLOR, CLASS_COLORS

from anomaly_seg_ros.imaging.encodings import fill_image
from anomaly_seg_ros.nodes import detector_node
from anomaly_seg_ros.nodes.diagnostics import status_values
from anomaly_seg_ros.nodes.statistics import Snapshot

detector_node.DIAGNOSTICS_PERIOD = 0.1  # tests wait for diagnostics often
PATIENCE = 60.0  # seconds; a machine under load is slow, and nothing here measures time
TOPIC = "/camera/image"
Cameras = dict[str, Publisher]  # by the name of the camera
RELIABLE = QoSReliabilityPolicy.RELIABLE
LATCHED = QoSProfile(depth=1, reliability=RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def road_picture(height: int = 120, width: int = 160, box: tuple[int, ...] = ()) -> np.ndarray:
    """Road everywhere, uint8 [H, W, 3] RGB; box = (top, left, bottom, right) is unknown."""
    image = np.full((height, width, 3), CLASS_COLORS[0], np.uint8)
    if box:
        top, left, bottom, right = box
        image[top:bottom, left:right] = ANOMALY_COLOR
    return image


def image_message(image: np.ndarray, number: int = 1, encoding: str = "rgb8") -> Image:
    """A camera message with a header of its own for each number."""
    message = Image(header=Header(frame_id=f"camera_{number}"))
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000 + number, 123_456_789
    fill_image(message, image, encoding)
    return message


def jpeg_message(image: np.ndarray, number: int = 1) -> CompressedImage:
    """The same as JPEG."""
    message = CompressedImage(header=image_message(image, number).header, format="jpeg")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    message.data.frombytes(cv2.imencode(".jpg", bgr)[1].tobytes())
    return message


class Rig:
    """The node under test and a peer, spun by one executor in the test's thread."""

    def __init__(
        self, parameters: Mapping[str, object], read_stderr: Callable[[], str] = str
    ) -> None:
        """read_stderr: gives what was written to stderr since it was called last."""
        self.context = Context()
        rclpy.init(args=[], context=self.context)
        self.peer = rclpy.create_node("peer", context=self.context)
        self._read_stderr = read_stderr
        self._log = ""
        self.diagnostics: dict[str, str] = {}
        self.summary = ""
        self.statuses: dict[str, DiagnosticStatus] = {}  # of the last diagnostics, by name
        self.peer.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        try:
            self.node = detector_node.DetectorNode(
                context=self.context,
                cli_args=["--ros-args", "-r", f"image:={TOPIC}"],
                parameter_overrides=[Parameter(name, value=v) for name, v in parameters.items()],
            )
        except BaseException:
            self.peer.destroy_node()
            self.context.try_shutdown()
            raise
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.peer)
        compressed = parameters.get("image_transport") == "compressed"
        self.camera = self.peer.create_publisher(
            CompressedImage if compressed else Image,
            TOPIC + ("/compressed" if compressed else ""),
            QoSProfile(depth=1100, reliability=RELIABLE),
        )

    def spin_until(
        self, done: Callable[[], Any], what: str = "", patience: float = PATIENCE
    ) -> None:
        """Spin until `done`; the test fails when it does not come."""
        deadline = time.monotonic() + patience
        while not done():
            assert time.monotonic() < deadline, f"waited in vain for {what or done}; {self.log}"
            self.executor.spin_once(timeout_sec=0.02)

    def spin_for(self, seconds: float) -> None:
        """Spin for a while, for what must not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def start(self) -> None:
        """Spin until the node listens to the camera."""
        self.spin_until(lambda: self.camera.get_subscription_count() == 1, "the subscription")

    def read(self, output: str) -> list[Image]:
        """Subscribe to an output; the list fills while spinning."""
        messages: list[Image] = []
        self.peer.create_subscription(
            Image,
            f"/detector/{output}",
            messages.append,
            QoSProfile(depth=50, reliability=RELIABLE),
        )
        name = f"/detector/{output}"
        self.spin_until(lambda: self.peer.count_publishers(name) == 1, f"publisher of {output}")
        self.spin_for(0.1)
        return messages

    def read_labels(self) -> list[str]:
        """Subscribe to the latched labels."""
        texts: list[str] = []
        self.peer.create_subscription(
            String, "/detector/labels_json", lambda message: texts.append(message.data), LATCHED
        )
        return texts

    def call(self, kind: type, service: str, request: Any) -> Any:
        """Call a service of the node and return its answer."""
        client = self.peer.create_client(kind, f"/detector/{service}")
        self.spin_until(client.service_is_ready, service)
        future = client.call_async(request)
        self.spin_until(future.done, f"answer of {service}")
        return future.result()

    def change_state(self, transition: int) -> bool:
        """Ask for a lifecycle transition, as `ros2 lifecycle set` does."""
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, "change_state", request).success

    def set_parameter(self, name: str, value: object) -> Any:
        """Set one parameter, as `ros2 param set` does; the result has successful and reason."""
        from rcl_interfaces.srv import SetParameters

        message = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[message])
        return self.call(SetParameters, "set_parameters", request).results[0]

    def state(self) -> str:
        """The lifecycle state, as `ros2 lifecycle get` shows it."""
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, "get_state", GetState.Request()).current_state.label

    def fresh_diagnostics(self) -> dict[str, str]:
        """The values of a diagnostics message written after this call."""
        for _ in range(2):
            self.diagnostics = {}
            self.spin_until(lambda: self.diagnostics, "diagnostics")
        return self.diagnostics

    @property
    def log(self) -> list[str]:
        """The lines that the node has logged."""
        self._log += self._read_stderr()
        return self._log.splitlines()

    def logged(self, text: str) -> list[str]:
        """Log lines of the node that contain a text."""
        return [line for line in self.log if text in line]

    def close(self) -> None:
        """Take everything down."""
        self.executor.shutdown()
        self.node.destroy_node()
        self.peer.destroy_node()
        self.context.try_shutdown()
        del self.node
        gc.collect()  # rclpy's state machine keeps a destroyed node in the graph until then

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.summary = message.status[0].message
        self.diagnostics = status_values(message.status[0])
        self.statuses = {status.name: status for status in message.status}


def cameras_of(rig: Rig, names: Iterable[str]) -> Cameras:
    """A publisher for each camera, once the node listens to all of them."""
    qos = QoSProfile(depth=100, reliability=RELIABLE)
    cameras = {name: rig.peer.create_publisher(Image, f"/{name}/image", qos) for name in names}
    for name, camera in cameras.items():
        rig.spin_until(lambda: camera.get_subscription_count() == 1, name)  # noqa: B023
    return cameras


def counts(rig: Rig, name: str = "") -> Snapshot:
    """What happened to the frames of a camera, or of the only one."""
    (camera,) = (camera for camera in rig.node._cameras if camera.name == name)
    return camera.counts.snapshot()


def send(rig: Rig, camera: Publisher, name: str, picture: np.ndarray, number: int) -> None:
    """Publish a picture and spin until the node has received it."""
    before = counts(rig, name).received
    camera.publish(image_message(picture, number))
    rig.spin_until(lambda: counts(rig, name).received == before + 1, f"arrival from {name}")


def values_of(rig: Rig, camera: str) -> dict[str, str]:
    """The values of a camera's status in the last diagnostics."""
    return status_values(rig.statuses[f"/detector: {camera}"])
