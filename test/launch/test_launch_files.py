"""The launch files under the real `ros2 launch`; skipped where that is not installed.

They run from a prefix laid out as `pip install .` does it, with the modules of the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("launch_ros", reason="the ROS 2 launch system is not installed")
pytest.importorskip("ros2launch", reason="`ros2 launch` is not installed")
pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.nodes.environment import PRIVATE_DOMAINS

ROOT = Path(__file__).resolve().parents[2]
INDEX = Path("share/ament_index/resource_index/packages")
PATIENCE = 200.0  # seconds


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables under which `ros2 launch` finds the checkout as an installed package.

    On a domain of its own, this process too.
    """
    prefix = tmp_path_factory.mktemp("prefix")
    (prefix / INDEX).mkdir(parents=True)
    (prefix / INDEX / "anomaly_seg_ros").touch()
    shutil.copytree(ROOT / "scripts", prefix / "lib" / "anomaly_seg_ros")
    for name in ("launch", "config"):
        shutil.copytree(ROOT / name, prefix / "share" / "anomaly_seg_ros" / name)
    known = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("ROS_DOMAIN_ID", str(PRIVATE_DOMAINS[os.getpid() % len(PRIVATE_DOMAINS)]))
        patch.setenv("AMENT_PREFIX_PATH", os.pathsep.join((str(prefix), known)))
        yield {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "ROS_LOG_DIR": str(tmp_path_factory.mktemp("log")),
        }


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight camera images, large enough to get lost without the transport profile."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(8):
        image = np.full((480, 640, 3), 30 * index, np.uint8)
        assert cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


@pytest.fixture
def listener(environment: dict[str, str]) -> Iterator[rclpy.node.Node]:
    """A node of this process, in the domain of the launches."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def ros2_launch(file: str, *arguments: str) -> list[str]:
    start = "import sys; from ros2cli.cli import main; sys.exit(main())"
    return [sys.executable, "-c", start, "launch", "anomaly_seg_ros", file, *arguments]


def launch(environment: dict[str, str], file: str, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a launch that ends by itself."""
    done = subprocess.run(
        ros2_launch(file, *arguments),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout


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
    ],
)
def test_a_wrong_argument_stops_the_launch_and_says_what_is_expected(
    environment: dict[str, str], argument: str, complaint: str
) -> None:
    status, text = launch(environment, "detector.launch.py", argument)
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
    """RViz itself is C++; a stand-in in its place writes down how it was called."""
    called = tmp_path / "called"
    index = tmp_path / INDEX
    stand_in = tmp_path / "lib" / "rviz2" / "rviz2"
    for folder in (index, stand_in.parent):
        folder.mkdir(parents=True)
    (index / "rviz2").touch()
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {called}\n')
    stand_in.chmod(0o755)
    prefixes = os.pathsep.join((str(tmp_path), environment["AMENT_PREFIX_PATH"]))

    status, text = launch(
        {**environment, "AMENT_PREFIX_PATH": prefixes},
        "replay.launch.py",
        *(f"input:={photos}", "rate:=20.0", f"bundle:={tiny_bundle}"),
        *("namespace:=front", "image_topic:=camera/image_raw", "rviz:=true"),
    )

    assert status == 0, text
    arguments = called.read_text().splitlines()
    config = Path(arguments[arguments.index("--display-config") + 1])
    assert config.name == "anomaly_seg.rviz" and config.is_file()
    shown = set(re.findall(r"Value: (/\S+)", config.read_text()))
    moved = dict(argument.split(":=") for argument in arguments if ":=/" in argument)
    assert shown <= set(moved), "every topic that the configuration shows is moved"
    assert moved["/detector/overlay"] == "/front/detector/overlay"
    assert moved["/detector/synthesis"] == "/front/detector/synthesis"
    assert moved["/image"] == "/front/camera/image_raw"
    assert moved["/camera_info"] == "/front/camera/camera_info"


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
    log = tmp_path / "launch.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            ros2_launch("replay.launch.py", *arguments),
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            asked = False
            while process.poll() is None and time.monotonic() < deadline:
                executor.spin_once(timeout_sec=0.05)
                if masks and not asked and end_loop.service_is_ready():
                    end_loop.call_async(SetParameters.Request(parameters=[no_loop]))
                    asked = True
            ended_by_itself = process.poll() is not None
        finally:
            process.send_signal(signal.SIGINT)  # launch passes it on, as after Ctrl-C
            process.wait(PATIENCE)

    text = log.read_text()
    assert ended_by_itself and process.returncode == 0, text
    assert masks, text
    assert (masks[0].height, masks[0].width, masks[0].encoding) == (480, 640, "mono8")
    assert set(masks[0].data) == {255}, "a threshold of 0 marks every pixel"
    assert text.count("process has finished cleanly") == 2, text
