"""The parameters of the image source node. Importable without ROS."""

from __future__ import annotations

from anomaly_seg_ros.nodes.parameters import NodeParameter

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
