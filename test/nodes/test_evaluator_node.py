"""The evaluator in a real context: pairs by stamp, live numbers, report, and its process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from node_rig import LATCHED, PATIENCE, RELIABLE, Rig, image_message, road_picture
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes import evaluator_node
from anomaly_seg_ros.nodes.diagnostics import status_values
from anomaly_seg_ros.nodes.evaluator_node import EvaluatorNode
from anomaly_seg_ros.nodes.node_process import NodeProcess, detector_process
from anomaly_seg_ros.nodes.pairing import StampPairs
from anomaly_seg_ros.replay.evaluation import evaluate
from anomaly_seg_ros.replay.labels import open_labels
from anomaly_seg_ros.replay.sources import open_source

evaluator_node.METRICS_PERIOD = 0.1
BOX = (30, 40, 90, 120)  # top, left, bottom, right of what is unknown
ALL = QoSProfile(depth=50, reliability=RELIABLE)
DETECTOR_SAYS = {
    "bundle": "mine",
    "backend": "onnxruntime",
    "score_display": [0.0, 2.0],
    "operating_point": "default",
    "threshold": 1.0,
    "focus": "everywhere",
}


class Bench:
    """An evaluator, and a peer that plays detector and ground truth."""

    def __init__(self, **parameters: object) -> None:
        self.context = Context()
        rclpy.init(args=[], context=self.context)
        self.peer = rclpy.create_node("peer", context=self.context)
        try:
            self.node = EvaluatorNode(
                context=self.context,
                parameter_overrides=[Parameter(name, value=v) for name, v in parameters.items()],
            )
        except BaseException:
            self.peer.destroy_node()
            self.context.try_shutdown()
            raise
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.peer)
        self.metrics: dict[str, Any] = {}
        self.diagnostics: list[Any] = []
        self.peer.create_subscription(String, "/evaluator/metrics", self._on_metrics, LATCHED)
        self.peer.create_subscription(
            DiagnosticArray, "/diagnostics", lambda m: self.diagnostics.append(m.status[0]), 10
        )
        self.parts = {
            "score": self.peer.create_publisher(Image, "/detector/anomaly_score", ALL),
            "mask": self.peer.create_publisher(Image, "/detector/anomaly_mask", ALL),
            "label": self.peer.create_publisher(Image, "/anomaly", ALL),
        }
        self.says = self.peer.create_publisher(String, "/detector/labels_json", LATCHED)
        self.until(lambda: all(part.get_subscription_count() for part in self.parts.values()))
        self.until(lambda: self.metrics)

    def describe(self, **changes: object) -> None:
        """Say what the detector says of itself."""
        self.says.publish(String(data=json.dumps({**DETECTOR_SAYS, **changes})))

    def publish(self, part: str, number: int, array: np.ndarray) -> None:
        encoding = "32FC1" if array.dtype == np.float32 else "mono8"
        self.parts[part].publish(image_message(array, number, encoding))

    def until(self, done: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, f"in vain; the metrics are {self.metrics}"
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, service: str) -> Any:
        client = self.peer.create_client(Trigger, f"/evaluator/{service}")
        self.until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        self.until(future.done)
        return future.result()

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.peer.destroy_node()
        self.context.try_shutdown()

    def _on_metrics(self, message: String) -> None:
        self.metrics = json.loads(message.data)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**parameters: object) -> Bench:
        made.append(Bench(**parameters))
        return made[-1]

    yield make
    for each in made:
        each.close()


def maps(number: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, mask and label [20, 30]: four anomalous pixels, of which the mask finds two."""
    score = np.random.default_rng(number).uniform(0, 1, (20, 30)).astype(np.float32)
    label = np.zeros((20, 30), np.uint8)
    label[5, 5:9], label[0] = 1, 255
    score[5, 5:9] = (1.5, 1.5, 0.5, 0.5)
    mask = (score >= 1).astype(np.uint8) * 255
    return score, mask, label


def publish_frame(bench: Bench, number: int) -> None:
    for part, array in zip(("score", "mask", "label"), maps(number), strict=True):
        bench.publish(part, number, array)


def pixel_auroc(frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Over the pooled pixels, by comparing every pair."""
    positive = np.concatenate([score[label == 1] for score, _, label in frames])
    negative = np.concatenate([score[label == 0] for score, _, label in frames])
    return float((positive[:, None] > negative[None]).mean())


def test_frames_are_paired_by_stamp_whatever_comes_first_and_add_up(bench: Any) -> None:
    made = bench()
    made.describe()
    for number in (1, 2, 3):
        made.publish("label", number, maps(number)[2])
    for number in (1, 2, 3):
        made.publish("mask", number, maps(number)[1])
        made.publish("score", number, maps(number)[0])
    made.until(lambda: made.metrics.get("frames") == 3)
    results, point = made.metrics, made.metrics["at_operating_point"]
    expected = pixel_auroc([maps(number) for number in (1, 2, 3)])
    assert results["auroc"] == pytest.approx(expected, abs=results["auroc_error"] + 1e-9)
    assert results["positives"] == 12 and results["negatives"] == 3 * (19 * 30 - 4)
    assert point["recall"] == 0.5 and point["precision"] == 1.0
    assert (point["name"], point["threshold"]) == ("default", 1.0)
    assert results["bundle"] == "mine" and results["unpaired"] == 0 and results["waiting"] == 0


def test_a_frame_that_the_detector_dropped_is_unpaired_with_its_cause(bench: Any) -> None:
    made = bench()
    made.publish("label", 1, maps()[2])
    publish_frame(made, 2)
    made.until(lambda: made.metrics.get("frames") == 1)
    made.until(lambda: made.metrics["unpaired"] == 1)
    assert made.metrics["unpaired_causes"] == {"without anomaly_score, anomaly_mask": 1}


def test_no_more_frames_wait_than_the_buffer_holds(bench: Any) -> None:
    made = bench(buffer=2)
    for number in range(1, 6):
        made.publish("label", number, maps()[2])
    made.until(lambda: made.metrics.get("unpaired") == 3)
    assert made.metrics["waiting"] == 2 and made.metrics["frames"] == 0


@pytest.mark.parametrize(
    ("part", "array"),
    [
        ("label", np.zeros((10, 30), np.uint8)),
        ("label", np.full((20, 30), 7, np.uint8)),
        ("mask", np.zeros((20, 31), np.uint8)),
        ("score", np.zeros((20, 30), np.uint8)),
    ],
    ids=["label of another size", "label of other values", "mask of another size", "score mono8"],
)
def test_maps_that_do_not_fit_are_counted_and_the_next_frame_is_scored(
    bench: Any, part: str, array: np.ndarray
) -> None:
    made = bench()
    wrong = dict(zip(("score", "mask", "label"), maps(), strict=True)) | {part: array}
    for name, each in wrong.items():
        made.publish(name, 1, each)
    publish_frame(made, 2)
    made.until(lambda: made.metrics.get("frames") == 1)
    (bad,) = made.metrics["bad_frames"]
    assert bad["name"] == "1 frames"
    assert made.metrics["positives"] == 4


def test_a_description_that_is_none_is_told_and_changes_nothing(bench: Any) -> None:
    made = bench()
    made.says.publish(String(data='{"score_display": "wide"}'))
    publish_frame(made, 1)
    made.until(lambda: made.metrics.get("frames") == 1 and made.metrics["bad_frames"])
    assert made.metrics["bundle"] == "not known"
    assert made.metrics["at_operating_point"]["threshold"] is None


def test_a_threshold_that_changes_in_the_middle_is_warned_of_until_the_reset(bench: Any) -> None:
    made = bench()
    made.describe()
    made.until(lambda: made.metrics.get("bundle") == "mine")
    publish_frame(made, 1)
    made.until(lambda: made.metrics["frames"] == 1)
    made.describe(threshold=0.5)
    made.until(lambda: made.metrics["warnings"])
    assert "changed in the middle" in made.metrics["warnings"][0]
    assert made.call("reset").success
    made.until(lambda: made.metrics["frames"] == 0)
    assert made.metrics["warnings"] == []
    assert made.metrics["at_operating_point"]["threshold"] == 0.5


def test_the_diagnostics_say_what_is_missing_and_then_the_numbers(bench: Any) -> None:
    made = bench()
    made.until(lambda: made.diagnostics)
    assert made.diagnostics[-1].level == b"\x01"
    assert "no image has come yet" in made.diagnostics[-1].message
    publish_frame(made, 1)
    made.until(lambda: made.diagnostics[-1].message.startswith("1 frames, AP"))
    assert made.diagnostics[-1].name == "/evaluator: evaluation"
    numbers = status_values(made.diagnostics[-1])
    assert numbers["recall"] == "0.50000" and numbers["unpaired"] == "0"
    assert {"ap", "auroc", "fpr95", "precision", "false_regions"} <= set(numbers)


def test_a_report_needs_a_folder_and_a_frame_and_says_so(bench: Any, tmp_path: Path) -> None:
    made = bench()
    answer = made.call("report")
    assert not answer.success and "parameter out is empty" in answer.message
    made.node.set_parameters([Parameter("out", value=str(tmp_path / "report"))])
    answer = made.call("report")
    assert not answer.success and "no frame was paired" in answer.message
    publish_frame(made, 1)
    made.until(lambda: made.metrics["frames"] == 1)
    assert made.call("report").success
    assert json.loads((tmp_path / "report" / "results.json").read_text())["frames"] == 1


def test_the_report_is_written_when_the_node_ends(tmp_path: Path) -> None:
    made = Bench(out=str(tmp_path / "report"))
    publish_frame(made, 1)
    made.until(lambda: made.metrics.get("frames") == 1)
    made.close()
    assert made.node.exit_status == 0
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"results.json", "results.md", "frames.csv", "curves.svg"}


def test_a_name_that_makes_no_topic_is_one_clear_error() -> None:
    with pytest.raises(NodeError, match=r"detector 'a b' and camera '' make no topic name"):
        Bench(detector="a b")


def test_its_numbers_are_those_of_the_evaluation_in_this_process(
    rig: Callable[..., Rig], tiny: Path, tmp_path: Path
) -> None:
    """The real detector node, and `evaluate` over the same pictures and labels."""
    pictures = [road_picture(box=BOX), road_picture(), road_picture(box=(60, 100, 110, 150))]
    label = np.zeros(pictures[0].shape[:2], np.uint8)
    label[BOX[0] : BOX[2], BOX[1] : BOX[3]] = 1
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for number, picture in enumerate(pictures):
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), bgr)
        cv2.imwrite(str(tmp_path / "labels" / f"{number}.png"), label)
    with open_source(tmp_path / "images") as source, Detector(tiny) as detector:
        labels = open_labels(str(tmp_path / "labels"), source)
        expected = evaluate(source, labels, detector, tmp_path / "in_process")

    made = rig(queue_policy="all")
    evaluator = EvaluatorNode(
        context=made.context,
        cli_args=["--ros-args", "-r", "anomaly:=/truth"],
        parameter_overrides=[Parameter("out", value=str(tmp_path / "report"))],
    )
    made.executor.add_node(evaluator)
    truth = made.peer.create_publisher(Image, "/truth", ALL)
    made.start()
    made.spin_until(lambda: truth.get_subscription_count(), "the evaluator")
    made.spin_until(lambda: evaluator.count_publishers("/detector/anomaly_score"), "the detector")

    def play() -> None:
        for number, picture in enumerate(pictures):
            truth.publish(image_message(label, number, "mono8"))
            made.camera.publish(image_message(picture, number))
            made.spin_for(0.2)

    while not evaluator.results()["frames"]:  # until all topics have found each other
        play()
    reset = made.peer.create_client(Trigger, "/evaluator/reset")
    made.spin_until(reset.service_is_ready, "the service")
    answer = reset.call_async(Trigger.Request())
    made.spin_until(answer.done, "the reset")
    play()
    made.spin_until(lambda: evaluator.results()["frames"] == 3, "three scored frames")
    made.executor.remove_node(evaluator)
    evaluator.destroy_node()

    results = json.loads((tmp_path / "report" / "results.json").read_text())
    same = ("ap", "auroc", "fpr95", "positives", "negatives", "frames", "bundle")
    assert {name: results[name] for name in same} == {name: expected[name] for name in same}
    assert results["at_operating_point"] == expected["at_operating_point"]


def test_camera_detector_and_evaluator_in_processes_of_their_own(
    tiny: Path, tmp_path: Path
) -> None:
    def wait_for(process: NodeProcess, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in process.log.read_text(errors="replace"):
            process.check()
            assert time.monotonic() < deadline, process.last_lines()
            time.sleep(0.02)

    evaluator_arguments = ["--ros-args", "-r", "anomaly:=image_source/anomaly"]
    evaluator_arguments += ["-p", f"out:={tmp_path / 'report'}"]
    source_arguments = ["--ros-args", "-r", "image:=/camera/image", "-p", "source:=scenes:4:6"]
    for setting in ("width:=160", "height:=120", "rate:=4.0", "wait_for_subscribers:=1"):
        source_arguments += ["-p", setting]
    with (
        detector_process({"bundle": str(tiny)}, {}, tmp_path / "detector.log") as detector,
        NodeProcess(
            "anomaly_seg_ros.nodes.evaluator_node", evaluator_arguments, {}, tmp_path / "eval.log"
        ) as evaluator,
    ):
        wait_for(detector, "active: waiting")
        wait_for(evaluator, "waiting for frames")
        with NodeProcess(
            "anomaly_seg_ros.nodes.image_source_node", source_arguments, {}, tmp_path / "src.log"
        ) as source:
            assert source.wait(PATIENCE) == 0, source.last_lines()
        assert evaluator.stop() == 0, evaluator.last_lines()
        assert "report: " in evaluator.last_lines()
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert 1 <= results["frames"] <= 6 and results["bundle"] == "tiny"


# --- pairing


def test_a_whole_frame_ends_the_wait_of_those_before_it() -> None:
    pairs = StampPairs(("a", "b"), depth=10)
    assert pairs.add("a", 1, "a1") is None
    assert pairs.add("b", 2, "b2") is None
    assert pairs.add("b", 3, "b3") is None
    assert pairs.add("a", 2, "a2") == {"b": "b2", "a": "a2"}
    assert pairs.unpaired == {"without b": 1} and pairs.waiting == 1
    assert pairs.add("a", 3, "a3") == {"a": "a3", "b": "b3"}
    assert pairs.add("a", 5, "a5") is None
    assert pairs.add("b", 4, "b4") is None  # begun after frame 5, and before it all the same
    assert pairs.add("b", 5, "b5") == {"a": "a5", "b": "b5"}
    assert pairs.unpaired == {"without b": 1, "without a": 1} and pairs.waiting == 0
    pairs.reset()
    assert pairs.unpaired == {} and pairs.waiting == 0
