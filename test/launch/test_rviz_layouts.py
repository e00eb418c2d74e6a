"""The RViz layouts as YAML (RViz itself is C++), and how they follow cameras and namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.outputs import IMAGE_OUTPUTS
from anomaly_seg_ros.nodes.parameters import UNNAMED
from anomaly_seg_ros.nodes.region_outputs import MARKERS
from anomaly_seg_ros.nodes.rviz_layout import OUTPUTS, camera_layout, moved_topics

CONFIG = Path(__file__).resolve().parents[2] / "config"
LAYOUTS = ["anomaly_seg.rviz", "anomaly_seg_cameras.rviz"]
SHIPPED = ["front", "left", "right"]
SEVERAL = (CONFIG / "anomaly_seg_cameras.rviz").read_text()
TOPIC_KEYS = {"Depth", "Durability Policy", "History Policy", "Reliability Policy", "Value"}
CLASSES = {
    "rviz_common/Group": {"Displays"},
    "rviz_default_plugins/Image": {"Topic", "Normalize Range", "Min Value", "Max Value"},
    "rviz_default_plugins/MarkerArray": {"Topic", "Namespaces"},
    "rviz_default_plugins/Camera": {"Topic", "Image Rendering", "Visibility"},
}


def displays(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All displays of a layout, those inside groups too."""
    for display in content["Visualization Manager"]["Displays"]:
        yield display
        yield from display.get("Displays", [])


def topics(content: dict[str, Any]) -> set[str]:
    return {display["Topic"]["Value"] for display in displays(content) if "Topic" in display}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_display_is_of_a_known_class_and_has_what_that_needs(layout: str) -> None:
    content = yaml.safe_load((CONFIG / layout).read_text())
    assert {"Panels", "Visualization Manager", "Window Geometry"} <= set(content)
    for display in displays(content):
        assert {"Enabled", "Name", *CLASSES[display["Class"]]} <= set(display), display
        if "Topic" in display:
            assert set(display["Topic"]) == TOPIC_KEYS
            assert display["Value"] == display["Enabled"], "RViz writes both alike"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_and_masks_are_shown_on_a_fixed_scale(layout: str) -> None:
    largest = {"anomaly_score": 1, "anomaly_mask": 255}
    shown = set()
    for display in displays(yaml.safe_load((CONFIG / layout).read_text())):
        output = display.get("Topic", {}).get("Value", "").rsplit("/", 1)[-1]
        if output in largest:
            scale = (display["Normalize Range"], display["Min Value"], display["Max Value"])
            assert scale == (False, 0, largest[output])
            shown.add(output)
    assert shown == set(largest)


def test_no_two_displays_have_the_same_name() -> None:
    """They are told apart by it in the windows, and in what a camera display shows."""
    names = [display["Name"] for display in displays(yaml.safe_load(SEVERAL))]
    assert len(names) == len(set(names))


def test_the_topics_that_are_moved_are_those_that_the_node_publishes() -> None:
    assert set(OUTPUTS) == {MARKERS.topic, *(output.topic for output in IMAGE_OUTPUTS)}


@pytest.mark.parametrize(("layout", "cameras"), [(LAYOUTS[0], [UNNAMED]), (LAYOUTS[1], SHIPPED)])
def test_every_topic_of_a_layout_is_moved(layout: str, cameras: list[str]) -> None:
    shown = topics(yaml.safe_load((CONFIG / layout).read_text()))
    assert shown <= set(dict(moved_topics("", dict.fromkeys(cameras, "image"))))
    assert all(any(f"/{name}/" in topic for topic in shown) for name in cameras if name)


@pytest.mark.parametrize("namespace", ["vehicle", "/vehicle", "/vehicle/"])
def test_topics_follow_namespace_and_camera(namespace: str) -> None:
    moved = dict(moved_topics(namespace, {"left": "left/image_raw", "rear": "/cams/rear/image"}))
    assert moved["/detector/left/overlay"] == "/vehicle/detector/left/overlay"
    assert moved["/left/image"] == "/vehicle/left/image_raw"
    assert moved["/left/camera_info"] == "/vehicle/left/camera_info"
    assert moved["/rear/image"] == "/cams/rear/image"
    assert moved["/rear/camera_info"] == "/cams/rear/camera_info"


def test_the_shipped_layout_is_the_one_made_for_its_cameras() -> None:
    assert yaml.safe_load(camera_layout(SEVERAL, SHIPPED)) == yaml.safe_load(SEVERAL)


@pytest.mark.parametrize("names", [["rear"], ["on", "no", "null"], ["front_left", "front", "c4"]])
def test_a_layout_can_be_made_for_any_names(names: list[str]) -> None:
    content = yaml.safe_load(camera_layout(SEVERAL, names))
    groups = content["Visualization Manager"]["Displays"]
    assert [group["Name"] for group in groups] == names
    shipped = topics(yaml.safe_load(SEVERAL))
    of_one = {topic for topic in shipped if "/front/" in topic}
    assert topics(content) == {t.replace("/front/", f"/{name}/") for t in of_one for name in names}
    assert len({display["Name"] for display in displays(content)}) == len(list(displays(content)))


def test_a_layout_without_groups_is_an_error() -> None:
    with pytest.raises(NodeError, match="no display of class rviz_common/Group"):
        camera_layout((CONFIG / "anomaly_seg.rviz").read_text(), ["front"])
