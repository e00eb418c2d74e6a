"""Streaming metrics: `update` with frames, `merge` across processes, `compute` at the end.

Every metric here pools the pixels of all frames. ScoreHistogram and ConfusionMatrix keep bounded
memory over any number of frames; ExactScores keeps every pixel and is meant for small sets.
"""

from anomaly_seg_ros.metrics.base import ANOMALY, KNOWN, VOID, FrameResult
from anomaly_seg_ros.metrics.pixel import ExactScores, PixelScores, ScoreHistogram
from anomaly_seg_ros.metrics.regions import FalseRegions, FalseRegionScores
from anomaly_seg_ros.metrics.segmentation import ConfusionMatrix, SegmentationScores

__all__ = [
    "ANOMALY",
    "KNOWN",
    "VOID",
    "ConfusionMatrix",
    "ExactScores",
    "FalseRegionScores",
    "FalseRegions",
    "FrameResult",
    "PixelScores",
    "ScoreHistogram",
    "SegmentationScores",
]
