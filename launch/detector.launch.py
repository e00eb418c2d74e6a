"""Start the detector on a camera topic, or on several, with RViz on request.

    ros2 launch anomaly_seg_ros detector.launch.py image_topic:=/my/camera/image_raw
    ros2 launch anomaly_seg_ros detector.launch.py cameras:=front,left,right \
        image_topic:=/sensors/{camera}/image_raw
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
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from anomaly_seg_ros.nodes.environment import (
    PROFILE_VARIABLES,
    launched_environment,
)
from anomaly_seg_ros.nodes.parameters import UNNAMED
from anomaly_seg_ros.nodes.rviz_layout import camera_layout, moved_topics
from anomaly_seg_ros.nodes.topics import checked_names, input_name

CONFIG = Path(get_package_share_directory("anomaly_seg_ros")) / "config"
BOOLEANS = ["true", "false"]
FILES = ("params_file", "dds_profile", "rviz_config")
COMPRESSED = "/compressed"
PLACEHOLDER = "{camera}"

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
            description="Camera topic, sensor_msgs/Image (without the ending /compressed). With "
            f"cameras {PLACEHOLDER} in it stands for the name of each; without it a relative topic "
            "lies under that name: front/image.",
        ),
        DeclareLaunchArgument(
            "cameras",
            default_value="",
            description="Names of several cameras, for one detector with one engine: "
            "front,left,right. Empty: one camera, or the cameras of params_file.",
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
            description="YAML file with the node's parameters, empty: their defaults.",
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
            default_value="",
            description="RViz configuration, empty: anomaly_seg.rviz, or with cameras one that is "
            "made of anomaly_seg_cameras.rviz for their names.",
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

    for name in FILES:
        if value(name) and not Path(value(name)).is_file():  # launch would go on without it
            raise RuntimeError(f"{name} is {value(name)}, which is no file; expected its path")
    topics = camera_topics(value("cameras"), value("image_topic"))
    several = {} if UNNAMED in topics else {"cameras": list(topics)}
    prefix = context.launch_configurations.get("launch-prefix", "")
    common = {
        "output": "screen",
        "arguments": ["--ros-args", "--log-level", value("log_level")],
        "additional_env": launched_environment(value("dds_profile"), prefix),
    }
    sim_time = {"use_sim_time": value("use_sim_time") == "true"}
    inputs = [(input_name(name), topic) for name, topic in topics.items()]
    nodes: list[LaunchDescriptionEntity] = [
        Node(
            package="anomaly_seg_ros",
            executable="detector_node",
            name="detector",
            namespace=value("namespace"),
            parameters=[*filter(None, [value("params_file")]), overrides(value), several, sim_time],
            remappings=[*inputs, *((name + COMPRESSED, to + COMPRESSED) for name, to in inputs)],
            **common,
        )
    ]
    if value("rviz") == "true":
        require_rviz()
        layout = value("rviz_config") or default_layout(list(topics))
        common["arguments"] = ["--display-config", layout, *common["arguments"]]
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz",
                parameters=[sim_time],
                remappings=moved_topics(value("namespace"), topics),
                **common,
            )
        )
    return nodes


def camera_topics(cameras: str, pattern: str) -> dict[str, str]:
    """Image topic of each camera, of the name UNNAMED where `cameras` is empty.

    cameras: names with commas between. pattern: the argument image_topic. Raises RuntimeError when
    the two do not fit, NodeError for a name that cannot be a part of a topic's name.
    """
    if pattern.endswith(COMPRESSED):
        raise RuntimeError(
            f"image_topic is {pattern}, expected the name without {COMPRESSED}: "
            f"image_topic:={pattern.removesuffix(COMPRESSED)} image_transport:=compressed"
        )
    if not cameras.strip():
        if PLACEHOLDER in pattern:
            raise RuntimeError(
                f"image_topic is {pattern}, but no camera is named: give cameras:=front,left, or "
                "the topic of the one camera"
            )
        return {UNNAMED: pattern}
    if PLACEHOLDER not in pattern:
        if pattern.startswith("/"):
            raise RuntimeError(
                f"image_topic is {pattern} for every one of the cameras {cameras}; expected "
                f"{PLACEHOLDER} in it, such as image_topic:=/sensors/{PLACEHOLDER}/image_raw"
            )
        pattern = f"{PLACEHOLDER}/{pattern}"
    names = checked_names([name.strip() for name in cameras.split(",")])
    return {name: pattern.replace(PLACEHOLDER, name) for name in names}


def default_layout(cameras: list[str]) -> str:
    """Path of our RViz layout; that for several cameras is written beside the log of the launch."""
    if cameras == [UNNAMED]:
        return str(CONFIG / "anomaly_seg.rviz")
    shipped = CONFIG / "anomaly_seg_cameras.rviz"
    made = Path(launch_config.get_log_file_path(shipped.name))
    made.write_text(camera_layout(shipped.read_text(encoding="utf-8"), cameras), encoding="utf-8")
    return str(made)


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
