"""Which labelled pixels a segmentation got wrong: what failure detection and calibration count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import ANOMALY, KNOWN, VOID, FrameResult


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The labelled pixels of a frame or of many.

    uncertainty: float32 [n], higher is more likely wrong. right: bool [n]. truth: uint8 [n].
    """

    uncertainty: np.ndarray
    right: np.ndarray
    truth: np.ndarray


def error_frame(frame: FrameResult) -> FrameResult:
    """The frame with the errors of its segmentation as the anomalies: label 1 where the predicted
    class is not the true one, 0 where it is, 255 where the truth is 255.

    A labelled pixel without a prediction (255) is an error. Raises MetricError when predicted or
    true classes are missing.
    """
    predicted, truth = _classes(frame)
    label = np.where(predicted == truth, KNOWN, ANOMALY).astype(np.uint8)
    label[truth == VOID] = VOID
    return FrameResult(frame.score, label, frame.predicted, frame.truth)


def outcomes(frame: FrameResult) -> Outcomes:
    """The labelled pixels, in reading order.

    Raises MetricError when classes are missing or the score is NaN at a labelled pixel.
    """
    predicted, truth = _classes(frame)
    seen = truth != VOID
    found = Outcomes(frame.score[seen], predicted[seen] == truth[seen], truth[seen])
    bad = int(np.count_nonzero(np.isnan(found.uncertainty)))
    if bad:
        raise MetricError(
            f"the score is NaN at {bad} labelled pixels; expected a number at each: fill what the "
            "network did not look at, or label it 255"
        )
    return found


@dataclass(frozen=True, eq=False)
class Accepted:
    """What is known of the surest pixels when only counts per bin of uncertainty are.

    bins: int64 [k], the bin in which each acceptance ends. inside: int64 [k], how many pixels of
    that bin are accepted. mixed: float64 [k], right pixels accepted when those of the last bin are
    evenly mixed; least, most: int64 [k], when its wrong or its right ones come first.
    """

    bins: np.ndarray
    inside: np.ndarray
    mixed: np.ndarray
    least: np.ndarray
    most: np.ndarray


def accept(surest: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> Accepted:
    """surest: int64 [k], how many pixels are accepted. right, wrong: int64 [bins], pixels by rising
    uncertainty, no bin empty."""
    both = right + wrong
    filled = np.cumsum(both)
    bins = np.searchsorted(filled, surest)
    inside = surest - (filled - both)[bins]
    below = (np.cumsum(right) - right)[bins]
    return Accepted(
        bins=bins,
        inside=inside,
        mixed=below + inside * (right / both)[bins],
        least=below + np.maximum(inside - wrong[bins], 0),
        most=below + np.minimum(inside, right[bins]),
    )


def _classes(frame: FrameResult) -> tuple[np.ndarray, np.ndarray]:
    if frame.predicted is None or frame.truth is None:
        raise MetricError(
            "errors are counted where predicted and true classes of a frame are given"
        )
    return frame.predicted, frame.truth
