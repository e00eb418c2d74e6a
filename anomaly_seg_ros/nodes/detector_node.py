"""The detector as a ROS 2 lifecycle node: camera images in, masks, score and overlay out.

No algorithm lives here: Detector does the work, on one worker thread, for one camera or several.
The executor's thread only receives, so that parameters and services answer while the engine is
busy.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpHandle, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import AnomalySegError, NodeError
from anomaly_seg_ros.nodes.camera import Arrival, Camera
from anomaly_seg_ros.nodes.detector_parameters import DETECTOR_PARAMETERS
from anomaly_seg_ros.nodes.diagnostics import NodeState, diagnostic_array, statuses
from anomaly_seg_ros.nodes.engine import Engine, Opening, open_engine
from anomaly_seg_ros.nodes.engine_setup import EngineProgress, RosLog
from anomaly_seg_ros.nodes.events.recorder import EventRecorder
from anomaly_seg_ros.nodes.events.settings import RecorderSettings, recorder_settings
from anomaly_seg_ros.nodes.mailbox import Mailbox
from anomaly_seg_ros.nodes.main_loop import run_node
from anomaly_seg_ros.nodes.outputs import LABELS_TOPIC, LabelOutputs
from anomaly_seg_ros.nodes.parameters import (
    declare,
    fault_in,
    parameter_help,
    values,
)
from anomaly_seg_ros.nodes.reports import FaultReports
from anomaly_seg_ros.nodes.settings import Settings, apply, settings_from
from anomaly_seg_ros.nodes.topics import checked_names
from anomaly_seg_ros.nodes.worker import Worker

DIAGNOSTICS_PERIOD = 1.0  # seconds
# Of the node's clock: a set clock, or /clock of a recording that begins anew.
CLOCK_JUMP = JumpThreshold(
    min_forward=None, min_backward=Duration(seconds=-0.5), on_clock_change=False
)
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
        self._engine: Engine | None = None
        self._cameras: list[Camera] = []
        self._labels: LabelOutputs | None = None
        self._worker: Worker | None = None
        self._recorder = EventRecorder(RecorderSettings(), dict, print)  # off until configured
        self._enabled = True
        self._fault = ""
        self._loading = ""  # the bundle that ~/reload opens
        self._clock_jumps = 0
        self._log_bridge: RosLog | None = None
        self._jumps: JumpHandle | None = None
        # A node whose construction fails is destroyed: what that needs is set above.
        super().__init__("detector", **node_options)
        log = self.get_logger().info
        self._building = EngineProgress(log, self._on_diagnostics, self.context.ok)
        try:
            declare(self, DETECTOR_PARAMETERS)
            self._offer()
        except BaseException:
            self.destroy_node()
            raise

    def _offer(self) -> None:
        """Services, timers and what else there is from the start."""
        self._log_bridge = RosLog(self.get_logger())
        with suppress(NodeError):  # the configure step fails with it
            self._cameras = self._named_cameras()

        self.add_on_set_parameters_callback(self._check_parameters)
        if hasattr(self, "add_post_set_parameters_callback"):
            self.add_post_set_parameters_callback(self._parameters_changed)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset_statistics", self._on_reset)
        self.create_service(Trigger, "~/record", self._on_record)
        # A group of its own: the others' callbacks go on while this one waits.
        alone = MutuallyExclusiveCallbackGroup()
        self.create_service(Trigger, "~/reload", self._on_reload, callback_group=alone)
        self.create_timer(DIAGNOSTICS_PERIOD, self._on_diagnostics, clock=STEADY)
        self._jumps = self.get_clock().create_jump_callback(
            CLOCK_JUMP, post_callback=self._on_clock_jump
        )
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
            if not self.context.ok():  # ROS was shut down in the middle of it
                return TransitionCallbackReturn.FAILURE
            self._fault = f"cannot {what}: {type(error).__name__}: {error}"
            self.get_logger().error(f"{self._fault}\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        self._fault = ""
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        self._cameras = self._cameras or self._named_cameras()
        cv2.setNumThreads(1)  # resizing is short; OpenCV's pool would fight with the engine's
        given = values(self, DETECTOR_PARAMETERS)
        settings = recorder_settings(given)
        engine = open_engine(given, self._building, self.get_logger().info, "configure")
        try:
            report = FaultReports(self.get_logger().error).add
            self._recorder = EventRecorder(settings, self._described, report)
            self._serve(engine, given)
        except BaseException:
            engine.close()
            self._free()
            raise

    def _serve(self, engine: Engine, given: Mapping[str, Any]) -> None:
        """Offer what this engine makes, while no worker runs."""
        self._engine = engine
        if self._labels is None:
            self._labels = LabelOutputs(self, engine.bundle)
        self._labels.bundle = engine.bundle
        for camera in self._cameras:
            camera.configure(engine.bundle, given, self._recorder)

    def _activate(self) -> None:
        try:
            self._start_worker()
        except BaseException:
            self._deactivate()
            raise
        topics = ", ".join(camera.topic for camera in self._cameras)
        self.get_logger().info(f"active: waiting for images on {topics}")

    def _start_worker(self) -> None:
        """Let a worker take the cameras' images; they subscribe where they have not yet."""
        assert self._engine  # the state machine's promise
        given = values(self, DETECTOR_PARAMETERS)
        keep_all = given["queue_policy"] == "all"
        settings = settings_from(given, self._engine.bundle)
        apply(settings, self._engine.detector)
        mailbox: Mailbox[Camera, Arrival] = Mailbox(self._cameras, given["queue_depth"], keep_all)
        self._worker = Worker(
            engine=self._engine,
            mailbox=mailbox,
            max_batch=given["max_batch"],
            batch_wait=given["batch_wait"],
            settings=settings,
            clock=lambda: self.get_clock().now().nanoseconds * 1e-9,
            alive=self.context.ok,
        )
        self._worker.start()
        for camera in self._cameras:
            camera.listen(mailbox, keep_all)
        self._publish_labels()

    def _stop_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None and not worker.stop():
            raise NodeError(
                "the engine does not finish its frame; stop this process to get rid of it"
            )

    def _deactivate(self) -> None:
        for camera in self._cameras:
            camera.unlisten()
        self._stop_worker()

    def _free(self) -> None:
        self._deactivate()
        self._recorder.close()
        for camera in self._cameras:
            camera.free()
        if self._labels is not None:
            self._labels.destroy()
        if self._engine is not None:
            self._engine.close()
        self._labels = self._engine = None

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
        if reason is None and self._engine is not None:
            try:
                settings = self._settings(self._engine.bundle, changes)
            except AnomalySegError as error:
                reason = str(error)
            else:
                if not hasattr(self, "add_post_set_parameters_callback") and self._worker:
                    self._worker.settings = settings  # Humble has no callback after setting
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _parameters_changed(self, changes: Sequence[Parameter]) -> None:
        if self._worker is not None and self._engine is not None:
            self._worker.settings = self._settings(self._engine.bundle)
            self._publish_labels()

    def _publish_labels(self) -> None:
        assert self._engine and self._labels
        settings = self._settings(self._engine.bundle)
        point = self._engine.bundle.operating_points[settings.operating_point]
        message = self._labels.publish(
            point,
            point.threshold if settings.threshold is None else settings.threshold,
            settings.focus or point.focus,
            self._engine.describe().backend,
        )
        topic = self.resolve_topic_name(f"~/{LABELS_TOPIC}")
        for camera in self._cameras:
            self._recorder.latch(camera.name, topic, message)

    def _described(self) -> dict[str, Any]:
        """What is running, for the recordings of the event recorder."""
        engine = self._engine
        if engine is None:
            return {}
        point = engine.detector.operating_point
        return {
            "bundle": engine.bundle.name,
            "backend": engine.describe().backend,
            "operating_point": point.name,
            "threshold": point.threshold,
            "focus": point.focus,
        }

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

    def _on_record(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._recorder.request()
        return response

    async def _on_reload(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Open bundle and engine anew, as the parameters name them, while the old ones serve."""
        self._loading = self.get_parameter("bundle").value
        try:
            response.success, response.message = await self._reloaded()
        except Exception as error:  # rclpy would end the process with it
            response.success, response.message = False, f"{type(error).__name__}: {error}"
        self._loading = ""
        if response.success:  # two lines: rclpy ties a level to the line that it is called from
            self.get_logger().info(f"~/reload: {response.message}")
        else:
            self.get_logger().error(f"~/reload: {response.message}")
        return response

    async def _reloaded(self) -> tuple[bool, str]:
        if self._engine is None:
            return False, "nothing is loaded yet: configure opens what the parameters name"
        before, given = self._engine, values(self, DETECTOR_PARAMETERS)
        opening = Opening(given, self.get_logger().info, self.context.ok)
        await opening.finished()
        engine = opening.engine
        if engine is None:
            return False, f"{opening.fault}\n{before.source} serves as before"
        try:
            if self._engine is not before:
                raise NodeError("the node was cleaned up or configured meanwhile: nothing changed")
            self._settings(engine.bundle)  # they may have changed meanwhile
        except NodeError as error:
            engine.close()
            return False, str(error)
        serving = self._worker is not None
        self._stop_worker()
        self._serve(engine, given)
        before.close()
        if serving:
            self._start_worker()
        return True, f"{engine.source} serves"

    # -- timers ------------------------------------------------------------------------------------

    def _on_autostart(self) -> None:
        self.destroy_timer(self._autostart)
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _on_clock_jump(self, jump: Any) -> None:
        self._clock_jumps += 1
        seconds = -1e-9 * jump.delta.nanoseconds
        self.get_logger().warning(
            f"the node's clock went back by {seconds:.1f} s: ages of that moment are wrong"
        )

    def _on_diagnostics(self) -> None:
        limit = self.get_parameter("silence_warning").value
        ledger = self._worker.ledger if self._worker is not None else None
        engine = self._engine
        state = NodeState(
            lifecycle=self._lifecycle_label(),
            enabled=self._enabled,
            fault=self._fault,
            bundle=engine.source if engine else self.get_parameter("bundle").value,
            runner=engine.describe() if engine else None,
            cost=ledger.per_frame() if ledger else None,
            building=self._building.text,
            loading=self._loading,
            clock_jumps=self._clock_jumps,
            recording=self._recorder.status(),
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
        if self._jumps is not None:
            self._jumps.unregister()
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
Services: ~/enable (std_srvs/SetBool); ~/reload, ~/record, ~/reset_statistics (std_srvs/Trigger).

Parameters:
{parameter_help(DETECTOR_PARAMETERS)}
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; the exit status is 0 then."""
    return run_node(DetectorNode, HELP, args)


if __name__ == "__main__":
    raise SystemExit(main())
