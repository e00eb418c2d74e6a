"""An installed prefix for `ros2 launch`, laid out as `pip install .` does it, with the modules of
the checkout; and what the launched nodes work on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from launch_rig import INDEX
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.nodes.environment import PRIVATE_DOMAINS

if TYPE_CHECKING:  # tests of this folder skip where ROS 2 is missing
    from rclpy.node import Node

ROOT = Path(__file__).resolve().parents[2]


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
def listener(environment: dict[str, str]) -> Iterator[Node]:
    """A node of this process, in the domain of the launches."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()
