"""The detector as a ROS 2 lifecycle node: camera images in, masks, score and overlay out.

No algorithm lives here: Detector does the work, on one worker thread, for one camera or several.
The executor's thread only receives, so that parameters and services answer while the engine is
busy.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.drift import WatchedRunner
from anomaly_seg_ros.errors import AnomalySegError, NodeError
from anomaly_seg_ros.nodes.camera import Arrival, Camera
from anomaly_seg_ros.nodes.diagnostics import NodeState, diagnostic_array, statuses
from anomaly_seg_ros.nodes.engine_setup import EngineProgress, RosLog, open_detector
from anomaly_seg_ros.nodes.mailbox import Mailbox
from anomaly_seg_ros.nodes.main_loop import run_node
from anomaly_seg_ros.nodes.outputs import LabelOutputs
from anomaly_seg_ros.nodes.parameters import (
    DETECTOR_PARAMETERS,
    declare,
    fault_in,
    parameter_help,
    values,
)
from anomaly_seg_ros.nodes.process_cost import thread_ids
from anomaly_seg_ros.nodes.settings import Settings, apply, settings_from
from anomaly_seg_ros.nodes.topics import checked_names
from anomaly_seg_ros.nodes.worker import MeteredRunner, Worker

DIAGNOSTICS_PERIOD = 1.0  # seconds
STEADY = Clock(clock_type=ClockType.STEADY_TIME)  # timers run even when /clock stands still


class DetectorNode(LifecycleNode):
    """`image` in; `~/anomaly_mask`, `~/anomaly_score` and the other image topics of outputs.py out.
    With several cameras `CAMERA/image` in and `~/CAMERA/anomaly_mask` and the others out.

    configure opens bundle and engine (and builds the engine where it has to be built first: a
    shutdown of ROS cancels that), activate subscribes, deactivate unsubscribes, cleanup frees.
    A transition that cannot be made fails with its reason in the log and on /diagnostics, and the
    node lives on.
    """

    def __init__(self, **node_options: Any) -> None:
        self._detector: Detector | None = None
        self._meter: MeteredRunner | None = None
        self._watched: WatchedRunner | None = None
        self._engine_threads: frozenset[int] = frozenset()
        self._cameras: list[Camera] = []
        self._labels: LabelOutputs | None = None
        self._worker: Worker | None = None
        self._enabled = True
        self._fault = ""
        self._log_bridge: RosLog | None = None
        # rclpy destroys a node whose construction fails: what that needs is set above.
        super().__init__("detector", **node_options)
        declare(self, DETECTOR_PARAMETERS)
        self._log_bridge = RosLog(self.get_logger())
        self._building = EngineProgress(
            self.get_logger().info, self._on_diagnostics, self.context.ok
        )
        with suppress(NodeError):  # the configure step fails with it
            self._cameras = self._named_cameras()

        self.add_on_set_parameters_callback(self._check_parameters)
        if hasattr(self, "add_post_set_parameters_callback"):
            self.add_post_set_parameters_callback(self._parameters_changed)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset_statistics", self._on_reset)
        self.create_timer(DIAGNOSTICS_PERIOD, self._on_diagnostics, clock=STEADY)
        if self.get_parameter("autostart").value:
            self._autostart = self.create_timer(0.0, self._on_autostart, clock=STEADY)

    # -- lifecycle ---------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the bundle and the engine and run it warm."""
        return self._attempt("configure", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe to the cameras."""
        return self._attempt("activate", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and let the frames in work finish."""
        return self._attempt("deactivate", self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine."""
        return self._attempt("clean up", self._free)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and free, from any state."""
        return self._attempt("shut down", self._free)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and free, so that configure can be tried again."""
        return self._attempt("recover", self._free)

    def _attempt(self, what: str, transition: Any) -> TransitionCallbackReturn:
        try:
            transition()
        except AnomalySegError as error:
            self._fault = f"cannot {what}: {error}"
            self.get_logger().error(self._fault)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it without a word
            self._fault = f"cannot {what}: {type(error).__name__}: {error}"
            self.get_logger().error(f"{self._fault}\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        self._fault = ""
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        log, given = self.get_logger().info, values(self, DETECTOR_PARAMETERS)
        self._cameras = self._cameras or self._named_cameras()
        cv2.setNumThreads(1)  # resizing is short; OpenCV's pool would fight with the engine's
        start = time.perf_counter()
        log(f"configure 1/3: opening bundle {given['bundle']}")
        bundle = Bundle.open(given["bundle"])
        settings = settings_from(given, bundle)
        log(f"configure 2/3: loading {bundle.method} on backend {given['backend']}")
        threads_before = thread_ids()
        if given["build_engines"]:
            self._building.build(bundle, given)
        detector = self._detector = open_detector(bundle, given, settings)
        try:
            info = detector.runner.describe()
            log(f"configure 3/3: warming up {info.backend} {info.device} {info.precision}")
            per_frame = detector.warmup()
            self._engine_threads = thread_ids() - threads_before
            self._meter = MeteredRunner(detector.runner)
            self._watched = detector.runner = WatchedRunner(self._meter)
            self._labels = LabelOutputs(self, bundle)
            for camera in self._cameras:
                camera.configure(bundle, given)
        except BaseException:
            self._free()
            raise
        log(
            f"configured in {time.perf_counter() - start:.1f} s: {bundle.name} on {info.backend} "
            f"{info.version}, {info.device}, {info.precision}, {info.threads} threads, "
            f"{1e3 * per_frame:.0f} ms per frame" + (f" ({info.note})" if info.note else "")
        )

    def _activate(self) -> None:
        assert self._detector and self._meter and self._watched  # the state machine's promise
        given = values(self, DETECTOR_PARAMETERS)
        keep_all = given["queue_policy"] == "all"
        settings = settings_from(given, self._detector.bundle)
        apply(settings, self._detector)
        mailbox: Mailbox[Camera, Arrival] = Mailbox(self._cameras, given["queue_depth"], keep_all)
        self._worker = Worker(
            detector=self._detector,
            meter=self._meter,
            watched=self._watched,
            engine_threads=self._engine_threads,
            mailbox=mailbox,
            max_batch=given["max_batch"],
            batch_wait=given["batch_wait"],
            settings=settings,
            clock=lambda: self.get_clock().now().nanoseconds * 1e-9,
            alive=self.context.ok,
        )
        self._worker.start()
        try:
            for camera in self._cameras:
                camera.listen(mailbox, keep_all)
        except BaseException:
            self._deactivate()
            raise
        self._publish_labels()
        topics = ", ".join(camera.topic for camera in self._cameras)
        self.get_logger().info(f"active: waiting for images on {topics}")

    def _deactivate(self) -> None:
        for camera in self._cameras:
            camera.unlisten()
        worker, self._worker = self._worker, None
        if worker is not None and not worker.stop():
            raise NodeError(
                "the engine does not finish its frame; stop this process to get rid of it"
            )

    def _free(self) -> None:
        self._deactivate()
        for camera in self._cameras:
            camera.free()
        if self._labels is not None:
            self._labels.destroy()
        if self._detector is not None:
            self._detector.close()
        self._labels = self._detector = self._meter = self._watched = None

    # -- parameters and services -------------------------------------------------------------------

    def _settings(self, bundle: Bundle, changes: Sequence[Parameter] = ()) -> Settings:
        return settings_from(values(self, DETECTOR_PARAMETERS, changes), bundle)

    def _named_cameras(self) -> list[Camera]:
        """The cameras of the parameter. Raises NodeError when a name cannot be one."""
        given = values(self, DETECTOR_PARAMETERS)
        names = checked_names(given["cameras"])
        return [Camera(self, name, given["image_transport"]) for name in names]

    def _check_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        reason = fault_in(DETECTOR_PARAMETERS, changes)
        if reason is None and self._detector is not None:
            try:
                settings = self._settings(self._detector.bundle, changes)
            except AnomalySegError as error:
                reason = str(error)
            else:
                if not hasattr(self, "add_post_set_parameters_callback") and self._worker:
                    self._worker.settings = settings  # Humble has no callback after setting
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _parameters_changed(self, changes: Sequence[Parameter]) -> None:
        if self._worker is not None and self._detector is not None:
            self._worker.settings = self._settings(self._detector.bundle)
            self._publish_labels()

    def _publish_labels(self) -> None:
        assert self._detector and self._labels
        settings = self._settings(self._detector.bundle)
        point = self._detector.bundle.operating_points[settings.operating_point]
        self._labels.publish(
            point,
            point.threshold if settings.threshold is None else settings.threshold,
            settings.focus or point.focus,
            self._detector.runner.describe().backend,
        )

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        for camera in self._cameras:
            camera.enable(request.data)
        response.success = True
        response.message = "enabled" if request.data else "disabled: images are ignored"
        self.get_logger().info(response.message)
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        for camera in self._cameras:
            camera.reset()
        if self._worker is not None and self._worker.ledger is not None:
            self._worker.ledger.reset()
        response.success, response.message = True, "statistics start at zero"
        return response

    # -- timers ------------------------------------------------------------------------------------

    def _on_autostart(self) -> None:
        self.destroy_timer(self._autostart)
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _on_diagnostics(self) -> None:
        limit = self.get_parameter("silence_warning").value
        ledger = self._worker.ledger if self._worker is not None else None
        state = NodeState(
            lifecycle=self._lifecycle_label(),
            enabled=self._enabled,
            fault=self._fault,
            bundle=self.get_parameter("bundle").value,
            runner=self._detector.runner.describe() if self._detector else None,
            cost=ledger.per_frame() if ledger else None,
            building=self._building.text,
        )
        for camera in self._cameras:
            camera.warn_of_silence(limit)
        found = statuses(
            self.get_fully_qualified_name(),
            state,
            [camera.observe() for camera in self._cameras],
            limit,
        )
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), found))

    # -- small things ------------------------------------------------------------------------------

    def _lifecycle_label(self) -> str:
        return self._state_machine.current_state[1]

    def destroy_node(self) -> None:
        """Stop the worker, free the engine and take the node down."""
        self._attempt("shut down", self._free)
        if self._log_bridge is not None:
            self._log_bridge.close()
        super().destroy_node()


HELP = f"""\
usage: detector_node [--ros-args -r image:=/my/camera -p bundle:=NAME_OR_FOLDER -p NAME:=VALUE ...]
       detector_node --ros-args -p "cameras:=[front, rear]" -r front/image:=/cameras/front/image_raw

Marks what does not belong on the road. Subscribes `image` (or `image/compressed`); publishes
~/anomaly_mask (mono8, 0 or 255), ~/anomaly_score (32FC1), ~/segmentation (mono8 class ids),
~/overlay (rgb8), ~/synthesis (rgb8, with bundles that resynthesise the image), ~/labels_json;
~/label_info and ~/regions (boxes of anomalies) where vision_msgs is installed; with `camera_info`
beside the image also ~/markers for RViz.
With several cameras: `CAMERA/image`, `CAMERA/camera_info` and ~/CAMERA/anomaly_mask and so on.
Services: ~/enable (std_srvs/SetBool), ~/reset_statistics (std_srvs/Trigger).

Parameters:
{parameter_help(DETECTOR_PARAMETERS)}
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; the exit status is 0 then."""
    return run_node(DetectorNode, HELP, args)


if __name__ == "__main__":
    raise SystemExit(main())
