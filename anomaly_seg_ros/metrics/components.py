"""Component metrics of SegmentMeIfYouCan: does the mask find each object, and what else does it?

Components are sets of pixels connected through sides or corners. With K a component of the ground
truth and Q the union of the predicted components that share a pixel with it,
sIoU(K) = |K and Q| / (|K or Q| - |A|), where A are the pixels of Q on other true components;
with J a predicted component, PPV(J) is the share of J on true components. sIoU of a predicted
component is the mirror image. All are means over the components of all frames, and
F1(tau) = 2 TP / (2 TP + FN + FP) counts TP true components with sIoU >= tau, FN the other ones and
FP predicted components with PPV < tau. Chan et al., NeurIPS 2021 Datasets and Benchmarks; as the
benchmark's code has it since September 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import ANOMALY, VOID, FrameResult, check_label, split_scores

_TAUS = (0.25, 0.75, 11)  # 0.25, 0.30, ... 0.75, rounded as the benchmark has them


@dataclass(frozen=True)
class ComponentLimits:
    """Pixels that a component needs at least, in the prediction and in the ground truth.

    A smaller predicted component is deleted. A smaller true one becomes void. 0 and 1: no limit.
    """

    min_predicted: int
    min_truth: int

    def __post_init__(self) -> None:
        if self.min_predicted < 0 or self.min_truth < 0:
            raise MetricError(f"component limits of {self}; expected 0 pixels or more")


ANOMALY_TRACK = ComponentLimits(min_predicted=500, min_truth=100)
OBSTACLE_TRACK = ComponentLimits(min_predicted=50, min_truth=10)  # for Lost and Found too


@dataclass(frozen=True, eq=False)
class FrameComponents:
    """The components of one frame [t] of the ground truth and [p] predicted, in raster order.

    Sizes are int64 in pixels: a true component as labelled, a predicted one without the pixels that
    became void with a small true component. sIoU and PPV are float64 in 0..1.
    """

    siou: np.ndarray  # [t]
    size: np.ndarray  # [t]
    predicted_siou: np.ndarray  # [p]
    ppv: np.ndarray  # [p]
    predicted_size: np.ndarray  # [p]


@dataclass(frozen=True, eq=False)
class ComponentScores:
    """Means in 0..1, counts per tau, and every component, frame after frame.

    siou, ppv, f1: the leaderboard's sIoU gt, PPV and mean F1. ppv, predicted_siou and f1 are 0
    where nothing was predicted. taus, f1_at: float64 [11]; tp, fn, fp: int64 [11].
    truth_per_frame, predicted_per_frame: int64 [frames], to part `components` by frame.
    """

    siou: float
    ppv: float
    f1: float
    predicted_siou: float
    taus: np.ndarray
    f1_at: np.ndarray
    tp: np.ndarray
    fn: np.ndarray
    fp: np.ndarray
    components: FrameComponents
    truth_per_frame: np.ndarray
    predicted_per_frame: np.ndarray


class Components:
    """Component metrics of a score at one threshold: pixels with a higher score are predicted.

    A second pass over the frames: the benchmark's threshold is SmiycPixel's best_f1_threshold for
    the same frames, chosen with their ground truth; a vehicle has one fixed beforehand. half:
    round the scores to float16 first, as the benchmark stores them. Keeps some numbers of each
    component.
    """

    needs_threshold: ClassVar[bool] = True

    def __init__(self, threshold: float, limits: ComponentLimits, half: bool = False) -> None:
        if not math.isfinite(threshold):
            raise MetricError(f"a threshold of {threshold}; expected a finite score")
        self.threshold = threshold
        self.limits = limits
        self.half = half
        self.frames: list[FrameComponents] = []

    def update(self, frame: FrameResult) -> None:
        """Add a frame. Raises MetricError for NaN at a pixel that is not void, and odd labels."""
        split_scores(frame.score, frame.label)  # for its checks
        with np.errstate(over="ignore", invalid="ignore"):
            score = frame.score.astype(np.float16) if self.half else frame.score
            mask = score.astype(np.float32, copy=False) > _float32_below(self.threshold)
        self.frames.append(frame_components(mask.view(np.uint8), frame.label, self.limits))

    def merge(self, other: Components) -> None:
        """Append another worker's frames. Raises MetricError for another threshold or limits."""
        ours, theirs = ((m.threshold, m.limits, m.half) for m in (self, other))
        if ours != theirs:
            raise MetricError(f"cannot merge components with {ours} and with {theirs}")
        self.frames.extend(other.frames)

    def compute(self) -> ComponentScores:
        """Raises MetricError without a component in the ground truth."""
        return component_scores(self.frames)


class MaskComponents:
    """Component metrics of ready masks: a method with its own instances, or a fixed threshold.

    As in the benchmark, predicted components of any size count then.
    """

    def __init__(self, min_truth: int) -> None:
        self.limits = ComponentLimits(min_predicted=0, min_truth=min_truth)
        self.frames: list[FrameComponents] = []

    def update(self, mask: np.ndarray, label: np.ndarray) -> None:
        """Add a frame. mask: uint8 [H, W], non-zero is predicted. label: uint8 [H, W], 0, 1, 255.

        Raises MetricError when shapes, dtypes or label values differ from that.
        """
        if mask.ndim != 2 or mask.shape != label.shape or not mask.dtype == label.dtype == np.uint8:
            raise MetricError(
                f"mask is {mask.dtype} {list(mask.shape)} and label {label.dtype} "
                f"{list(label.shape)}; expected uint8 [H, W] both"
            )
        check_label(label)
        self.frames.append(frame_components(mask, label, self.limits))

    def merge(self, other: MaskComponents) -> None:
        """Append another worker's frames. Raises MetricError when the limits differ."""
        if self.limits != other.limits:
            raise MetricError(f"cannot merge components with {self.limits} and {other.limits}")
        self.frames.extend(other.frames)

    def compute(self) -> ComponentScores:
        """Raises MetricError without a component in the ground truth."""
        return component_scores(self.frames)


def frame_components(
    mask: np.ndarray, label: np.ndarray, limits: ComponentLimits
) -> FrameComponents:
    """Match one frame's components. mask: uint8 [H, W], non-zero is predicted, void is ignored.

    label: uint8 [H, W], 0, 1 or 255. limits.min_truth also asks the benchmark to drop the
    background where that is smaller; this does not.
    """
    true, size = _components(label == ANOMALY)
    predicted, predicted_size = _components((mask != 0) & (label != VOID))
    predicted_size[predicted_size < limits.min_predicted] = 0

    # One entry for each true and predicted component that share pixels: how many.
    both = (true > 0) & (predicted > 0)
    pair, shared = np.unique(
        true[both].astype(np.int64) * predicted_size.size + predicted[both], return_counts=True
    )
    k, j = np.divmod(pair, predicted_size.size)
    kept = predicted_size[j] > 0
    k, j, shared = k[kept], j[kept], shared[kept]

    # A small true component is void: its pixels leave the predicted ones too.
    small = size < limits.min_truth
    np.subtract.at(predicted_size, j[small[k]], shared[small[k]])
    k, j, shared = k[~small[k]], j[~small[k]], shared[~small[k]]

    on_true = _sums(j, shared, predicted_size.size)  # of each predicted component
    found = _sums(k, shared, size.size)  # of each true component
    outside = _sums(k, (predicted_size - on_true)[j], size.size)
    missed = _sums(j, (size - found)[k], predicted_size.size)

    t = np.flatnonzero(~small[1:]) + 1
    p = np.flatnonzero(predicted_size[1:]) + 1
    return FrameComponents(
        # |K or Q| - |A| = |K| + what Q has outside of all true components
        siou=found[t] / (size + outside)[t],
        size=size[t],
        predicted_siou=on_true[p] / (predicted_size + missed)[p],
        ppv=on_true[p] / predicted_size[p],
        predicted_size=predicted_size[p],
    )


def component_scores(frames: Sequence[FrameComponents]) -> ComponentScores:
    """Pool the components of all frames. Raises MetricError without one in the ground truth."""
    pooled = FrameComponents(
        siou=_joined([frame.siou for frame in frames], np.float64),
        size=_joined([frame.size for frame in frames], np.int64),
        predicted_siou=_joined([frame.predicted_siou for frame in frames], np.float64),
        ppv=_joined([frame.ppv for frame in frames], np.float64),
        predicted_size=_joined([frame.predicted_size for frame in frames], np.int64),
    )
    if pooled.size.size == 0:
        raise MetricError(
            f"component metrics need anomalies; found none large enough in {len(frames)} frames: "
            "check the labels (0 known, 1 anomaly) and the limit for the ground truth"
        )
    taus = np.linspace(*_TAUS)
    tp = np.count_nonzero(pooled.siou >= taus[:, None], axis=1)
    fn = pooled.siou.size - tp
    fp = np.count_nonzero(pooled.ppv < taus[:, None], axis=1)
    f1 = 2 * tp / (2 * tp + fn + fp)
    nothing = pooled.ppv.size == 0
    return ComponentScores(
        siou=float(pooled.siou.mean()),
        ppv=0.0 if nothing else float(pooled.ppv.mean()),
        f1=float(f1.mean()),
        predicted_siou=0.0 if nothing else float(pooled.predicted_siou.mean()),
        taus=taus,
        f1_at=f1,
        tp=tp,
        fn=fn,
        fp=fp,
        components=pooled,
        truth_per_frame=np.array([frame.size.size for frame in frames], np.int64),
        predicted_per_frame=np.array([frame.ppv.size for frame in frames], np.int64),
    )


def _components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components of bool [H, W]: int32 [H, W], 0 outside; and sizes int64 [n + 1], 0 for outside.

    Numbered by their first pixels in raster order, which OpenCV's other algorithms do not keep.
    """
    count, numbers = cv2.connectedComponentsWithAlgorithm(
        mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S, ccltype=cv2.CCL_WU
    )
    return numbers, np.bincount(numbers[mask], minlength=count)


def _sums(where: np.ndarray, what: np.ndarray, size: int) -> np.ndarray:
    """int64 [size]: what [n] summed by its place."""
    total = np.zeros(size, np.int64)
    np.add.at(total, where, what)
    return total


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])


def _float32_below(threshold: float) -> np.float32:
    """The highest float32 t <= threshold: s > t is s > threshold for every float32 s."""
    with np.errstate(over="ignore"):
        nearest = np.float32(threshold)
    return nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(-np.inf))
