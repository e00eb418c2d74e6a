"""Live evaluation: the detector's score and mask against a ground-truth topic.

No algorithm lives here: frames are paired by their stamps, Scoring adds them up, and the report is
that of `anomaly-seg evaluate`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from anomaly_seg_ros import __version__
from anomaly_seg_ros.detector import Detection
from anomaly_seg_ros.errors import AnomalySegError, EncodingError, MetricError, NodeError
from anomaly_seg_ros.imaging.encodings import message_to_map
from anomaly_seg_ros.nodes.evaluator_parameters import EVALUATOR_PARAMETERS
from anomaly_seg_ros.nodes.main_loop import run_node
from anomaly_seg_ros.nodes.outputs import LABELS_TOPIC, LATCHED_QOS
from anomaly_seg_ros.nodes.pairing import StampPairs
from anomaly_seg_ros.nodes.parameters import declare, parameter_help, values
from anomaly_seg_ros.nodes.reports import FaultReports, kind_of
from anomaly_seg_ros.replay.evaluation_report import write_report
from anomaly_seg_ros.replay.labels import LabelMap
from anomaly_seg_ros.replay.scoring import MaskRule, Scoring

SCORE, MASK, TRUTH = "anomaly_score", "anomaly_mask", "anomaly"
METRICS_PERIOD = 1.0  # seconds
STEADY = Clock(clock_type=ClockType.STEADY_TIME)  # timers run even when /clock stands still
QUEUE_DEPTH = 30  # messages that wait while a frame is being scored
KEEP_ROWS = 100_000  # frames that frames.csv lists: more than two hours at 10 Hz


@dataclass(frozen=True)
class DetectorSays:
    """What ~/labels_json tells of the detector; before it came, nothing is known."""

    bundle: str = "not known"
    backend: str = "not known"
    rule: MaskRule = field(default_factory=MaskRule)
    display: tuple[float, float] = (0.0, 1.0)  # score range that is drawn

    @classmethod
    def read(cls, text: str) -> DetectorSays:
        """Raises ValueError, KeyError or TypeError for anything but what the detector writes."""
        told = json.loads(text)
        low, high = (float(end) for end in told["score_display"])
        if not low < high:
            raise ValueError(f"score_display is {low} to {high}")
        rule = MaskRule(told["operating_point"], float(told["threshold"]), told["focus"])
        return cls(told["bundle"], told["backend"], rule, (low, high))


class EvaluatorNode(Node):
    """`DETECTOR/anomaly_score`, `DETECTOR/anomaly_mask` and `anomaly` in, metrics out.

    Frames that are not whole or do not fit together are counted and told, and the node lives on.
    """

    def __init__(self, **node_options: Any) -> None:
        self.exit_status = 0
        self._ready = False
        # rclpy destroys a node whose construction fails: what that needs is set above.
        super().__init__("evaluator", **node_options)
        declare(self, EVALUATOR_PARAMETERS)
        given = values(self, EVALUATOR_PARAMETERS)
        self._detector: str = given["detector"]
        if not self._detector:
            raise NodeError("parameter detector is empty; expected the name of the detector node")
        self._faults = FaultReports(self.get_logger().error)
        self._pairs = StampPairs((SCORE, MASK, TRUTH), given["buffer"])
        self._told = DetectorSays()
        self._changed = False  # the detector's settings, in the middle of the evaluation
        self._scoring = Scoring(self._told.display, keep_rows=KEEP_ROWS)
        self._accuracy: tuple[int, dict[str, Any]] = (-1, {})  # of so many frames
        self._published: dict[str, Any] = {}
        results = "/".join(part for part in (self._detector, given["camera"]) if part)
        self._topics = {
            SCORE: f"{results}/{SCORE}",
            MASK: f"{results}/{MASK}",
            TRUTH: TRUTH,
        }
        try:
            for topic in self._topics.values():
                validate_topic_name(topic)
        except InvalidTopicNameException as error:
            raise NodeError(
                f"detector {given['detector']!r} and camera {given['camera']!r} make no topic name:"
                f" {error}"
            ) from error
        topics = ", ".join(self.resolve_topic_name(name) for name in self._topics.values())
        qos = QoSProfile(depth=QUEUE_DEPTH, reliability=QoSReliabilityPolicy.RELIABLE)
        for part, topic in self._topics.items():
            self.create_subscription(
                Image,
                topic,
                partial(self._on_image, part),
                qos,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        self.create_subscription(
            String, f"{self._detector}/{LABELS_TOPIC}", self._on_labels, LATCHED_QOS
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._metrics = self.create_publisher(String, "~/metrics", LATCHED_QOS)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(Trigger, "~/report", self._on_report)
        self.create_timer(METRICS_PERIOD, self._on_timer, clock=STEADY)
        self._ready = True
        self.get_logger().info(f"waiting for frames on {topics}")

    # -- frames ------------------------------------------------------------------------------------

    def _on_image(self, part: str, message: Image) -> None:
        stamp = message.header.stamp
        whole = self._pairs.add(part, (stamp.sec, stamp.nanosec), message)
        if whole is None:
            return
        try:
            score, mask, label = (message_to_map(whole[name]) for name in (SCORE, MASK, TRUTH))
            found = Detection(labels=None, score=score, mask=mask, extras={}, seconds={})
            self._scoring.add(f"{stamp.sec}.{stamp.nanosec:09d}", found, label)
        except (EncodingError, MetricError) as error:
            self._faults.add(kind_of(error), f"a frame is not counted: {error}")

    def _on_labels(self, message: String) -> None:
        try:
            told = DetectorSays.read(message.data)
        except (ValueError, KeyError, TypeError) as error:
            self._faults.add("labels", f"{LABELS_TOPIC} of the detector cannot be read: {error!r}")
            return
        if not self._scoring.frames:
            self._scoring = Scoring(told.display, keep_rows=KEEP_ROWS)
        elif told != self._told:
            self._changed = True
            self.get_logger().warning(
                "the detector's settings came or changed in the middle: call ~/reset to count anew"
            )
        self._told = told
        self._accuracy = (-1, {})

    # -- results -----------------------------------------------------------------------------------

    def results(self) -> dict[str, Any]:
        """What results.json and ~/metrics hold, of all frames so far."""
        if self._accuracy[0] != self._scoring.frames:
            self._accuracy = self._scoring.frames, self._scoring.results(self._told.rule)
        topic = self.resolve_topic_name(self._topics[TRUTH])
        unpaired = dict(self._pairs.unpaired)
        bad = self._faults.counts()
        return {
            "version": __version__,
            **self._accuracy[1],
            "unpaired": sum(unpaired.values()),
            "unpaired_causes": unpaired,
            "waiting": self._pairs.waiting,
            "bad_frames": [
                {"name": f"{count} frames", "reason": kind} for kind, count in bad.items()
            ],
            "warnings": self._warnings(unpaired),
            "input": {"kind": "topic", "path": topic, "detector": self._topics[SCORE]},
            "pairing": f"{SCORE}, {MASK} and {TRUTH} with the same stamp",
            "label_map": LabelMap().describe(),
            "bundle": self._told.bundle,
            "runner": {"backend": self._told.backend},
        }

    def _warnings(self, unpaired: dict[str, int]) -> list[str]:
        warnings = [f"{count} frames unpaired: {cause}" for cause, count in unpaired.items()]
        warnings += self._scoring.warnings()
        if self._changed:
            warnings.append("the detector's settings have changed in the middle")
        return warnings

    def _write(self) -> str:
        """Write the report; where. Raises NodeError, ReplayError."""
        out = self.get_parameter("out").value
        if not out:
            raise NodeError("parameter out is empty: set it to the folder of the report")
        if not self._scoring.frames:
            raise NodeError(f"no frame was paired, so there is nothing to report: {self._cause()}")
        folder = Path(out).expanduser()
        write_report(
            folder,
            self.results(),
            self._scoring.rows,
            {"curves.svg": self._scoring.plots()},
            {},
            title=f"{self._detector} against ",
        )
        return str(folder)

    def _cause(self) -> str:
        """Why no frame is whole."""
        silent = [
            self.resolve_topic_name(topic)
            for topic in self._topics.values()
            if self.context.ok() and not self.count_publishers(topic)
        ]
        if silent:
            return f"nobody publishes {', '.join(silent)}"
        causes = ", ".join(f"{n} frames {cause}" for cause, n in self._pairs.unpaired.items())
        return causes or "no image has come yet"

    # -- services and the timer --------------------------------------------------------------------

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._scoring = Scoring(self._told.display, keep_rows=KEEP_ROWS)
        self._accuracy = (-1, {})
        self._pairs.reset()
        self._faults.reset()
        self._changed = False
        response.success, response.message = True, "the evaluation starts anew"
        return response

    def _on_report(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.success, response.message = True, self._write()
        except AnomalySegError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_timer(self) -> None:
        results = self.results()
        if results != self._published:
            self._published = results
            self._metrics.publish(String(data=json.dumps(results)))
        self._diagnostics.publish(self._status(results))

    def _status(self, results: dict[str, Any]) -> DiagnosticArray:
        point = results["at_operating_point"]
        numbers = {
            **{name: results[name] for name in ("frames", "ap", "auroc", "fpr95")},
            **{name: point[name] for name in ("precision", "recall", "false_regions")},
            "unpaired": results["unpaired"],
            **{f"unpaired: {cause}": count for cause, count in results["unpaired_causes"].items()},
            **{f"bad: {entry['reason']}": entry["name"] for entry in results["bad_frames"]},
        }
        level, message = DiagnosticStatus.OK, f"{results['frames']} frames"
        if not results["frames"]:
            level, message = DiagnosticStatus.WARN, f"no frame yet: {self._cause()}"
        elif results["ap"] is not None:
            message += f", AP {100 * results['ap']:.2f} %"
        status = DiagnosticStatus(
            level=level,
            name=f"{self.get_fully_qualified_name()}: evaluation",
            message=message,
            hardware_id=self._detector,
            values=[KeyValue(key=name, value=_text(value)) for name, value in numbers.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        return array

    def destroy_node(self) -> None:
        """Write the report where one was asked for, and take the node down."""
        if self._ready:
            self._ready = False
            self._last_report()
        super().destroy_node()

    def _last_report(self) -> None:
        """Printed, not logged: after a signal the log topic is gone already."""
        if not self.get_parameter("out").value:
            return
        try:
            print(f"report: {self._write()}")
        except AnomalySegError as error:
            self.exit_status = 1
            print(f"error: no report: {error}", file=sys.stderr)


def _text(value: float | str | None) -> str:
    return f"{value:.5f}" if isinstance(value, float) else "-" if value is None else str(value)


HELP = f"""\
usage: evaluator_node --ros-args -r anomaly:=/image_source/anomaly [-p out:=FOLDER -p NAME:=VALUE]

Measures a running detector against `anomaly` (mono8: 0 known, 1 unknown object, 255 void).
Subscribes DETECTOR/anomaly_score, DETECTOR/anomaly_mask and DETECTOR/labels_json; publishes
~/metrics (std_msgs/String, JSON, latched) and /diagnostics once a second.
Services (std_srvs/Trigger): ~/reset counts anew, ~/report writes the report.

Parameters:
{parameter_help(EVALUATOR_PARAMETERS)}
"""


def main(args: Sequence[str] | None = None) -> int:
    """Evaluate until SIGINT or SIGTERM; 0, 1 when the report could not be written, 2 for wrong
    parameters.
    """
    return run_node(EvaluatorNode, HELP, args, status=lambda node: node.exit_status)


if __name__ == "__main__":
    raise SystemExit(main())
