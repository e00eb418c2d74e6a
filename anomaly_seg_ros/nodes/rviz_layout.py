"""RViz for the detector: where the topics of a layout really are, and a layout for any cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.topics import info_name, input_name

OUTPUTS = ("overlay", "segmentation", "anomaly_mask", "anomaly_score", "synthesis", "markers")
GROUP = "rviz_common/Group"


def camera_layout(layout: str, cameras: Sequence[str]) -> str:
    """The YAML text of a layout with one group of displays for each name in `cameras`.

    layout: text of config/anomaly_seg_cameras.rviz. Its first group stands for every camera: where
    that says the group's own name, the others say theirs. Raises NodeError when it has no group.
    """
    content = yaml.safe_load(layout)
    displays = content["Visualization Manager"]["Displays"]
    groups = [display for display in displays if display["Class"] == GROUP]
    if not groups:
        raise NodeError(
            f"the RViz layout for several cameras has no display of class {GROUP}, expected one "
            "that is named like its camera; install the package again"
        )
    made = [_renamed(groups[0], groups[0]["Name"], name) for name in cameras]
    others = [display for display in displays if display["Class"] != GROUP]
    content["Visualization Manager"]["Displays"] = made + others
    return yaml.safe_dump(content, sort_keys=False)


def moved_topics(namespace: str, cameras: Mapping[str, str]) -> list[tuple[str, str]]:
    """Remappings for RViz, from the topics in our layouts to the real ones.

    The layouts show the node `detector` without namespace on `image`, or `CAMERA/image` each.
    cameras: name of the camera (UNNAMED where there is only one) -> its image topic.
    """
    prefix = "/".join(["", *filter(None, namespace.split("/"))])
    moved = []
    for name, topic in cameras.items():
        node = f"/detector/{name}" if name else "/detector"
        moved += [(f"{node}/{output}", f"{prefix}{node}/{output}") for output in OUTPUTS]
        image = topic if topic.startswith("/") else f"{prefix}/{topic}"
        beside = image.rsplit("/", 1)[0]
        moved.append((f"/{input_name(name)}", image))
        moved.append((f"/{info_name(name)}", f"{beside}/camera_info"))
    return moved


def _renamed(value: Any, old: str, new: str) -> Any:
    """A copy of parsed YAML with `old` replaced in every text and key."""
    if isinstance(value, dict):
        return {_renamed(key, old, new): _renamed(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, old, new) for item in value]
    return value.replace(old, new) if isinstance(value, str) else value
