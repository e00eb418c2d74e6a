"""The frames that other precisions are calibrated on, and those that they are measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.imaging import Fitting
from anomaly_seg_ros.scenes import RoadSequence
from training.data.anomaly_frames import AnomalyFrames
from training.data.catalogue import TRAINING_SETS, open_dataset
from training.data.labelled_frames import DatasetError
from training.data.procedural import drives

CALIBRATION_SETS = ("cityscapes256", "camvid")
MEASURED_SET = "camvid_pasted/val"
SCENE_SEEDS = range(400_000, 400_064)  # other than those of training and of the benchmark
SCENE_FRAMES = (10, 40)
MEASURED_DRIVES = range(400_100, 400_108)
MEASURED_SHOTS = (0, 20, 40, 60)


@dataclass(frozen=True)
class Pictures:
    """A few camera images, read when they are asked for: uint8 [H, W, 3] RGB."""

    title: str
    readers: tuple[Callable[[], np.ndarray], ...]

    def fitted(self, bundle: Bundle) -> Iterator[np.ndarray]:
        """Each as the bundle's input: uint8 [1, H, W, 3]."""
        spec = bundle.input
        for read in self.readers:
            image = read()
            fitting = Fitting(image.shape[:2], (spec.height, spec.width), spec.fit, spec.antialias)
            yield np.ascontiguousarray(fitting.fit(image)[None])


def calibration_pictures(data: Path | None, count: int) -> Pictures:
    """`count` frames of the training splits of Cityscapes (256x256) and CamVid, evenly spread, in
    equal parts; procedural scenes where `data` holds neither."""
    sets = []
    for name in CALIBRATION_SETS if data is not None else ():
        try:
            sets.append(TRAINING_SETS[name](Path(data or ""), "train"))
        except DatasetError:
            continue  # the other one, or procedural scenes, will do
    if not sets:
        shots = [(seed, index) for index in SCENE_FRAMES for seed in SCENE_SEEDS][:count]
        return Pictures(
            "procedural scenes",
            tuple(
                lambda seed=seed, index=index: RoadSequence(seed).frame(index).image  # type: ignore[misc]
                for seed, index in shots
            ),
        )
    readers = []
    for number, frames in enumerate(sets):
        share = count // len(sets) + (number < count % len(sets))
        for index in np.linspace(0, frames.count - 1, share).round().astype(int):
            readers.append(
                lambda frames=frames, index=int(index): _true_shape(
                    frames.read(index)[0], frames.stretch
                )
            )
    title = " and ".join(f"{frames.name} train" for frames in sets)
    return Pictures(title, tuple(readers))


def measured_frames(data: Path | None) -> tuple[AnomalyFrames, bool]:
    """What parity is measured on, and whether it is real: CamVid val with pasted objects, else
    procedural drives past unknown objects."""
    if data is not None:
        try:
            return open_dataset(MEASURED_SET, data), True
        except DatasetError:
            pass  # said in the report: the drives are what was measured
    return drives("parity", "procedural drives", MEASURED_DRIVES, MEASURED_SHOTS), False


def _true_shape(image: np.ndarray, stretch: float) -> np.ndarray:
    if stretch == 1.0:
        return image
    size = (round(image.shape[1] * stretch), image.shape[0])
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
