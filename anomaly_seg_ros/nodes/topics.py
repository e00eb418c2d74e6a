"""The topic names of a camera; the camera of a node that has only one has no name."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.exceptions import InvalidNodeNameException
from rclpy.node import Node
from rclpy.validate_node_name import validate_node_name

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.parameters import UNNAMED


def checked_names(names: Sequence[str]) -> list[str]:
    """The names of the parameter `cameras`, none of them for one camera without a name.

    Raises NodeError for what cannot be a part of a topic's name and for a name that comes twice.
    """
    if not names or list(names) == [UNNAMED]:
        return [UNNAMED]
    for name in names:
        try:
            validate_node_name(name)  # the same letters as between two slashes of a topic
        except InvalidNodeNameException as error:
            raise NodeError(
                f"cameras has {name!r}, which cannot stand in a topic's name; expected letters, "
                "digits and underscores, beginning with no digit, such as front_left"
            ) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise NodeError(
            f"cameras has {', '.join(twice)} more than once; expected a name of its own for each"
        )
    return list(names)


def input_name(camera: str) -> str:
    """The image topic before remapping: `image` or `CAMERA/image`."""
    return f"{camera}/image" if camera else "image"


def info_name(camera: str) -> str:
    """The calibration topic before remapping: `camera_info` or `CAMERA/camera_info`."""
    return f"{camera}/camera_info" if camera else "camera_info"


def output_name(camera: str, topic: str) -> str:
    """A private output topic: `~/TOPIC` or `~/CAMERA/TOPIC`."""
    return f"~/{camera}/{topic}" if camera else f"~/{topic}"


def input_topic(node: Node, camera: str, transport: str) -> str:
    """The topic to subscribe: `image` as remapped, with /compressed behind it where asked."""
    topic = node.resolve_topic_name(input_name(camera))
    return topic if transport == "raw" else f"{topic}/compressed"


def info_topic(node: Node, camera: str) -> str:
    """`camera_info` where it is remapped, else the one beside the image, as image_transport has it:
    /front/image_raw -> /front/camera_info."""
    remapped = node.resolve_topic_name(info_name(camera))
    if remapped != node.resolve_topic_name(info_name(camera), only_expand=True):
        return remapped
    return node.resolve_topic_name(input_name(camera)).rsplit("/", 1)[0] + "/camera_info"
