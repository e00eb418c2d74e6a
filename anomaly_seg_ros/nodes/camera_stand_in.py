"""A camera and a reader of masks in one: what demo and bench put around a detector process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.imaging.encodings import fill_image
from anomaly_seg_ros.nodes.diagnostics import TASK, status_values
from anomaly_seg_ros.nodes.outputs import LABELS_TOPIC, LATCHED_QOS
from anomaly_seg_ros.nodes.parameters import UNNAMED
from anomaly_seg_ros.replay.writers import jpeg_bytes

CAMERA_TOPIC = "/camera/image"
FRAME_ID = "camera_optical_frame"
DETECTOR = "/detector"
START_PATIENCE = (
    120.0  # seconds until the detector is active: a cold disk and a big model take long
)
ANSWER_PATIENCE = 20.0  # seconds for one frame
RESEND_SECONDS = 2.0
READER_DEPTH = 10  # answers that wait while a frame is being sent

Stamp = tuple[int, int]


class CameraStandIn:
    """Publishes camera images and receives the detector's outputs, in one thread, by spinning.

    outputs: topics of the detector to subscribe. check: called while waiting; raises when the
    detector process is gone. topic: of the raw images. detector: the node's name, fully qualified.
    camera: its name there, where the detector serves several.
    """

    def __init__(
        self,
        outputs: Sequence[str],
        check: Callable[[], object],
        *,
        compressed: bool = False,
        on_output: Callable[[str, Any, float], object] | None = None,
        topic: str = CAMERA_TOPIC,
        detector: str = DETECTOR,
        camera: str = UNNAMED,
    ) -> None:
        self._check = check
        self._compressed = compressed
        self._context = Context()
        # Ctrl-C stays a KeyboardInterrupt of the program around us.
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(
            "camera_stand_in", context=self._context, use_global_arguments=False
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        kind, suffix = (CompressedImage, "/compressed") if compressed else (Image, "")
        self._camera = self.node.create_publisher(
            kind, topic + suffix, QoSProfile(depth=1, reliability=RELIABLE)
        )
        self._detector = detector
        self._outputs = tuple(outputs)
        self._answers: dict[Stamp, dict[str, tuple[Any, float]]] = {}
        self.on_output = on_output or self._keep  # may be replaced
        self.labels: str | None = None
        self.diagnostics: dict[str, str] = {}
        self._diagnostics_count = 0
        for name in self._outputs:
            self._subscribe(name, f"{detector}/{camera}/{name}" if camera else f"{detector}/{name}")
        self.node.create_subscription(
            String, f"{detector}/{LABELS_TOPIC}", self._on_labels, LATCHED_QOS
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._reset: Any = self.node.create_client(Trigger, f"{detector}/reset_statistics")

    def message(self, image: np.ndarray, encoding: str = "rgb8") -> Any:
        """A camera message of pixels that are already in `encoding`; the stamp comes later.

        image: [H, W, 3] RGB for compressed, else as fill_image wants it.
        """
        header = Header(frame_id=FRAME_ID)
        if self._compressed:
            message = CompressedImage(header=header, format="jpeg")
            message.data.frombytes(jpeg_bytes(image))
            return message
        message = Image(header=header)
        fill_image(message, image, encoding)
        return message

    def send(self, message: Any) -> tuple[Stamp, float]:
        """Publish a camera message stamped now; its stamp, and when (perf_counter)."""
        message.header.stamp = self.node.get_clock().now().to_msg()
        return stamp_of(message), self.publish(message)

    def publish(self, payload: Any) -> float:
        """Publish a camera message, or the CDR bytes of one, as it is; when (perf_counter)."""
        moment = time.perf_counter()
        self._camera.publish(payload)
        return moment

    def answer(self, stamp: Stamp, patience: float) -> dict[str, tuple[Any, float]] | None:
        """Wait for all outputs of the frame with this stamp: name -> (message, perf_counter).

        None when they do not come in time. Outputs of other frames that came are forgotten.
        """
        self.spin_until(lambda: self._complete(stamp), time.perf_counter() + patience)
        found = self._answers.get(stamp) if self._complete(stamp) else None
        self._answers.clear()
        return found

    def ask(
        self, message: Any, patience: float = ANSWER_PATIENCE
    ) -> tuple[Stamp, dict[str, tuple[Any, float]]]:
        """Send a frame and wait for all outputs of it: name -> (message, seconds since sent).

        It is sent again every RESEND_SECONDS, since what is sent before all topics have found each
        other is lost; the answer to any of these counts. Raises NodeError when none comes in time.
        """
        sent: dict[Stamp, float] = {}

        def answered() -> Stamp | None:
            return next((stamp for stamp in sent if self._complete(stamp)), None)

        deadline = time.perf_counter() + patience
        while time.perf_counter() < deadline:
            stamp, moment = self.send(message)
            sent[stamp] = moment
            again = min(deadline, time.perf_counter() + RESEND_SECONDS)
            self.spin_until(lambda: answered() is not None, again)
            found = answered()
            if found is not None:
                answer = self._answers.pop(found)
                self._answers.clear()
                return found, {name: (out, at - sent[found]) for name, (out, at) in answer.items()}
        raise NodeError(
            f"the detector did not answer within {patience:.0f} s: expected "
            f"{', '.join(self._outputs)}"
        )

    def wait_until_active(self, patience: float = START_PATIENCE) -> None:
        """Spin until the detector listens to this camera. Raises NodeError."""

        def ready() -> bool:
            return self.labels is not None and self._camera.get_subscription_count() > 0

        if not self.spin_until(ready, time.perf_counter() + patience):
            raise NodeError(f"the detector was not active after {patience:.0f} s")

    def reset_statistics(self) -> None:
        """Let the detector count from zero."""
        if not self._reset.wait_for_service(ANSWER_PATIENCE):
            raise NodeError("the detector offers no ~/reset_statistics")
        future = self._reset.call_async(Trigger.Request())
        if not self.spin_until(future.done, time.perf_counter() + ANSWER_PATIENCE):
            raise NodeError("the detector did not answer ~/reset_statistics")

    def fresh_diagnostics(self, patience: float = 5.0) -> Mapping[str, str]:
        """The next diagnostics of the detector, by key. Raises NodeError."""
        before = self._diagnostics_count
        if not self.spin_until(
            lambda: self._diagnostics_count > before, time.perf_counter() + patience
        ):
            raise NodeError(f"no diagnostics of the detector within {patience:.0f} s")
        return self.diagnostics

    def spin_until(self, done: Callable[[], bool], deadline: float) -> bool:
        """Handle messages until `done` or the deadline (perf_counter); whether it was done."""
        while not done():
            left = deadline - time.perf_counter()
            if left <= 0:
                return False
            self._check()
            try:
                self._executor.spin_once(timeout_sec=min(left, 0.2))
            except ExternalShutdownException:
                raise NodeError("ROS was shut down") from None
        return True

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def __enter__(self) -> CameraStandIn:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _complete(self, stamp: Stamp) -> bool:
        return len(self._answers.get(stamp, ())) == len(self._outputs)

    def _subscribe(self, name: str, topic: str) -> None:
        def arrived(message: Image) -> None:
            self.on_output(name, message, time.perf_counter())

        self.node.create_subscription(
            Image,
            topic,
            arrived,
            QoSProfile(depth=READER_DEPTH, reliability=RELIABLE),
        )

    def _keep(self, name: str, message: Any, moment: float) -> None:
        self._answers.setdefault(stamp_of(message), {})[name] = (message, moment)

    def _on_labels(self, message: String) -> None:
        self.labels = message.data

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self._detector}: {TASK}":
                self.diagnostics = status_values(status)
                self._diagnostics_count += 1


RELIABLE = QoSReliabilityPolicy.RELIABLE


def stamp_of(message: Any) -> Stamp:
    """The header stamp as a key."""
    return message.header.stamp.sec, message.header.stamp.nanosec
