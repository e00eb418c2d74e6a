"""Image-level failure detection: does a network know how good its segmentation of an image is?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import VOID


@dataclass(frozen=True, eq=False)
class ImageSegmentation:
    """How good one image's segmentation is; fractions in 0..1.

    iou: float64 [classes], NaN for a class without a labelled pixel in the image. pixels: int64
    [classes], labelled. fw_iou: iou weighted by them. accuracy: share of labelled pixels right.
    """

    iou: np.ndarray
    pixels: np.ndarray
    fw_iou: float
    accuracy: float


def image_segmentation(predicted: np.ndarray, truth: np.ndarray, classes: int) -> ImageSegmentation:
    """predicted, truth: uint8 [H, W], 0 to classes - 1; truth 255 is left out, and predicted 255 is
    wrong. Raises MetricError for other values, other arrays or no labelled pixel.
    """
    if not predicted.dtype == truth.dtype == np.uint8 or predicted.shape != truth.shape:
        raise MetricError(
            f"predicted is {predicted.dtype} {list(predicted.shape)} and truth {truth.dtype} "
            f"{list(truth.shape)}; expected uint8 of one shape"
        )
    seen = truth != VOID
    predicted, truth = predicted[seen], truth[seen]
    pixels = np.bincount(truth, minlength=classes)
    found = np.bincount(predicted[predicted != VOID], minlength=classes)
    if not pixels.any():
        raise MetricError("an image's IoU needs labelled pixels; found only void ones")
    if max(pixels.size, found.size) > classes:
        raise MetricError(
            f"classes run up to {max(pixels.size, found.size) - 1}; expected 0 to {classes - 1}, "
            f"or {VOID}"
        )
    right = np.bincount(truth[predicted == truth], minlength=classes)
    iou = right / np.where(pixels, pixels + found - right, np.nan)
    return ImageSegmentation(
        iou=iou,
        pixels=pixels,
        fw_iou=float(np.nansum(iou * pixels) / pixels.sum()),
        accuracy=float(right.sum() / pixels.sum()),
    )


def real_iou(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """float64 [classes] in 0..1, NaN for a class absent from the truth; see image_segmentation."""
    return image_segmentation(predicted, truth, classes).iou


@dataclass(frozen=True, eq=False)
class IouPredictionScores:
    """How well predicted IoU follows the real one; arrays float64 [classes], NaN where undefined.

    mae, std: mean and population standard deviation of |predicted - real| over the images that have
    the class. pearson, spearman: correlation over them; undefined for fewer than two, or where one
    of both does not vary. The mean_ values are those over the classes for which they are defined.
    """

    mae: np.ndarray
    std: np.ndarray
    pearson: np.ndarray
    spearman: np.ndarray
    mean_mae: float
    mean_std: float
    mean_pearson: float
    mean_spearman: float
    images: int


class IouPrediction:
    """Predicted against real IoU by image and class (Xia et al., ECCV 2020, image level).

    Ranks need every pair, so 16 bytes for each image and class are kept.
    """

    def __init__(self, classes: int) -> None:
        if classes < 1:
            raise MetricError(f"{classes} classes; expected 1 or more")
        self.classes = classes
        self.predicted: list[np.ndarray] = []
        self.real: list[np.ndarray] = []

    def update(self, predicted: np.ndarray, real: np.ndarray) -> None:
        """Add an image. predicted, real: float [classes], real NaN where the class is absent.

        Raises MetricError for other shapes, and where a class is present without a finite value.
        """
        predicted, real = np.array(predicted, np.float64), np.array(real, np.float64)
        if not predicted.shape == real.shape == (self.classes,):
            raise MetricError(
                f"IoU of shapes {list(predicted.shape)} and {list(real.shape)}; expected "
                f"[{self.classes}] both"
            )
        if not np.isfinite(predicted[~np.isnan(real)]).all() or np.isinf(real).any():
            raise MetricError("an IoU is not finite; expected numbers for all classes present")
        self.predicted.append(predicted)
        self.real.append(real)

    def merge(self, other: IouPrediction) -> None:
        """Add what another worker kept. Raises MetricError when the classes differ in number."""
        if self.classes != other.classes:
            raise MetricError(f"cannot merge IoU of {self.classes} and {other.classes} classes")
        self.predicted.extend(other.predicted)
        self.real.extend(other.real)

    def compute(self) -> IouPredictionScores:
        """Raises MetricError when no image had any class."""
        real = np.array(self.real).reshape(-1, self.classes)
        predicted = np.array(self.predicted).reshape(-1, self.classes)
        if np.isnan(real).all():
            raise MetricError("IoU prediction needs images with labelled classes; found none")
        present = ~np.isnan(real)
        mae, std, pearson, spearman = np.transpose(
            [_agreement(predicted[has, k], real[has, k]) for k, has in enumerate(present.T)]
        )
        return IouPredictionScores(
            mae=mae,
            std=std,
            pearson=pearson,
            spearman=spearman,
            mean_mae=_defined_mean(mae),
            mean_std=_defined_mean(std),
            mean_pearson=_defined_mean(pearson),
            mean_spearman=_defined_mean(spearman),
            images=len(real),
        )


def _agreement(predicted: np.ndarray, real: np.ndarray) -> tuple[float, float, float, float]:
    """MAE, STD, Pearson and Spearman of float64 [n] and [n]."""
    if not real.size:
        return (float("nan"),) * 4
    gap = np.abs(predicted - real)
    ranks = _pearson(_ranks(predicted), _ranks(real))
    return float(gap.mean()), float(gap.std()), _pearson(predicted, real), ranks


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]


def _defined_mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
