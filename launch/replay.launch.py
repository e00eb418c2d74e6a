"""Play a recording like a camera, with the detector on it and RViz on request.

    ros2 launch anomaly_seg_ros replay.launch.py input:=scenes:7 rviz:=true loop:=true
    ros2 launch anomaly_seg_ros replay.launch.py input:=/data/drive.mcap topic:=/front/image_raw
    ros2 launch anomaly_seg_ros replay.launch.py --show-args

The arguments of detector.launch.py can be given too.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from anomaly_seg_ros.nodes.environment import profile_environment

DETECTOR = Path(get_package_share_directory("anomaly_seg_ros")) / "launch" / "detector.launch.py"
BOOLEANS = ["true", "false"]


def arguments() -> list[DeclareLaunchArgument]:
    """What a user may change beyond the detector's arguments."""
    return [
        DeclareLaunchArgument(
            "input", description="Image, image folder, video, ROS bag or scenes:SEED[:FRAMES]."
        ),
        DeclareLaunchArgument(
            "topic", default_value="", description="Image topic of a bag that has several."
        ),
        DeclareLaunchArgument(
            "rate",
            default_value="0.0",
            description="Images per second, 0: as recorded (10 where the recording has no times).",
        ),
        DeclareLaunchArgument(
            "loop", default_value="false", choices=BOOLEANS, description="Begin again at the end."
        ),
        DeclareLaunchArgument(
            "wait_for_subscribers",
            default_value="1",
            description="Subscribers (the detector is one) to wait for before the first image.",
        ),
        DeclareLaunchArgument(
            "stop_at_end",
            default_value="true",
            choices=BOOLEANS,
            description="Stop everything after the last image.",
        ),
    ]


def play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The source node, with the arguments as they are at launch time."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def typed(name: str, kind: type) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=kind)

    profile = value("dds_profile")
    topic = value("image_topic")
    beside = topic[: topic.rfind("/") + 1]  # where detectors and viewers look for camera_info
    source = Node(
        package="anomaly_seg_ros",
        executable="image_source_node",
        name="image_source",
        namespace=value("namespace"),
        parameters=[
            {
                "source": typed("input", str),
                "topic": typed("topic", str),
                "rate": typed("rate", float),
                "loop": typed("loop", bool),
                "wait_for_subscribers": typed("wait_for_subscribers", int),
                "transport": typed("image_transport", str),
            }
        ],
        remappings=[("image", topic), ("camera_info", f"{beside}camera_info")],
        output="screen",
        arguments=["--ros-args", "--log-level", value("log_level")],
        additional_env=profile_environment(profile) if profile else None,
    )
    if value("stop_at_end") == "false":
        return [source]
    stop = OnProcessExit(target_action=source, on_exit=[Shutdown(reason="the recording ended")])
    return [RegisterEventHandler(stop), source]


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    detector = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(DETECTOR)))
    return LaunchDescription([*arguments(), detector, OpaqueFunction(function=play)])
