"""From accumulators to figures with errors and 95 % intervals, protocol by protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly_seg_ros.metrics import (
    AdaptiveBins,
    CaosScores,
    Components,
    ConfusionMatrix,
    ErrorDetectionHistogram,
    ExactScores,
    FailureDetection,
    FalseRegions,
    FrameRoc,
    Interval,
    PansScores,
    PixelScores,
    PooledScoreIntervals,
    ReliabilityBins,
    SmiycPixel,
    intervals,
)
from anomaly_seg_ros.metrics.components import component_scores
from training.benchmark.accumulators import Pooled
from training.benchmark.operating_point import ThresholdScores
from training.benchmark.results import Figure

if TYPE_CHECKING:
    from training.benchmark.protocols import Counting

SLOW_REPEATS = 200  # resamples of figures that are computed anew for each
PIXEL_KEYS = ("ap", "auroc", "fpr95")
COMPONENT_KEYS = ("siou", "ppv", "f1")


def _figure(value: float | None, interval: Interval | None = None, error: float = 0.0) -> Figure:
    if value is None or not np.isfinite(value):
        return Figure(None, reason="not defined on these frames")
    if interval is None or not interval.used:
        return Figure(float(value), error=error)
    return Figure(float(value), interval.low, interval.high, error)


def _pixel(scores: PixelScores, spread: PooledScoreIntervals | None) -> dict[str, Figure]:
    return {
        key: _figure(
            getattr(scores, key),
            None if spread is None else getattr(spread, key),
            getattr(scores, f"{key}_error"),
        )
        for key in PIXEL_KEYS
    }


def _spread(pooled: Pooled, repeats: int, seed: int) -> PooledScoreIntervals | None:
    return pooled.intervals.compute(repeats, seed) if repeats else None


def _resampled(
    frames: Sequence[Any], compute: Any, keys: Sequence[str], counting: Counting
) -> dict[str, Figure]:
    """Figures of `compute(frames)` by attribute, with intervals over frames."""

    def values(chosen: Sequence[Any]) -> Mapping[str, float]:
        scores = compute(chosen)
        return {key: float(getattr(scores, key)) for key in keys}

    if not counting.repeats:
        return {key: _figure(value) for key, value in values(frames).items()}
    repeats = min(counting.repeats, SLOW_REPEATS)
    found = intervals(frames, values, repeats=repeats, seed=counting.seed)
    return {key: _figure(interval.value, interval) for key, interval in found.items()}


def pooled_figures(pooled: Pooled, repeats: int, seed: int) -> dict[str, Figure]:
    """AP, AUROC, FPR95 of the histogram, with its stated errors."""
    return _pixel(pooled.histogram.compute(), _spread(pooled, repeats, seed))


def exact_figures(exact: ExactScores, pooled: Pooled, counting: Counting) -> dict[str, Figure]:
    """The same, exact; intervals from the histograms of the same frames."""
    return _pixel(exact.compute(), _spread(pooled, counting.repeats, counting.seed))


def streaming_figures(seen: Pooled, pooled: Pooled, counting: Counting) -> dict[str, Figure]:
    """Scores of what was there in time, and the AP that the delay costs."""
    figures = pooled_figures(seen, counting.repeats, counting.seed)
    late, ideal = seen.histogram.compute().ap, pooled.histogram.compute().ap
    return figures | {"lost": _figure(ideal - late)}


def smiyc_figures(
    pixel: SmiycPixel, components: Components, pooled: Pooled, counting: Counting
) -> dict[str, Figure]:
    """Pixel and component metrics of SegmentMeIfYouCan."""

    def pixel_scores(frames: Sequence[Any]) -> Any:
        part = SmiycPixel(half=True)
        part.frames = list(frames)
        return part.compute()

    return _resampled(pixel.frames, pixel_scores, PIXEL_KEYS, counting) | _resampled(
        components.frames, component_scores, COMPONENT_KEYS, counting
    )


def per_image_figures(scores: CaosScores | PansScores, counting: Counting) -> dict[str, Figure]:
    """Means over images."""

    def means(images: Sequence[Any]) -> Any:
        part = type(scores)()
        part.images = list(images)
        return part.compute()

    return _resampled(scores.images, means, PIXEL_KEYS, counting)


def roc_figures(roc: FrameRoc) -> dict[str, Figure]:
    """AUROC."""
    return {"auroc": _figure(roc.compute().auroc)}


def error_figures(errors: ErrorDetectionHistogram) -> dict[str, Figure]:
    """ObsNet's error detection."""
    scores = errors.compute()
    keys = ("aupr_error", "aupr_success", "auroc", "fpr95")
    return {
        key: _figure(getattr(scores, key), error=getattr(scores, f"{key}_within")) for key in keys
    } | {"accuracy": _figure(scores.accuracy)}


def failure_figures(failures: FailureDetection) -> dict[str, Figure]:
    """SynthCP's failure detection."""
    scores = failures.compute()
    keys = ("aupr_error", "aupr_success", "auroc")
    return {
        key: _figure(getattr(scores, key), error=getattr(scores, f"{key}_within")) for key in keys
    } | {"fpr95": _figure(scores.fpr95)}


def segmentation_figures(matrix: ConfusionMatrix) -> dict[str, Figure]:
    """mIoU and accuracy."""
    scores = matrix.compute()
    return {"miou": _figure(scores.miou), "accuracy": _figure(scores.accuracy)}


def calibration_figures(adaptive: AdaptiveBins, bins: ReliabilityBins) -> dict[str, Figure]:
    """ACE and ECE."""
    scores = adaptive.compute()
    return {
        "ace": _figure(scores.ace, error=scores.ace_within),
        "ece": _figure(bins.compute().ece),
    }


def false_region_figures(regions: FalseRegions) -> dict[str, Figure]:
    """False regions of the contender's own masks."""
    scores = regions.compute()
    return {
        "per_100_frames": _figure(scores.per_100_frames),
        "frames_with": _figure(scores.frames_with_regions / scores.frames),
    }


def point_figures(threshold: ThresholdScores, components: Components) -> dict[str, Figure]:
    """What a calibrated threshold does."""
    scores = threshold.compute()
    figures = {
        key: _figure(getattr(scores, key))
        for key in ("recall", "precision", "false_alarms", "misses", "false_regions")
    }
    if any(frame.siou.size for frame in components.frames):
        found = components.compute()
        return figures | {key: _figure(getattr(found, key)) for key in COMPONENT_KEYS}
    nothing = Figure(None, reason="no labelled object")
    return figures | dict.fromkeys(COMPONENT_KEYS, nothing)
