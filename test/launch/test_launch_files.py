"""The launch files under the real `ros2 launch`; skipped where that is not installed."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="the ROS 2 launch system is not installed")
pytest.importorskip("ros2launch", reason="`ros2 launch` is not installed")
pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from launch_rig import INDEX, PATIENCE, Launched, launch, rviz_call, with_rviz_stand_in
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("detector.launch.py", {"image_topic", "image_transport", "bundle", "backend", "rviz"}),
        ("replay.launch.py", {"input", "rate", "loop", "image_topic", "bundle", "rviz"}),
    ],
)
def test_show_args_lists_and_describes_every_argument(
    environment: dict[str, str], file: str, names: set[str]
) -> None:
    status, text = launch(environment, file, "--show-args")
    assert status == 0, text
    listed = {line.strip(" ':") for line in text.splitlines() if line.startswith("    '")}
    assert names <= listed
    assert "No description given" not in text


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        (
            "image_topic:=/cam/image_raw/compressed",
            "image_topic:=/cam/image_raw image_transport:=compressed",
        ),
        ("threshold:=high", "threshold is 'high', expected a number"),
        ("threads:=two", "threads is 'two', expected a number"),
        ("image_transport:=theora", "theora"),
        ("params_file:=/nowhere.yaml", "params_file is /nowhere.yaml, which is no file"),
        ("dds_profile:=/nowhere.xml", "dds_profile is /nowhere.xml, which is no file"),
        ("image_topic:=/{camera}/image_raw", "no camera is named: give cameras:=front,left"),
        ("cameras:=front,fr-ont", "'fr-ont', which cannot stand in a topic's name"),
        ("cameras:=front,rear,front", "front more than once"),
        ("cameras:=front,rear image_topic:=/image", "image_topic:=/sensors/{camera}/image_raw"),
    ],
)
def test_a_wrong_argument_stops_the_launch_and_says_what_is_expected(
    environment: dict[str, str], argument: str, complaint: str
) -> None:
    status, text = launch(environment, "detector.launch.py", *argument.split())
    assert status != 0
    assert complaint in text
    assert "process started" not in text


def test_rviz_that_is_not_installed_stops_the_launch_before_anything_starts(
    environment: dict[str, str],
) -> None:
    prefixes = environment["AMENT_PREFIX_PATH"].split(os.pathsep)
    if any((Path(prefix) / INDEX / "rviz2").exists() for prefix in prefixes):
        pytest.skip("rviz2 is installed")
    status, text = launch(environment, "detector.launch.py", "rviz:=true")
    assert status != 0
    assert "install rviz2 or leave rviz out" in text
    assert "process started" not in text


def test_rviz_gets_its_configuration_with_the_topics_moved_into_the_namespace(
    environment: dict[str, str], tiny_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    status, text = launch(
        with_rviz_stand_in(environment, tmp_path),
        "replay.launch.py",
        *(f"input:={photos}", "rate:=20.0", f"bundle:={tiny_bundle}"),
        *("namespace:=front", "image_topic:=camera/image_raw", "rviz:=true"),
    )

    assert status == 0, text
    config, moved = rviz_call(tmp_path)
    assert config.name == "anomaly_seg.rviz" and config.is_file()
    shown = set(re.findall(r"Value: (/\S+)", config.read_text()))
    assert shown <= set(moved), "every topic that the configuration shows is moved"
    assert moved["/detector/overlay"] == "/front/detector/overlay"
    assert moved["/detector/synthesis"] == "/front/detector/synthesis"
    assert moved["/image"] == "/front/camera/image_raw"
    assert moved["/camera_info"] == "/front/camera/camera_info"


def test_rviz_gets_a_layout_for_the_names_of_the_cameras(
    environment: dict[str, str], tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = [
        *("cameras:=rear,left", "image_topic:=/sensors/{camera}/image_raw", "namespace:=vehicle"),
        *("rviz:=true", f"bundle:={tiny_bundle}"),
    ]
    known = with_rviz_stand_in(environment, tmp_path)
    with Launched(known, tmp_path, "detector.launch.py", *arguments) as launched:
        launched.wait_for((tmp_path / "called").exists, "RViz")

    assert launched.process.returncode == 0, launched.text
    config, moved = rviz_call(tmp_path)
    assert config.is_relative_to(environment["ROS_LOG_DIR"]), "beside the log of the launch"
    shown = set(re.findall(r"Value: (/\S+)", config.read_text()))
    assert {"/detector/rear/overlay", "/detector/left/overlay", "/left/image"} <= shown
    assert shown <= set(moved), "every topic that the configuration shows is moved"
    assert moved["/detector/rear/overlay"] == "/vehicle/detector/rear/overlay"
    assert moved["/left/image"] == "/sensors/left/image_raw"
    assert moved["/left/camera_info"] == "/sensors/left/camera_info"


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_replay_reaches_the_masks_under_its_namespace_and_ends_with_the_recording(
    environment: dict[str, str],
    tiny_bundle: Path,
    photos: Path,
    listener: rclpy.node.Node,
    tmp_path: Path,
    transport: str,
) -> None:
    masks: list[Image] = []
    listener.create_subscription(Image, "/front/detector/anomaly_mask", masks.append, 10)
    arguments = [
        f"input:={photos}",
        "rate:=10.0",
        "loop:=true",
        f"bundle:={tiny_bundle}",
        "namespace:=front",
        "image_topic:=/front/camera/image_raw",
        f"image_transport:={transport}",
        "threshold:=0.0",
    ]
    end_loop = listener.create_client(SetParameters, "/front/image_source/set_parameters")
    no_loop = Parameter("loop", value=False).to_parameter_msg()
    executor = rclpy.executors.SingleThreadedExecutor(context=listener.context)
    executor.add_node(listener)
    with Launched(environment, tmp_path, "replay.launch.py", *arguments) as launched:
        deadline = time.monotonic() + PATIENCE
        asked = False
        while launched.process.poll() is None and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.05)
            if masks and not asked and end_loop.service_is_ready():
                end_loop.call_async(SetParameters.Request(parameters=[no_loop]))
                asked = True
        ended_by_itself = launched.process.poll() is not None

    text = launched.text
    assert ended_by_itself and launched.process.returncode == 0, text
    assert masks, text
    assert (masks[0].height, masks[0].width, masks[0].encoding) == (480, 640, "mono8")
    assert set(masks[0].data) == {255}, "a threshold of 0 marks every pixel"
    assert text.count("process has finished cleanly") == 2, text
