"""Detectors under the real `ros2 launch`: several cameras, several nodes, and how they end.

Skipped where the ROS 2 launch system is not installed.
"""

from __future__ import annotations

import array
import signal
import time
from pathlib import Path

import cv2
import pytest
import yaml

pytest.importorskip("launch_ros", reason="the ROS 2 launch system is not installed")
pytest.importorskip("ros2launch", reason="`ros2 launch` is not installed")
pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from launch_rig import PATIENCE, Launched, is_running
from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import Image


def test_cameras_are_joined_to_their_topics_by_the_pattern(
    environment: dict[str, str],
    tiny_bundle: Path,
    photos: Path,
    listener: rclpy.node.Node,
    tmp_path: Path,
) -> None:
    """Parameters come from a file, and what the arguments say goes before it."""
    params = tmp_path / "mine.yaml"
    given = {"threshold": 0.0, "bundle": "no_such_bundle", "silence_warning": 0.0}
    params.write_text(yaml.safe_dump({"/**": {"ros__parameters": given}}))
    masks: dict[str, list[Image]] = {"front": [], "rear": []}
    cameras = {}
    for name, received in masks.items():
        topic = f"/vehicle/detector/{name}/anomaly_mask"
        listener.create_subscription(Image, topic, received.append, 10)
        cameras[name] = listener.create_publisher(Image, f"/sensors/{name}/image_raw", 1)
    picture = cv2.imread(str(photos / "3.png"))[:240, :320]  # small: no profile in this process
    executor = rclpy.executors.SingleThreadedExecutor(context=listener.context)
    executor.add_node(listener)

    def each_camera_has_its_mask() -> bool:
        for name, publisher in cameras.items():
            if not masks[name]:
                message = Image(height=240, width=320, step=960, encoding="bgr8")
                message.header.frame_id = name
                message.data = array.array("B", picture.tobytes())
                publisher.publish(message)
        executor.spin_once(timeout_sec=0.05)
        return all(masks.values())

    arguments = [
        *("cameras:=front,rear", "image_topic:=/sensors/{camera}/image_raw"),
        *("namespace:=vehicle", f"params_file:={params}", f"bundle:={tiny_bundle}"),
    ]
    with Launched(environment, tmp_path, "detector.launch.py", *arguments) as launched:
        launched.wait_for(each_camera_has_its_mask, "mask of each camera")

    assert launched.process.returncode == 0, launched.text
    assert launched.text.count("process has finished cleanly") == 1, "one node for both cameras"
    for name, (mask, *_) in masks.items():
        assert (mask.height, mask.width, mask.header.frame_id) == (240, 320, name)
        assert set(mask.data) == {255}, "the file's threshold of 0 marks every pixel"


def test_one_launch_file_may_start_several_detectors(
    environment: dict[str, str], tiny_bundle: Path, listener: rclpy.node.Node, tmp_path: Path
) -> None:
    both = tmp_path / "both.launch.py"
    both.write_text(
        "from ament_index_python.packages import get_package_share_directory as share\n"
        "from launch import LaunchDescription\n"
        "from launch.actions import GroupAction, IncludeLaunchDescription\n"
        "DETECTOR = share('anomaly_seg_ros') + '/launch/detector.launch.py'\n"
        "def generate_launch_description():\n"
        "    one = {'namespace': 'one', 'cameras': 'front,rear'}\n"
        "    two = {'namespace': 'two', 'autostart': 'false'}\n"
        f"    bundle = {{'bundle': '{tiny_bundle}'}}\n"
        "    return LaunchDescription([\n"
        "        GroupAction([IncludeLaunchDescription(DETECTOR, launch_arguments=a.items())])\n"
        "        for a in ({**one, **bundle}, {**two, **bundle})])\n"
    )
    states = {
        name: listener.create_client(GetState, f"/{name}/detector/get_state")
        for name in ("one", "two")
    }
    executor = rclpy.executors.SingleThreadedExecutor(context=listener.context)
    executor.add_node(listener)

    def state(name: str) -> str:
        if not states[name].wait_for_service(timeout_sec=0.05):
            return "absent"
        answer = states[name].call_async(GetState.Request())
        executor.spin_until_future_complete(answer, timeout_sec=5.0)
        return answer.result().current_state.label if answer.done() else "silent"

    with Launched(environment, tmp_path, str(both)) as launched:
        launched.wait_for(lambda: state("one") == "active", "active detector in /one")
        launched.wait_for(lambda: state("two") == "unconfigured", "waiting detector in /two")
        topics = {name for name, _ in listener.get_topic_names_and_types()}

    assert launched.process.returncode == 0, launched.text
    assert launched.text.count("process has finished cleanly") == 2
    assert {"/one/front/image", "/one/rear/image"} <= topics
    assert "/two/front/image" not in topics, "arguments of one do not reach the other"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_no_node_outlives_its_launch(
    environment: dict[str, str], tiny_bundle: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    """launch passes SIGINT on to its nodes and nothing else."""
    with Launched(
        environment, tmp_path, "detector.launch.py", f"bundle:={tiny_bundle}"
    ) as launched:
        launched.wait_for(lambda: "active: waiting" in launched.text, "active detector")
        (node,) = launched.node_ids()
        assert is_running(node)
        launched.process.send_signal(ending)
        launched.process.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while is_running(node):
            assert time.monotonic() < deadline, f"the detector lives on\n{launched.text}"
            time.sleep(0.05)
