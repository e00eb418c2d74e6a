"""The launch files under the real `ros2 launch`; skipped where that is not installed.

They run from a prefix laid out as `pip install .` does it, with the modules of the checkout.
"""

from __future__ import annotations

import os
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
from sensor_msgs.msg import Image
from tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 200.0  # seconds


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables under which `ros2 launch` finds the checkout as an installed package."""
    prefix = tmp_path_factory.mktemp("prefix")
    share = prefix / "share" / "anomaly_seg_ros"
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "anomaly_seg_ros").touch()
    shutil.copytree(ROOT / "scripts", prefix / "lib" / "anomaly_seg_ros")
    for name in ("launch", "config"):
        shutil.copytree(ROOT / name, share / name)
    known = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
    return {
        **os.environ,
        "AMENT_PREFIX_PATH": os.pathsep.join((str(prefix), known)),
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
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
def listener() -> Iterator[rclpy.node.Node]:
    """A node of this process."""
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
        "rate:=5.0",
        f"bundle:={tiny_bundle}",
        "namespace:=front",
        "image_topic:=/front/camera/image_raw",
        f"image_transport:={transport}",
        "threshold:=0.0",
    ]
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
            while process.poll() is None and time.monotonic() < deadline:
                executor.spin_once(timeout_sec=0.05)
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
