"""Recordings in, results out: sources, result files, videos and bags, and evaluation over them."""

from anomaly_seg_ros.replay.sources import (
    BadFrame,
    CameraModel,
    Frame,
    Source,
    SourceInfo,
    open_source,
)

__all__ = ["BadFrame", "CameraModel", "Frame", "Source", "SourceInfo", "open_source"]
