"""Streaming metrics: `update` with frames, `merge` across processes, `compute` at the end.

Most metrics pool the pixels of all frames; per_image and roc hold the protocols that do not. Of the
pixel metrics ScoreHistogram is the one for any number of frames, ExactScores keeps every pixel and
is meant for small sets, and SmiycPixel is bound to its benchmark's approximation.

failures, calibration and iou_prediction ask whether the uncertainty tells where a segmentation is
wrong; bootstrap how far a figure can be trusted; conformal which threshold keeps a promise; and
streaming what is left of a score once results come late.
"""

from anomaly_seg_ros.metrics.base import ANOMALY, KNOWN, VOID, FrameResult
from anomaly_seg_ros.metrics.bootstrap import (
    Interval,
    PooledIntervals,
    PooledScoreIntervals,
    intervals,
)
from anomaly_seg_ros.metrics.calibration import (
    AdaptiveBins,
    AdaptiveCalibration,
    CalibrationScores,
    ExactCalibration,
    Reliability,
    ReliabilityBins,
    adaptive_calibration_error,
)
from anomaly_seg_ros.metrics.components import (
    ANOMALY_TRACK,
    OBSTACLE_TRACK,
    ComponentLimits,
    Components,
    ComponentScores,
    FrameComponents,
    MaskComponents,
)
from anomaly_seg_ros.metrics.conformal import (
    ControlledThreshold,
    RiskCurve,
    RiskCurves,
    Risks,
    certified,
    share_bound,
)
from anomaly_seg_ros.metrics.curve import Curve
from anomaly_seg_ros.metrics.failures import (
    ErrorDetectionHistogram,
    ErrorDetectionScores,
    ExactErrorDetection,
    ExactFailureDetection,
    FailureDetection,
    FailureScores,
    confidnet_fpr95,
)
from anomaly_seg_ros.metrics.iou_prediction import (
    ImageSegmentation,
    IouPrediction,
    IouPredictionScores,
    image_segmentation,
    real_iou,
)
from anomaly_seg_ros.metrics.outcomes import Outcomes, error_frame
from anomaly_seg_ros.metrics.per_image import CaosScores, PansScores, PerImageScores
from anomaly_seg_ros.metrics.pixel import ExactScores, PixelScores, ScoreHistogram
from anomaly_seg_ros.metrics.regions import FalseRegions, FalseRegionScores
from anomaly_seg_ros.metrics.roc import FrameRoc, FrameRocScores
from anomaly_seg_ros.metrics.segmentation import ConfusionMatrix, SegmentationScores
from anomaly_seg_ros.metrics.smiyc import SmiycPixel, SmiycPixelScores, SmiycPixelUniform
from anomaly_seg_ros.metrics.streaming import as_seen, schedule

__all__ = [
    "ANOMALY",
    "ANOMALY_TRACK",
    "KNOWN",
    "OBSTACLE_TRACK",
    "VOID",
    "AdaptiveBins",
    "AdaptiveCalibration",
    "CalibrationScores",
    "CaosScores",
    "ComponentLimits",
    "ComponentScores",
    "Components",
    "ConfusionMatrix",
    "ControlledThreshold",
    "Curve",
    "ErrorDetectionHistogram",
    "ErrorDetectionScores",
    "ExactCalibration",
    "ExactErrorDetection",
    "ExactFailureDetection",
    "ExactScores",
    "FailureDetection",
    "FailureScores",
    "FalseRegionScores",
    "FalseRegions",
    "FrameComponents",
    "FrameResult",
    "FrameRoc",
    "FrameRocScores",
    "ImageSegmentation",
    "Interval",
    "IouPrediction",
    "IouPredictionScores",
    "MaskComponents",
    "Outcomes",
    "PansScores",
    "PerImageScores",
    "PixelScores",
    "PooledIntervals",
    "PooledScoreIntervals",
    "Reliability",
    "ReliabilityBins",
    "RiskCurve",
    "RiskCurves",
    "Risks",
    "ScoreHistogram",
    "SegmentationScores",
    "SmiycPixel",
    "SmiycPixelScores",
    "SmiycPixelUniform",
    "adaptive_calibration_error",
    "as_seen",
    "certified",
    "confidnet_fpr95",
    "error_frame",
    "image_segmentation",
    "intervals",
    "real_iou",
    "schedule",
    "share_bound",
]
