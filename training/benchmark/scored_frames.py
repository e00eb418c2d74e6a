"""Frames of a dataset at the evaluated size, and beside them what a contender answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from anomaly_seg_ros.metrics import FrameResult
from training.benchmark.predictions import Prediction
from training.benchmark.results import BenchmarkError
from training.data.anomaly_frames import AnomalyFrames, AnomalySample
from training.data.catalogue import open_dataset
from training.data.label_spaces import VOID

FILTERS = ("area", "bilinear")


@dataclass(frozen=True)
class EvaluationSize:
    """Rows or columns at which images and labels are compared; neither = the dataset's own size.

    filter: how images shrink, "area" (average of the covered pixels) or "bilinear" (antialiased, as
    Pillow and torchvision do); they grow bilinearly. Labels take the nearest pixel. The aspect
    ratio is kept; frames that are stored squashed get their true shape back.
    """

    height: int | None = None
    width: int | None = None
    filter: str = "area"

    @classmethod
    def parse(cls, text: str, way: str = "area") -> EvaluationSize:
        """Read "native", "384" (rows) or "x1024" (columns). Raises BenchmarkError."""
        number = text.removeprefix("x")
        if text == "native":
            return cls()
        if not number.isdecimal() or int(number) < 16:
            raise BenchmarkError(
                f"size {text!r}: expected native, a number of rows such as 384, or x and a number "
                "of columns such as x1024 (16 or more)"
            )
        if text.startswith("x"):
            return cls(width=int(number), filter=way)
        return cls(height=int(number), filter=way)

    def __str__(self) -> str:
        if self.height is None and self.width is None:
            return "native size"
        side = f"{self.height} rows" if self.height else f"{self.width} columns"
        return f"{side}, {self.filter}"

    def of(self, shape: tuple[int, ...], stretch: float) -> tuple[int, int]:
        """Evaluated (height, width) of a stored frame of (height, width)."""
        rows, columns = shape[0], round(shape[1] * stretch)
        if self.height:
            return self.height, round(columns * self.height / rows)
        if self.width:
            return round(rows * self.width / columns), self.width
        return rows, columns


NATIVE = EvaluationSize()


@dataclass(frozen=True)
class DatasetRef:
    """A dataset that any worker can open: its name in the catalogue, the data root and the size."""

    spec: str  # NAME, NAME/SPLIT or folder:PATH
    root: Path
    size: EvaluationSize = NATIVE

    def open(self) -> AnomalyFrames:
        """Raises DatasetError where files are missing or wrong."""
        return _opened(self.spec, self.root)

    def read(self, index: int) -> AnomalySample:
        """Frame `index` at the evaluated size. Raises DatasetError for a damaged frame."""
        frames = self.open()
        return sized(frames.read(index), frames.stretch, self.size)


@lru_cache(maxsize=8)
def _opened(spec: str, root: Path) -> AnomalyFrames:
    return open_dataset(spec, root)


def sized(sample: AnomalySample, stretch: float, size: EvaluationSize) -> AnomalySample:
    """The sample at another size; itself where nothing changes."""
    shape = size.of(sample.image.shape, stretch)
    if shape == sample.image.shape[:2]:
        return sample
    to = (shape[1], shape[0])
    truth = sample.truth
    return replace(
        sample,
        image=_resized(sample.image, to, size.filter),
        anomaly=cv2.resize(sample.anomaly, to, interpolation=cv2.INTER_NEAREST_EXACT),
        truth=None
        if truth is None
        else cv2.resize(truth, to, interpolation=cv2.INTER_NEAREST_EXACT),
    )


def _resized(image: np.ndarray, to: tuple[int, int], way: str) -> np.ndarray:
    """uint8 [H, W, 3] at (width, height) `to`."""
    if to[1] >= image.shape[0]:
        return cv2.resize(image, to, interpolation=cv2.INTER_LINEAR)
    if way == "area":
        return cv2.resize(image, to, interpolation=cv2.INTER_AREA)
    return np.asarray(Image.fromarray(image).resize(to, Image.Resampling.BILINEAR))


@dataclass(frozen=True, eq=False)
class ScoredFrame(FrameResult):
    """What a protocol sees: score, truth, classes and the contender's own mask where it has one.

    mask: bool [H, W] or None.
    """

    mask: np.ndarray | None = None


def scored_frame(sample: AnomalySample, prediction: Prediction, store: Path) -> ScoredFrame:
    """Put answer and truth together. Raises BenchmarkError when the stored sizes differ."""
    if prediction.score.shape != sample.anomaly.shape:
        raise BenchmarkError(
            f"{store}: the prediction of {sample.name} is {list(prediction.score.shape)}, the label"
            f" {list(sample.anomaly.shape)}: the dataset changed since; choose another --out"
        )
    return ScoredFrame(
        score=prediction.score,
        label=sample.anomaly,
        predicted=prediction.predicted,
        truth=sample.truth,
        mask=prediction.mask,
    )


def classes_of(frame: ScoredFrame) -> np.ndarray | None:
    """Class ids uint8 [H, W] by which known pixels are told apart: true ones, else predicted."""
    classes = frame.truth if frame.truth is not None else frame.predicted
    return None if classes is None else np.where(frame.label == 0, classes, VOID).astype(np.uint8)
