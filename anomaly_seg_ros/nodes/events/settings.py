"""What the event recorder keeps, for how long and where: its parameters and their values.

Importable without ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.parameters import NodeParameter

MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000
COMPRESSIONS = ("none", "zstd")

RECORD_PARAMETERS: tuple[NodeParameter, ...] = (
    NodeParameter(
        "record.folder",
        "",
        "Absolute folder for a bag of each detection, see docs/event_recorder.md. Empty: nothing "
        "is recorded.",
        read_only=True,
    ),
    NodeParameter(
        "record.before",
        5.0,
        "Seconds before the detection that are recorded.",
        bounds=(0.0, 600.0),
        read_only=True,
    ),
    NodeParameter(
        "record.after",
        5.0,
        "Seconds after the last detection that are recorded.",
        bounds=(0.0, 600.0),
        read_only=True,
    ),
    NodeParameter(
        "record.longest",
        60.0,
        "Seconds after the first detection at which a recording ends although detections go on.",
        bounds=(0.1, 3600.0),
        read_only=True,
    ),
    NodeParameter(
        "record.pause",
        10.0,
        "Seconds after a recording in which detections of the same camera start no other one.",
        bounds=(0.0, 86400.0),
        read_only=True,
    ),
    NodeParameter(
        "record.min_fraction",
        0.005,
        "Share of anomalous pixels in the mask from which an image counts as a detection. 0: only "
        "confirmed regions and ~/record start a recording.",
        bounds=(0.0, 1.0),
        read_only=True,
    ),
    NodeParameter(
        "record.memory",
        256,
        "Megabytes of memory for what is kept before a detection and waits for the disk, all "
        "cameras together.",
        bounds=(1, 1_000_000),
        read_only=True,
    ),
    NodeParameter(
        "record.disk",
        10.0,
        "Gigabytes that the recordings in record.folder may take: the oldest are deleted.",
        bounds=(0.001, 1e6),
        read_only=True,
    ),
    NodeParameter(
        "record.compression",
        "none",
        "none, or zstd: smaller bags without loss, but much more work for the CPU.",
        choices=COMPRESSIONS,
        read_only=True,
    ),
)


@dataclass(frozen=True)
class RecorderSettings:
    """folder None: nothing is recorded. Seconds, bytes; what they mean: RECORD_PARAMETERS."""

    folder: Path | None = None
    before: float = 5.0
    after: float = 5.0
    longest: float = 60.0
    pause: float = 10.0
    min_fraction: float = 0.005
    memory: int = 256 * MEGABYTE
    disk: int = 10 * GIGABYTE
    compress: bool = False


def recorder_settings(given: Mapping[str, Any]) -> RecorderSettings:
    """From the parameters record.*. Raises NodeError when they do not fit."""
    folder = Path(given["record.folder"]).expanduser() if given["record.folder"] else None
    if folder is not None and not folder.is_absolute():
        raise NodeError(
            f"record.folder is {given['record.folder']!r}, expected an absolute path: a launched "
            "node has no certain working directory"
        )
    after, longest = given["record.after"], given["record.longest"]
    if after > longest:
        raise NodeError(
            f"record.after is {after:g} s and record.longest {longest:g} s: a recording cannot "
            "end before its shortest duration. Raise record.longest"
        )
    return RecorderSettings(
        folder=folder,
        before=given["record.before"],
        after=after,
        longest=longest,
        pause=given["record.pause"],
        min_fraction=given["record.min_fraction"],
        memory=given["record.memory"] * MEGABYTE,
        disk=round(given["record.disk"] * GIGABYTE),
        compress=given["record.compression"] == "zstd",
    )
