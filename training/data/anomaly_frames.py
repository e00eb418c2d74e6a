"""What a benchmark sees of a dataset: images, anomaly labels, and classes where they are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.label_spaces import VOID, LabelSpace
from training.data.labelled_frames import LabelledFrames

CLOSED_SET_PROTOCOLS = ("segmentation", "error_detection", "calibration")


@dataclass(frozen=True, eq=False)
class AnomalySample:
    """One frame with its truth, at the dataset's own resolution.

    name: unique within the dataset, a relative path without suffix, fit for a file name. image:
    uint8 [H, W, 3] RGB. anomaly: uint8 [H, W], 0 known, 1 anomaly, 255 void. truth: uint8 [H, W]
    ids of the dataset's label space, 255 where no class holds (void and anomalies), or None.
    """

    name: str
    image: np.ndarray
    anomaly: np.ndarray
    truth: np.ndarray | None = None


@dataclass(frozen=True)
class Exclusion:
    """A frame that is left out, as the benchmark's rules or its damaged file demand."""

    name: str
    reason: str


@dataclass(frozen=True)
class AnomalyFrames:
    """One split of a dataset, opened and checked.

    `read(i)` decodes frame i of `names`; it raises DatasetError naming the file for a damaged
    image, a label of another size or an unknown label value. `stretch` is true width over stored
    width.
    protocols: names of `training.benchmark.protocols` that the dataset's authors evaluate with, the
    first one the best known. times: for recordings, each frame's sequence and second within it.
    """

    name: str  # what `catalogue.open_dataset` opens it by: "NAME/SPLIT" or "folder:PATH"
    title: str  # for people
    names: tuple[str, ...] = field(repr=False)
    read: Callable[[int], AnomalySample] = field(repr=False)
    space: LabelSpace | None = None
    protocols: tuple[str, ...] = ("pooled",)
    excluded: tuple[Exclusion, ...] = ()
    times: tuple[tuple[str, float], ...] | None = field(default=None, repr=False)
    source: str = ""  # who published it, under which terms
    stretch: float = 1.0


@dataclass(frozen=True)
class AnomalyDataset:
    """An entry of the catalogue: how to find, check and open a dataset below a data root.

    `open_split(root, split)` raises DatasetError listing what is missing or wrong, and how to get
    the data.
    """

    name: str
    title: str
    splits: tuple[str, ...]  # the first one is meant when none is named
    open_split: Callable[[Path, str], AnomalyFrames] = field(repr=False)
    how_to_get: str = ""


def closed_set(
    frames: LabelledFrames,
    name: str,
    title: str,
    *,
    protocols: tuple[str, ...] = CLOSED_SET_PROTOCOLS,
    source: str = "",
) -> AnomalyFrames:
    """Labelled frames without anomalies as a benchmark sees them: 0 on classes, 255 on void."""

    def read(index: int) -> AnomalySample:
        image, classes = frames.read(index)
        anomaly = np.where(classes == VOID, VOID, 0).astype(np.uint8)
        return AnomalySample(frames.names[index], image, anomaly, classes)

    return AnomalyFrames(
        name=name,
        title=title,
        names=frames.names,
        read=read,
        space=frames.space,
        protocols=protocols,
        source=source,
        stretch=frames.stretch,
    )
