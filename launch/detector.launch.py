"""Start the detector on a camera topic, with RViz on request.

    ros2 launch anomaly_seg_ros detector.launch.py image_topic:=/my/camera/image_raw
    ros2 launch anomaly_seg_ros detector.launch.py bundle:=NAME_OR_FOLDER rviz:=true
    ros2 launch anomaly_seg_ros detector.launch.py --show-args

Arguments left empty keep what the parameter file says.
"""

import os
from collections.abc import Callable
from pathlib import Path

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from anomaly_seg_ros.nodes.environment import PROFILE_VARIABLES, profile_environment

CONFIG = Path(get_package_share_directory("anomaly_seg_ros")) / "config"
BOOLEANS = ["true", "false"]
COMPRESSED = "/compressed"
OUTPUTS = ("overlay", "segmentation", "anomaly_mask", "anomaly_score", "synthesis", "markers")

# Arguments that become node parameters when they are not empty, and how their text is read.
PARAMETERS = {
    "bundle": str,
    "backend": str,
    "device": str,
    "operating_point": str,
    "threshold": float,
    "threads": int,
    "image_transport": str,
    "autostart": lambda text: text == "true",
}


def arguments() -> list[DeclareLaunchArgument]:
    """What a user may change."""
    profiles = [*map(os.environ.get, PROFILE_VARIABLES), str(CONFIG / "fastdds.xml")]
    return [
        DeclareLaunchArgument(
            "image_topic",
            default_value="image",
            description="Camera topic, sensor_msgs/Image (without the ending /compressed).",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="raw",
            choices=["raw", "compressed"],
            description="compressed subscribes CompressedImage on IMAGE_TOPIC/compressed.",
        ),
        DeclareLaunchArgument(
            "bundle",
            default_value="",
            description="Model: name of a shipped bundle, or a bundle folder.",
        ),
        DeclareLaunchArgument(
            "backend",
            default_value="",
            description="What runs the model: auto, onnxruntime, ...; another name lists them all.",
        ),
        DeclareLaunchArgument(
            "device", default_value="", description="Device of the backend: cpu, cuda, cuda:1, ..."
        ),
        DeclareLaunchArgument(
            "threads", default_value="", description="CPU threads of the engine, 0: its own choice."
        ),
        DeclareLaunchArgument(
            "operating_point",
            default_value="",
            description="Named threshold of the bundle: default, fpr01, fpr05, tpr95, ...",
        ),
        DeclareLaunchArgument(
            "threshold",
            default_value="",
            description="Score from which a pixel is anomalous, in place of the operating point's.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(CONFIG / "detector.yaml"),
            description="YAML file with the node's parameters.",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of the nodes, e.g. the camera."
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="",
            choices=["", *BOOLEANS],
            description="false leaves the lifecycle transitions to you (ros2 lifecycle set ...).",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="false",
            choices=BOOLEANS,
            description="Take the time from /clock.",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Smallest severity that is logged.",
        ),
        DeclareLaunchArgument(
            "rviz", default_value="false", choices=BOOLEANS, description="Show the overlay in RViz."
        ),
        DeclareLaunchArgument(
            "rviz_config",
            default_value=str(CONFIG / "anomaly_seg.rviz"),
            description="RViz configuration.",
        ),
        DeclareLaunchArgument(
            "dds_profile",
            default_value=next(filter(None, profiles)),
            description="Fast DDS profile with room for images, empty: none. Your camera driver "
            "needs it too.",
        ),
    ]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The nodes, with the arguments as they are at launch time."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    topic = value("image_topic")
    if topic.endswith(COMPRESSED):
        raise RuntimeError(
            f"image_topic is {topic}, expected the name without {COMPRESSED}: "
            f"image_topic:={topic.removesuffix(COMPRESSED)} image_transport:=compressed"
        )
    common = {
        "output": "screen",
        "arguments": ["--ros-args", "--log-level", value("log_level")],
        "additional_env": (
            profile_environment(value("dds_profile")) if value("dds_profile") else None
        ),
    }
    sim_time = {"use_sim_time": value("use_sim_time") == "true"}
    nodes: list[LaunchDescriptionEntity] = [
        Node(
            package="anomaly_seg_ros",
            executable="detector_node",
            name="detector",
            namespace=value("namespace"),
            parameters=[value("params_file"), overrides(value), sim_time],
            remappings=[("image", topic), ("image" + COMPRESSED, topic + COMPRESSED)],
            **common,
        )
    ]
    if value("rviz") == "true":
        require_rviz()
        # The RViz file names the topics of a detector without namespace on a camera `image`.
        prefix = "/".join(["", *filter(None, value("namespace").split("/"))])
        moved = [(f"/detector/{out}", f"{prefix}/detector/{out}") for out in OUTPUTS]
        camera = topic if topic.startswith("/") else f"{prefix}/{topic}"
        moved += [("/image", camera), ("/camera_info", camera.rsplit("/", 1)[0] + "/camera_info")]
        common["arguments"] = ["--display-config", value("rviz_config"), *common["arguments"]]
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz",
                parameters=[sim_time],
                remappings=moved,
                **common,
            )
        )
    return nodes


def overrides(value: Callable[[str], str]) -> dict[str, object]:
    """Parameters for the arguments that were given; RuntimeError where the text is no number."""
    parameters: dict[str, object] = {}
    for name, read in PARAMETERS.items():
        if value(name):
            try:
                parameters[name] = read(value(name))
            except ValueError:
                raise RuntimeError(f"{name} is '{value(name)}', expected a number") from None
    return parameters


def require_rviz() -> None:
    """Raise RuntimeError before anything is started: launch would leave the detector behind."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError as error:
        raise RuntimeError(f"rviz:=true, but {error}: install rviz2 or leave rviz out") from error


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
