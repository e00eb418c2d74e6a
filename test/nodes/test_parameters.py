"""The tables of parameters against what is shipped beside them."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes import environment
from anomaly_seg_ros.nodes.detector_parameters import DETECTOR_PARAMETERS
from anomaly_seg_ros.nodes.environment import config_file, private_ros_environment
from anomaly_seg_ros.nodes.evaluator_parameters import EVALUATOR_PARAMETERS
from anomaly_seg_ros.nodes.outputs import IMAGE_OUTPUTS
from anomaly_seg_ros.nodes.parameters import (
    NodeParameter,
    parameter_help,
)
from anomaly_seg_ros.nodes.region_outputs import MARKERS
from anomaly_seg_ros.nodes.rviz_layout import OUTPUTS
from anomaly_seg_ros.nodes.source_parameters import SOURCE_PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
SHOWN = {*(output.topic for output in IMAGE_OUTPUTS), MARKERS.topic}  # what RViz can show


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by their dotted names."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


def test_the_shipped_parameter_file_states_every_parameter_with_its_default() -> None:
    content = yaml.safe_load(config_file("detector.yaml").read_text())
    given = flat(content["/**"]["ros__parameters"])
    expected = {item.name: item.default for item in DETECTOR_PARAMETERS}
    assert math.isnan(given.pop("threshold")) and math.isnan(expected.pop("threshold"))
    expected = {k: list(v) if isinstance(v, tuple) else v for k, v in expected.items()}
    assert given == expected
    assert {k: type(v) for k, v in given.items()} == {k: type(v) for k, v in expected.items()}


@pytest.mark.parametrize(
    "item",
    DETECTOR_PARAMETERS + SOURCE_PARAMETERS + EVALUATOR_PARAMETERS,
    ids=lambda i: i.name,
)
def test_every_default_is_within_its_own_limits(item: NodeParameter) -> None:
    assert item.fault(item.default) is None
    if item.bounds:
        low, high = item.bounds
        assert low <= item.default <= high
    assert item.description.endswith(".")


def test_the_help_text_names_every_parameter_with_its_limits() -> None:
    text = parameter_help(DETECTOR_PARAMETERS)
    for item in DETECTOR_PARAMETERS:
        assert f"  {item.name} ({item.type_name}; default " in text
    assert "one of 'raw', 'compressed'" in text and "0 to 3600" in text


def test_rviz_shows_topics_that_the_node_publishes() -> None:
    content = yaml.safe_load(config_file("anomaly_seg.rviz").read_text())
    displays = content["Visualization Manager"]["Displays"]
    topics = [display["Topic"]["Value"] for display in displays]
    published = {f"/detector/{topic}" for topic in SHOWN}
    assert set(topics) - {"/image"} <= published and "/detector/overlay" in topics
    shown = {d["Name"]: d["Topic"]["Value"] for d in displays if d["Enabled"]}
    assert "/detector/synthesis" in topics and "/detector/synthesis" not in shown.values()
    score = next(d for d in displays if d["Topic"]["Value"] == "/detector/anomaly_score")
    assert score["Normalize Range"] is False
    assert (score["Min Value"], score["Max Value"]) == (0, 1)


def test_rviz_draws_the_regions_over_the_camera() -> None:
    content = yaml.safe_load(config_file("anomaly_seg.rviz").read_text())
    displays = {d["Name"]: d for d in content["Visualization Manager"]["Displays"]}
    (camera,) = (d for d in displays.values() if d["Class"] == "rviz_default_plugins/Camera")
    (shown,) = set(camera["Visibility"]) - {"Value"}
    assert displays[shown]["Topic"]["Value"] == "/detector/markers"
    assert displays[shown]["Class"] == "rviz_default_plugins/MarkerArray"


def test_a_launch_moves_every_output_that_rviz_can_show() -> None:
    assert set(OUTPUTS) == SHOWN


def test_the_transport_profile_has_room_for_images_and_keeps_the_network() -> None:
    root = ElementTree.fromstring(config_file("fastdds.xml").read_text())
    text = {element.tag.split("}")[1]: element.text for element in root.iter()}
    types = [e.text for e in root.iter() if e.tag.endswith("}type")]
    assert types == ["SHM", "UDPv4"]
    assert text["segment_size"] == str(64 * 1024 * 1024)
    assert text["useBuiltinTransports"] == "false"
    participant = next(e for e in root.iter() if e.tag.endswith("}participant"))
    assert participant.get("is_default_profile") == "true"


@pytest.fixture
def without_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_private_environment_uses_the_shipped_profile(
    without_profile: None, tmp_path: Path
) -> None:
    added = private_ros_environment(tmp_path)
    (name,) = set(environment.PROFILE_VARIABLES) & set(added)
    assert Path(added[name]).name == "fastdds.xml"
    assert added["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert 1 <= int(added["ROS_DOMAIN_ID"]) <= 100


def test_a_profile_of_the_user_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environment.PROFILE_VARIABLES[0], "/mine.xml")
    assert not set(environment.PROFILE_VARIABLES) & set(private_ros_environment(tmp_path))


def test_little_shared_memory_gets_smaller_segments(
    without_profile: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    room = environment.shutil.disk_usage(environment.SHARED_MEMORY).free
    processes = int(room * environment.SEGMENT_SHARE / 20e6)  # so that each has 20 MB
    monkeypatch.setattr(environment, "PRIVATE_PROCESSES", processes)
    added = private_ros_environment(tmp_path)
    (profile,) = (Path(added[name]) for name in environment.PROFILE_VARIABLES if name in added)
    assert profile.parent == tmp_path
    root = ElementTree.fromstring(profile.read_text())
    segment = next(int(e.text or 0) for e in root.iter() if e.tag.endswith("}segment_size"))
    assert 15e6 < segment < 25e6


def test_far_too_little_shared_memory_is_an_error_with_the_mend(
    without_profile: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "PRIVATE_PROCESSES", 10**6)
    with pytest.raises(NodeError, match="--shm-size"):
        private_ros_environment(tmp_path)


def test_a_config_file_that_is_nowhere_lists_the_places() -> None:
    with pytest.raises(NodeError, match=r"searched:\n  /"):
        config_file("nothing.yaml")
