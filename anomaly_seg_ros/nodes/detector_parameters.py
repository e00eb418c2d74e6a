"""The parameters of the detector node. Importable without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anomaly_seg_ros.bundle import DEFAULT_BUNDLE
from anomaly_seg_ros.drift import LIMIT, WINDOW
from anomaly_seg_ros.imaging.overlay import OverlayStyle
from anomaly_seg_ros.nodes.compressed_outputs import COMPRESSED_PARAMETERS
from anomaly_seg_ros.nodes.events.settings import RECORD_PARAMETERS
from anomaly_seg_ros.nodes.parameters import UNNAMED, NodeParameter

USE_OPERATING_POINT = float("nan")
FROM_OPERATING_POINT = ""

_STYLE = OverlayStyle()

DETECTOR_PARAMETERS: tuple[NodeParameter, ...] = (
    NodeParameter(
        "bundle", DEFAULT_BUNDLE, "Shipped bundle name or bundle folder.", of_engine=True
    ),
    NodeParameter(
        "backend",
        "auto",
        "Backend that runs the stages: auto, onnxruntime, tensorrt or torch.",
        of_engine=True,
    ),
    NodeParameter("device", "", "Device of the backend, empty: its own choice.", of_engine=True),
    NodeParameter(
        "precision",
        "fp32",
        "Precision of the engine, out of those that the bundle has graphs for. fp32_strict is "
        "fp32 without TF32, for backend tensorrt.",
        choices=("fp32", "fp32_strict", "fp16", "int8"),
        of_engine=True,
    ),
    NodeParameter(
        "build_engines",
        True,
        "Build what the backend needs and has not on this machine yet, in the configure step: "
        "minutes with tensorrt, once. false: what is missing is an error, or with auto another "
        "backend.",
        of_engine=True,
    ),
    NodeParameter(
        "threads",
        0,
        "CPU threads of the engine, 0: as many as there are usable cores, at most 4.",
        bounds=(0, 256),
        of_engine=True,
    ),
    NodeParameter(
        "region",
        "",
        "Region of interest: path of a mono8 PNG, non-zero where anomalies count. Empty: all.",
        of_engine=True,
    ),
    NodeParameter(
        "cameras",
        (UNNAMED,),
        "Names of the cameras: CAMERA has the input `CAMERA/image` and the outputs `~/CAMERA/...`. "
        "One empty name: one camera, with `image` and `~/...`.",
        read_only=True,
    ),
    NodeParameter(
        "max_batch",
        1,
        "The most frames, of one camera each, that go through the engine together.",
        bounds=(1, 64),
        read_only=True,
    ),
    NodeParameter(
        "batch_wait",
        0.0,
        "Seconds that a frame waits for those of other cameras, with max_batch above 1.",
        bounds=(0.0, 1.0),
        read_only=True,
    ),
    NodeParameter(
        "class_map",
        "",
        "YAML file with classes of your own in place of the network's. Empty: the network's.",
        of_engine=True,
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
    NodeParameter(
        "output_scale",
        1.0,
        "Size of ~/anomaly_mask, ~/anomaly_score and ~/segmentation as a share of the camera's. "
        "A pixel of a smaller mask is 255 where any of the pixels it stands for is.",
        bounds=(0.01, 1.0),
    ),
    *COMPRESSED_PARAMETERS,
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
    *RECORD_PARAMETERS,
)


def overlay_style(given: Mapping[str, Any]) -> OverlayStyle:
    """The style that the overlay.* parameters ask for."""
    names = ("class_opacity", "heat_opacity", "heat_start")
    return OverlayStyle(**{name: given[f"overlay.{name}"] for name in names})
