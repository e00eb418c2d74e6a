"""Play a recording like a camera, with the detector on it and RViz on request.

    ros2 launch anomaly_seg_ros replay.launch.py input:=scenes:7 rviz:=true loop:=true
    ros2 launch anomaly_seg_ros replay.launch.py input:=/data/drive.mcap topic:=/front/image_raw
    ros2 launch anomaly_seg_ros replay.launch.py input:=scenes:7 evaluate:=true out:=scores
    ros2 launch anomaly_seg_ros replay.launch.py input:=/data/drive.mcap mode:=lock-step out:=replay
    ros2 launch anomaly_seg_ros replay.launch.py --show-args

The arguments of detector.launch.py can be given too. With mode in-process or lock-step the program
`anomaly-seg replay` runs in place of the nodes and writes its report; it takes of the detector's
arguments those in DETECTOR_OPTIONS.
"""

from pathlib import Path

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from anomaly_seg_ros.nodes.environment import launched_environment

PACKAGE = "anomaly_seg_ros"
DETECTOR = Path(get_package_share_directory(PACKAGE)) / "launch" / "detector.launch.py"
BOOLEANS = ["true", "false"]
REAL_TIME = "real-time"
DETECTOR_OPTIONS = ("bundle", "backend", "device", "threads", "operating_point", "threshold")


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
            "mode",
            default_value=REAL_TIME,
            choices=[REAL_TIME, "lock-step", "in-process"],
            description=(
                "real-time plays like a camera, with the nodes to look at. lock-step and in-process"
                " run `anomaly-seg replay` over every frame and write its report to `out`."
            ),
        ),
        DeclareLaunchArgument(
            "out",
            default_value="",
            description="Folder of the report, for evaluate, lock-step and in-process.",
        ),
        DeclareLaunchArgument(
            "labels",
            default_value="",
            description=(
                "Labels for lock-step and in-process: folder, topic of the bag, or scenes. Empty:"
                " no accuracy."
            ),
        ),
        DeclareLaunchArgument(
            "evaluate",
            default_value="false",
            choices=BOOLEANS,
            description=(
                "Start evaluator_node on the detector and the source's ~/anomaly (of scenes);"
                " for real-time."
            ),
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


def check(context: LaunchContext) -> None:
    """Raise RuntimeError, before anything is started, for arguments that do not go together."""

    def given(name: str) -> str:
        return context.launch_configurations.get(name, "")

    mode = given("mode")
    if given("cameras"):
        raise RuntimeError(
            f"cameras is {given('cameras')}, but a recording is played as one camera: leave it out"
        )
    if mode != REAL_TIME:
        if not given("out"):
            raise RuntimeError(
                f"mode:={mode} writes a report; expected its folder: add out:=FOLDER"
            )
        for name in ("evaluate", "rviz"):
            if given(name) == "true":
                raise RuntimeError(f"{name} is for mode:={REAL_TIME}: leave it out with {mode}")
        return
    if given("labels"):
        raise RuntimeError(
            "labels is for mode:=lock-step or in-process; evaluate:=true takes those that the"
            " source publishes"
        )
    if given("out") and given("evaluate") != "true":
        raise RuntimeError(
            "out is given, but nothing writes a report: add evaluate:=true, or mode:=lock-step"
        )


def play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """What plays, with the arguments as they are at launch time."""
    mode = LaunchConfiguration("mode").perform(context)
    return play_on_topics(context) if mode == REAL_TIME else [replay_program(context, mode)]


def play_on_topics(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The source node, and the evaluator where it is asked for."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def typed(name: str, kind: type) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=kind)

    prefix = context.launch_configurations.get("launch-prefix", "")
    common = {
        "package": PACKAGE,
        "namespace": value("namespace"),
        "output": "screen",
        "arguments": ["--ros-args", "--log-level", value("log_level")],
        "additional_env": launched_environment(value("dds_profile"), prefix),
    }
    topic = value("image_topic")
    beside = topic[: topic.rfind("/") + 1]  # where detectors and viewers look for camera_info
    source = Node(
        executable="image_source_node",
        name="image_source",
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
        **common,
    )
    nodes = [source]
    if value("evaluate") == "true":
        nodes.insert(
            0,
            Node(
                executable="evaluator_node",
                name="evaluator",
                parameters=[{"out": typed("out", str)}],
                remappings=[("anomaly", "image_source/anomaly")],
                **common,
            ),
        )
    if value("stop_at_end") == "false":
        return nodes
    stop = OnProcessExit(target_action=source, on_exit=[Shutdown(reason="the recording ended")])
    return [RegisterEventHandler(stop), *nodes]


def replay_program(context: LaunchContext, mode: str) -> ExecuteProcess:
    """`anomaly-seg replay` as a process."""

    def value(name: str) -> str:
        return context.launch_configurations.get(name, "")

    program = Path(get_package_prefix(PACKAGE)) / "lib" / PACKAGE / "anomaly-seg"
    command = [str(program), "replay", value("input"), "--mode", mode, "--out", value("out")]
    for name in ("topic", "labels", *DETECTOR_OPTIONS):
        if value(name):
            command += [f"--{name.replace('_', '-')}", value(name)]
    return ExecuteProcess(cmd=command, output="screen")


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    detector = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(DETECTOR)),
        condition=IfCondition(
            PythonExpression(["'", LaunchConfiguration("mode"), f"' == '{REAL_TIME}'"])
        ),
    )
    checked, played = OpaqueFunction(function=check), OpaqueFunction(function=play)
    return LaunchDescription([*arguments(), checked, detector, played])
