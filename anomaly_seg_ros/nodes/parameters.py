"""The parameters of our nodes as data: declaration, checks and documentation come from one table.

Importable without ROS; `declare` imports what it needs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.bundle import DEFAULT_BUNDLE
from anomaly_seg_ros.drift import LIMIT, WINDOW
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.imaging.overlay import OverlayStyle

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

USE_OPERATING_POINT = float("nan")
FROM_OPERATING_POINT = ""

_STYLE = OverlayStyle()


@dataclass(frozen=True)
class NodeParameter:
    """One parameter. Its type is the type of `default`.

    `bounds` are inclusive and apply to numbers; `choices` apply to strings; `read_only` parameters
    take their value when the node starts.
    """

    name: str
    default: bool | int | float | str
    description: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def type_name(self) -> str:
        """bool, int, double or string, as ROS spells them."""
        names = {bool: "bool", int: "int", float: "double", str: "string"}
        return names[type(self.default)]

    def fault(self, value: Any) -> str | None:
        """Why `value` cannot be taken, or None. Bounds are the descriptor's work, not ours."""
        if self.choices and value not in self.choices:
            known = ", ".join(repr(choice) for choice in self.choices)
            return f"{self.name} is {value!r}, expected one of: {known}"
        return None


DETECTOR_PARAMETERS: tuple[NodeParameter, ...] = (
    NodeParameter(
        "bundle", DEFAULT_BUNDLE, "Shipped bundle name or bundle folder.", read_only=True
    ),
    NodeParameter(
        "backend",
        "auto",
        "Backend that runs the stages: auto, onnxruntime, tensorrt or torch.",
        read_only=True,
    ),
    NodeParameter("device", "", "Device of the backend, empty: its own choice.", read_only=True),
    NodeParameter(
        "precision",
        "fp32",
        "Precision of the engine, out of those that the bundle has graphs for. fp32_strict is "
        "fp32 without TF32, for backend tensorrt.",
        choices=("fp32", "fp32_strict", "fp16", "int8"),
        read_only=True,
    ),
    NodeParameter(
        "build_engines",
        True,
        "Build what the backend needs and has not on this machine yet, in the configure step: "
        "minutes with tensorrt, once. false: what is missing is an error, or with auto another "
        "backend.",
        read_only=True,
    ),
    NodeParameter(
        "threads",
        0,
        "CPU threads of the engine, 0: as many as there are usable cores, at most 4.",
        bounds=(0, 256),
        read_only=True,
    ),
    NodeParameter(
        "region",
        "",
        "Region of interest: path of a mono8 PNG, non-zero where anomalies count. Empty: all.",
        read_only=True,
    ),
    NodeParameter(
        "image_transport",
        "raw",
        "raw subscribes `image`, compressed subscribes `image/compressed`.",
        choices=("raw", "compressed"),
        read_only=True,
    ),
    NodeParameter(
        "queue_policy",
        "latest",
        "latest keeps the newest frame and counts what it replaces. all is for replay: it keeps "
        "every frame, subscribes reliably, and what the queue has no room for waits in DDS.",
        choices=("latest", "all"),
        read_only=True,
    ),
    NodeParameter(
        "queue_depth", 32, "Frames held with queue_policy all.", bounds=(1, 10_000), read_only=True
    ),
    NodeParameter("autostart", True, "Configure and activate without being asked.", read_only=True),
    NodeParameter("operating_point", "default", "Operating point of the bundle."),
    NodeParameter(
        "threshold",
        USE_OPERATING_POINT,
        "Score from which a pixel is anomalous. NaN: the operating point's; so does a negative "
        "number with bundles whose scores are never negative.",
    ),
    NodeParameter(
        "focus",
        FROM_OPERATING_POINT,
        "Where anomalies count: everywhere, road, or empty for the operating point's.",
        choices=(FROM_OPERATING_POINT, "everywhere", "road"),
    ),
    NodeParameter(
        "max_age",
        0.0,
        "Seconds after which a frame is too old to be worth computing, by the node's clock. "
        "0: no limit.",
        bounds=(0.0, 3600.0),
    ),
    NodeParameter(
        "always_process", False, "Compute the mask of every frame even when nobody subscribes."
    ),
    NodeParameter(
        "silence_warning",
        5.0,
        "Seconds without a frame after which the node warns, naming the likely cause. 0: never.",
        bounds=(0.0, 3600.0),
    ),
    NodeParameter(
        "drift_warning",
        LIMIT,
        "Change of the scores against the bundle's reference drives (population stability index) "
        "from which the diagnostics warn. 0: nothing is compared.",
        bounds=(0.0, 100.0),
        read_only=True,
    ),
    NodeParameter(
        "drift_window",
        WINDOW,
        "The last frames whose scores drift_warning compares.",
        bounds=(1, 100_000),
        read_only=True,
    ),
    NodeParameter("overlay.legend", True, "Draw the legend into the overlay."),
    NodeParameter(
        "overlay.class_opacity",
        _STYLE.class_opacity,
        "Opacity of the class colours in the overlay.",
        bounds=(0.0, 1.0),
    ),
    NodeParameter(
        "overlay.heat_opacity",
        _STYLE.heat_opacity,
        "Opacity of the score in the overlay, at the top of the bundle's display range.",
        bounds=(0.0, 1.0),
    ),
    NodeParameter(
        "overlay.heat_start",
        _STYLE.heat_start,
        "Part of the display range below which the overlay shows no score.",
        bounds=(0.0, 1.0),
    ),
    NodeParameter(
        "regions.min_size",
        0.0005,
        "Smallest region of the mask that is reported: below 1 a share of the picture, from 1 on "
        "pixels.",
        bounds=(0.0, 1e8),
    ),
    NodeParameter(
        "regions.tracking",
        True,
        "Follow regions over the frames: ids, and only those that last are reported. false: every "
        "region of every frame, without ids.",
    ),
    NodeParameter(
        "regions.confirm_frames",
        3,
        "Frames out of regions.window_frames in which a region must be seen before it is reported.",
        bounds=(1, 100),
    ),
    NodeParameter(
        "regions.window_frames",
        5,
        "The last frames that regions.confirm_frames looks at.",
        bounds=(1, 100),
    ),
    NodeParameter(
        "regions.forget_frames",
        5,
        "Frames in a row without a region after which its id is given up.",
        bounds=(1, 1000),
    ),
    NodeParameter(
        "camera_height",
        0.0,
        "Height of the camera over the road in metres, for the distance of regions. 0: unknown.",
        bounds=(0.0, 100.0),
    ),
    NodeParameter(
        "camera_pitch",
        0.0,
        "Pitch of the camera in radians, positive when it looks down.",
        bounds=(-1.5, 1.5),
    ),
)

SOURCE_PARAMETERS: tuple[NodeParameter, ...] = (
    NodeParameter(
        "source",
        "",
        "What to play: image, image folder, video, ROS bag, or scenes:SEED[:FRAMES].",
        read_only=True,
    ),
    NodeParameter("topic", "", "Image topic of a bag, empty: the only one it has.", read_only=True),
    NodeParameter(
        "rate",
        0.0,
        "Images per second. 0: as recorded, and 10 where the recording has no times.",
        bounds=(0.0, 1000.0),
    ),
    NodeParameter("loop", False, "Begin again at the end."),
    NodeParameter(
        "stamps",
        "now",
        "now stamps images with the time they are published, recorded with the recording's time.",
        choices=("now", "recorded"),
        read_only=True,
    ),
    NodeParameter(
        "transport",
        "raw",
        "raw publishes `image`, compressed publishes JPEG on `image/compressed`, both does both.",
        choices=("raw", "compressed", "both"),
        read_only=True,
    ),
    NodeParameter(
        "reliability",
        "reliable",
        "QoS of the images.",
        choices=("reliable", "best_effort"),
        read_only=True,
    ),
    NodeParameter("depth", 10, "QoS history depth.", bounds=(1, 10_000), read_only=True),
    NodeParameter(
        "frame_id",
        "",
        "frame_id of the images, empty: the recording's, else camera_optical_frame.",
        read_only=True,
    ),
    NodeParameter("width", 640, "Width of procedural scenes.", bounds=(32, 8192), read_only=True),
    NodeParameter("height", 480, "Height of procedural scenes.", bounds=(32, 8192), read_only=True),
    NodeParameter(
        "wait_for_subscribers",
        0,
        "Subscribers of the images to wait for before the first one.",
        bounds=(0, 1000),
        read_only=True,
    ),
    NodeParameter("exit_at_end", True, "End the process after the last image.", read_only=True),
)


def declare(node: Node, table: Iterable[NodeParameter]) -> None:
    """Declare the table on a node; values given from outside are checked.

    Raises rclpy's ParameterException for a wrong type or a number out of bounds and NodeError for
    anything that is none of the choices.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    for item in table:
        descriptor = ParameterDescriptor(description=item.description, read_only=item.read_only)
        if item.choices:
            descriptor.additional_constraints = "one of: " + ", ".join(map(repr, item.choices))
        if item.bounds and isinstance(item.default, float):
            low, high = item.bounds
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif item.bounds:
            low, high = (int(bound) for bound in item.bounds)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        node.declare_parameter(item.name, item.default, descriptor)
        fault = item.fault(node.get_parameter(item.name).value)
        if fault:
            raise NodeError(f"parameter {fault}")


def values(
    node: Node, table: Iterable[NodeParameter], changes: Iterable[Parameter] = ()
) -> dict[str, Any]:
    """The values of the declared table by name, with `changes` that are not set yet."""
    given = {item.name: node.get_parameter(item.name).value for item in table}
    return given | {change.name: change.value for change in changes if change.name in given}


def overlay_style(given: Mapping[str, Any]) -> OverlayStyle:
    """The style that the overlay.* parameters ask for."""
    names = ("class_opacity", "heat_opacity", "heat_start")
    return OverlayStyle(**{name: given[f"overlay.{name}"] for name in names})


def fault_in(table: Iterable[NodeParameter], changes: Iterable[Parameter]) -> str | None:
    """Why these changes cannot be taken, or None."""
    by_name = {item.name: item for item in table}
    for change in changes:
        item = by_name.get(change.name)
        fault = item.fault(change.value) if item else None
        if fault:
            return fault
    return None


def parameter_help(table: Iterable[NodeParameter]) -> str:
    """The table as text for --help."""
    lines = []
    for item in table:
        default = repr(item.default) if isinstance(item.default, str) else str(item.default)
        notes = [f"default {default}"]
        if item.choices:
            notes.append("one of " + ", ".join(map(repr, item.choices)))
        if item.bounds:
            notes.append(f"{item.bounds[0]:g} to {item.bounds[1]:g}")
        if item.read_only:
            notes.append("fixed at start")
        lines.append(f"  {item.name} ({item.type_name}; {'; '.join(notes)})")
        lines.extend(
            textwrap.wrap(item.description, 92, initial_indent=" " * 6, subsequent_indent=" " * 6)
        )
    return "\n".join(lines)
