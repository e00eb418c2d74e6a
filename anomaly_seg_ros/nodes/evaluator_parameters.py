"""The parameters of evaluator_node as data. Importable without ROS."""

from __future__ import annotations

from anomaly_seg_ros.nodes.parameters import NodeParameter

EVALUATOR_PARAMETERS: tuple[NodeParameter, ...] = (
    NodeParameter(
        "detector", "detector", "Name of the detector node whose results count.", read_only=True
    ),
    NodeParameter(
        "camera", "", "Camera of a detector that has several. Empty: the only one.", read_only=True
    ),
    NodeParameter(
        "out",
        "",
        "Folder of the report, written at ~/report and when the node ends. Empty: none.",
    ),
    NodeParameter(
        "buffer",
        30,
        "Frames that wait for their score, mask or label; beyond, the oldest counts as unpaired.",
        bounds=(2, 10_000),
        read_only=True,
    ),
)
