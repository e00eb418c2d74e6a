"""How far two runs are apart: errors of tensors, of labels and of the score, over many frames.

Labels and score of a detector are judged together: a pixel whose label flips near a tie is no
fault of the arithmetic, but in methods that look at the labels it changes the score around it. So
label agreement is one number, and the score's error counts away from flipped labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

BIN_SHIFT = 16  # keeps 7 bits of a float32's mantissa: bins are at most 0.8 % wide
BINS = 1 << (31 - BIN_SHIFT)
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ErrorSummary:
    """|test - reference| over `values` numbers; None where there was nothing to compare."""

    values: int
    mean: float | None
    p99: float | None  # at most 0.8 % above the exact one
    largest: float | None
    not_finite: int  # values that are NaN or infinite in one of the two, beyond `values`

    def as_json(self) -> dict[str, float | int | None]:
        return {
            "values": self.values,
            "mean": self.mean,
            "p99": self.p99,
            "max": self.largest,
            "not_finite": self.not_finite,
        }


class ErrorCounts:
    """Counts errors by size in bounded memory: a bin is the leading bits of a float32."""

    def __init__(self) -> None:
        self.bins = np.zeros(BINS, np.int64)
        self.total = 0.0
        self.largest = 0.0
        self.not_finite = 0

    def add(self, reference: np.ndarray, test: np.ndarray) -> float:
        """Count float arrays of one shape; the largest error among them."""
        known = np.isfinite(reference) & np.isfinite(test)
        same = (reference == test) | (np.isnan(reference) & np.isnan(test))
        self.not_finite += int(np.count_nonzero(~known & ~same))
        difference = np.abs(test[known].astype(np.float64) - reference[known])
        if difference.size == 0:
            return 0.0
        errors = np.minimum(difference, FLOAT32_MAX).astype(np.float32)
        self.bins += np.bincount(errors.view(np.uint32) >> BIN_SHIFT, minlength=BINS)
        self.total += float(difference.sum())
        largest = float(difference.max())
        self.largest = max(self.largest, largest)
        return largest

    def summary(self) -> ErrorSummary:
        count = int(self.bins.sum())
        if count == 0:
            return ErrorSummary(0, None, None, None, self.not_finite)
        reached = int(np.searchsorted(np.cumsum(self.bins), 0.99 * count))
        above = float(np.uint32((reached + 1) << BIN_SHIFT).view(np.float32)) if reached else 0.0
        p99 = min(above, self.largest)
        return ErrorSummary(count, self.total / count, p99, self.largest, self.not_finite)


@dataclass(frozen=True)
class TensorDifference:
    """How far a tensor is from the reference's. `error` is None for ids and other whole numbers."""

    name: str
    equal: float  # share of values that are the same
    span: float  # largest finite |reference|, to compare errors with
    error: ErrorSummary | None

    def as_json(self) -> dict[str, object]:
        error = self.error.as_json() if self.error else None
        return {"name": self.name, "equal": self.equal, "span": self.span, "error": error}


class TensorCounts:
    """The difference of one tensor over many frames."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values = self.equal = 0
        self.span = 0.0
        self.errors: ErrorCounts | None = None

    def add(self, reference: np.ndarray, test: np.ndarray) -> None:
        """Count arrays of one shape and dtype."""
        self.values += reference.size
        self.equal += int(np.count_nonzero(reference == test))
        finite = reference[np.isfinite(reference)]
        if finite.size:
            self.span = max(self.span, float(finite.max()), -float(finite.min()))
        if np.issubdtype(reference.dtype, np.floating):
            self.errors = self.errors or ErrorCounts()
            self.errors.add(reference, test)

    def difference(self) -> TensorDifference:
        error = self.errors.summary() if self.errors else None
        return TensorDifference(self.name, self.equal / max(1, self.values), self.span, error)


@dataclass(frozen=True)
class Gates:
    """What two engines may differ by. `max_score_error` is in units of the score."""

    min_agreement: float  # share of pixels with the same label
    max_score_error: float  # of any pixel away from flipped labels


@dataclass(frozen=True)
class Outcome:
    """Labels and score against the reference's, on the network's own grid."""

    agreement: float  # share of pixels with the same label
    flipped: int
    pixels: int
    left_out: float  # share of the score's pixels that lie at flipped labels
    score: ErrorSummary  # of the others
    alarm_agreement: float  # share of all score pixels on the same side of the threshold

    def faults(self, gates: Gates) -> list[str]:
        """What is beyond the gates, in words; empty when nothing is."""
        faults = []
        if self.agreement < gates.min_agreement:
            faults.append(
                f"labels agree on {self.agreement:.4%} of pixels, less than "
                f"{gates.min_agreement:.4%}"
            )
        if self.score.not_finite:
            faults.append(f"{self.score.not_finite} values of the score are not finite")
        if self.score.largest is None:
            faults.append("no pixel of the score lies away from flipped labels: none was compared")
        elif self.score.largest > gates.max_score_error:
            faults.append(
                f"the score is off by up to {self.score.largest:.4g}, more than "
                f"{gates.max_score_error:.4g}"
            )
        return faults

    def as_json(self) -> dict[str, object]:
        return {
            "agreement": self.agreement,
            "flipped": self.flipped,
            "pixels": self.pixels,
            "left_out": self.left_out,
            "score": self.score.as_json(),
            "alarm_agreement": self.alarm_agreement,
        }


class OutcomeCounts:
    """Labels and scores of many frames.

    threshold: of the alarm. margin: cells of the score's grid around a flipped label whose score
    does not count.
    """

    def __init__(self, threshold: float, margin: int) -> None:
        self.threshold = np.float32(threshold)
        self.margin = margin
        self.score = ErrorCounts()
        self.pixels = self.flipped = self.cells = self.left_out = self.alarms_alike = 0

    def add(
        self,
        labels: tuple[np.ndarray, np.ndarray],
        score: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Count one frame: (reference, test) of uint8 [h, w] labels and float32 [h, w] score."""
        flipped = labels[0] != labels[1]
        near = near_flips(flipped, score[0].shape, self.margin)
        self.pixels += flipped.size
        self.flipped += int(np.count_nonzero(flipped))
        self.cells += near.size
        self.left_out += int(np.count_nonzero(near))
        alike = (score[0] >= self.threshold) == (score[1] >= self.threshold)
        self.alarms_alike += int(np.count_nonzero(alike))
        self.score.add(score[0][~near], score[1][~near])

    def outcome(self) -> Outcome:
        cells = max(1, self.cells)
        return Outcome(
            agreement=1 - self.flipped / max(1, self.pixels),
            flipped=self.flipped,
            pixels=self.pixels,
            left_out=self.left_out / cells,
            score=self.score.summary(),
            alarm_agreement=self.alarms_alike / cells,
        )


def near_flips(flipped: np.ndarray, shape: tuple[int, ...], margin: int) -> np.ndarray:
    """Cells of a grid [h, w] within `margin` cells of a flipped label: bool [h, w].

    flipped: bool on the labels' grid, which covers the same picture and may be finer or coarser.
    """
    mask: np.ndarray = flipped.astype(np.float32)
    if mask.shape != shape:
        how = cv2.INTER_AREA if mask.shape[0] > shape[0] else cv2.INTER_NEAREST
        mask = cv2.resize(mask, (shape[1], shape[0]), interpolation=how)
    width = 2 * margin + 1
    return cv2.dilate(mask, np.ones((width, width), np.uint8)) > 0
