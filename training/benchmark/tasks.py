"""The pieces of work that go to workers: frames to predict, frames to score."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from training.benchmark.analysis import Analysis
from training.benchmark.contenders import Contender, ContenderSpec, open_contender
from training.benchmark.predictions import Prediction, PredictionStore
from training.benchmark.results import BenchmarkError
from training.benchmark.scored_frames import DatasetRef, scored_frame
from training.data.label_spaces import CITYSCAPES
from training.data.labelled_frames import DatasetError

CHUNK = 8  # frames of one task; sums are taken chunk by chunk, so they do not depend on workers
NOTHING_YET = ""  # as the source of a frame: no result is there when it comes
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Task:
    """Frames of one dataset for one contender.

    frames: index in the dataset and name of each. accumulators: empty ones that the frames are
    added to; an `Analysis` also gets names and times. sources: the frames whose predictions count,
    where these are not the frames' own.
    """

    contender: ContenderSpec
    dataset: DatasetRef
    store: PredictionStore
    frames: tuple[tuple[int, str], ...]
    accumulators: tuple[Any, ...] = ()
    sources: tuple[str, ...] | None = None
    strict: bool = False


def chunks(frames: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """`frames` in pieces of CHUNK."""
    for start in range(0, len(frames), CHUNK):
        yield frames[start : start + CHUNK]


def predict_task(task: Task) -> dict[str, str]:
    """Predict and store the frames; returns name -> reason of those that could not be read.

    Raises DatasetError for these where the task is strict, BenchmarkError for scores that are no
    numbers.
    """
    contender = _contender(task.contender)
    space = task.dataset.open().space or CITYSCAPES
    bad = {}
    for index, name in task.frames:
        try:
            sample = task.dataset.read(index)
        except DatasetError as error:
            if task.strict:
                raise
            bad[name] = str(error)
            continue
        prediction = contender.predict(sample.image, space)
        if not np.isfinite(prediction.score).all():
            raise BenchmarkError(
                f"{task.contender.name} gave a score that is not finite on {name} of "
                f"{task.dataset.spec}; expected a number at every pixel"
            )
        task.store.write(name, prediction)
    return bad


def score_task(task: Task) -> tuple[Any, ...]:
    """Copies of the task's accumulators with its frames added."""
    accumulators = copy.deepcopy(task.accumulators)
    sources = task.sources or tuple(name for _, name in task.frames)
    for (index, name), source in zip(task.frames, sources, strict=True):
        sample = task.dataset.read(index)
        if source == NOTHING_YET:
            prediction = Prediction(np.full(sample.anomaly.shape, LOWEST, np.float32))
        else:
            prediction = task.store.read(source)
        frame = scored_frame(sample, prediction, task.store.folder)
        for accumulator in accumulators:
            if isinstance(accumulator, Analysis):
                accumulator.update(frame, name, dict(prediction.seconds))
            else:
                accumulator.update(frame)
    return accumulators


@lru_cache(maxsize=1)
def _contender(spec: ContenderSpec) -> Contender:
    """One network at a time in each worker."""
    return open_contender(spec)
