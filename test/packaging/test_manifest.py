"""package.xml, setup.py, scripts and change log tell the same story."""

from __future__ import annotations

import importlib
import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from builds import ROOT, run

import anomaly_seg_ros

MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
# Keys looked up in rosdistro (August 2026), for Humble and later.
ROSDEP_KEYS = {
    *("ament_index_python", "diagnostic_msgs", "launch", "launch_ros", "lifecycle_msgs"),
    *("rcl_interfaces", "rclpy", "ros2launch", "sensor_msgs", "std_msgs", "std_srvs"),
    *("vision_msgs", "python3-numpy", "python3-opencv", "python3-pytest", "python3-tqdm"),
    *("python3-yaml", "builtin_interfaces", "geometry_msgs", "visualization_msgs"),
}
ENTRY_POINTS = re.findall(r'f"(\S+) = \{PACKAGE\}\.(\S+):(\w+)"', (ROOT / "setup.py").read_text())


def test_the_version_is_the_same_everywhere() -> None:
    version = anomaly_seg_ros.__version__
    assert MANIFEST.findtext("version") == version
    assert run([sys.executable, "setup.py", "--quiet", "--version"], cwd=ROOT).split() == [version]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## (\S+)", changes, re.MULTILINE).group(1) == version


def test_rosdep_knows_every_dependency() -> None:
    keys = {element.text for element in MANIFEST if element.tag.endswith("depend")}
    assert keys <= ROSDEP_KEYS
    assert not any(key.endswith("-pip") for key in keys)


def test_colcon_builds_it_as_a_python_package() -> None:
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("export/build_type") == "ament_python"


@pytest.mark.parametrize(("script", "module", "function"), ENTRY_POINTS)
def test_each_command_has_its_function_and_its_script(
    script: str, module: str, function: str
) -> None:
    if script.endswith("_node"):
        pytest.importorskip("rclpy", reason="the nodes need ROS 2")
    assert callable(getattr(importlib.import_module(f"anomaly_seg_ros.{module}"), function))
    wrapper = (ROOT / "scripts" / script).read_text()
    assert wrapper.startswith("#!/usr/bin/env python3\n")
    assert f"from anomaly_seg_ros.{module} import {function}" in wrapper


def test_there_are_four_commands() -> None:
    names = {script for script, _, _ in ENTRY_POINTS}
    assert names == {"anomaly-seg", "detector_node", "evaluator_node", "image_source_node"}
    assert names == {path.name for path in (ROOT / "scripts").iterdir()}
