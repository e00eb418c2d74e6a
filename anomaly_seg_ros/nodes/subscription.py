"""The camera subscription of the detector, and why nothing comes out of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.environment import (
    TRANSPORT_PROFILE,
    config_file,
    profile_environment,
    transport_profile,
)
from anomaly_seg_ros.nodes.topics import input_name, input_topic

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

TRANSPORTS = {"raw": Image, "compressed": CompressedImage}


def subscribe(
    node: Node, camera: str, transport: str, keep_all: bool, callback: Callable[[Any], None]
) -> Subscription:
    """Subscribe to a camera: best effort and depth 1, or reliable and everything.

    Overridable by the parameters qos_overrides.TOPIC.subscription.{reliability,history,depth}.
    Raises NodeError when an override is no QoS value.
    """
    topic = input_topic(node, camera, transport)
    qos = QoSProfile(
        history=QoSHistoryPolicy.KEEP_ALL if keep_all else QoSHistoryPolicy.KEEP_LAST,
        depth=1,
        durability=QoSDurabilityPolicy.VOLATILE,
        reliability=(
            QoSReliabilityPolicy.RELIABLE if keep_all else QoSReliabilityPolicy.BEST_EFFORT
        ),
    )

    def incompatible(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        node.get_logger().warning(
            f"a publisher on {topic} offers an incompatible QoS ({policy}): none of its images "
            f"arrive. Set qos_overrides.{topic}.subscription.{policy.split('_')[0].lower()} to "
            "what it offers"
        )

    try:
        return node.create_subscription(
            TRANSPORTS[transport],
            topic,
            callback,
            qos,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
    except RuntimeError as error:
        mend = ""
        if "QoS override" in str(error):
            mend = (
                ". Expected reliability best_effort, reliable or system_default and history "
                "keep_last or keep_all in qos_overrides"
            )
        raise NodeError(f"cannot subscribe to {topic}: {error}{mend}") from error


def silence_cause(node: Node, camera: str, transport: str, subscription: Subscription) -> str:
    """The likeliest reason why no image arrives, with its mend."""
    topic = subscription.topic_name
    topic = node.resolve_topic_name(topic)
    wanted = f"sensor_msgs/msg/{TRANSPORTS[transport].__name__}"
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return f"nobody publishes on {topic}. {_other_topics(node, camera, topic, wanted)}"
    matching = [info for info in publishers if info.topic_type == wanted]
    if not matching:
        other = "compressed" if transport == "raw" else "raw"
        return (
            f"{topic} carries {publishers[0].topic_type}, expected {wanted}: remap "
            f"`{input_name(camera)}` to an image topic, or set image_transport to {other}"
        )
    reliable = subscription.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE
    if reliable and not any(_is_reliable(info) for info in matching):
        return (
            f"{matching[0].node_name} publishes {topic} best effort, this node asks for reliable: "
            f"set qos_overrides.{topic}.subscription.reliability to best_effort"
        )
    return (
        f"{matching[0].node_name} publishes on {topic} and the QoS fits, but no image arrives. "
        f"{_transport_hint()}"
    )


def _is_reliable(info: TopicEndpointInfo) -> bool:
    return info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE


def _other_topics(node: Node, camera: str, topic: str, wanted: str) -> str:
    found = sorted(
        name
        for name, types in node.get_topic_names_and_types()
        if wanted in types and name != topic and node.count_publishers(name)
    )
    own = node.get_fully_qualified_name() + "/"
    found = [name for name in found if not name.startswith(own)]
    if not found:
        return (
            f"No other topic carries {wanted} either: does the camera driver run, with the same "
            "ROS_DOMAIN_ID and discovery range?"
        )
    return f"Images are on {', '.join(found[:5])}: remap `{input_name(camera)}` to one" + (
        "" if camera else " (image_topic:= at launch)"
    )


def _transport_hint() -> str:
    if "fastrtps" not in get_rmw_implementation_identifier():
        return "Does the driver really send? Try `ros2 topic hz` on it."
    try:
        profile: Any = config_file(TRANSPORT_PROFILE)
    except NodeError:
        profile = f"config/{TRANSPORT_PROFILE} of this package"
    setting = " ".join(f"{name}={value}" for name, value in profile_environment(profile).items())
    hint = (
        "If it sends, the images get lost on the way: Fast DDS in its default setting loses images "
        f"above 0.5 MB. Start the camera driver with {setting}"
    )
    if transport_profile() is None:
        hint += ", and this node too"
    try:
        shared = shutil.disk_usage("/dev/shm").total
    except OSError:
        return hint
    if shared < 256e6:
        hint += f"; /dev/shm has only {shared / 1e6:.0f} MB: give the container a larger one"
    return hint
