"""Drawn roads of this project, free of licences: training frames, and drives past the unknown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import cv2

from anomaly_seg_ros.scenes import RoadSequence
from training.data.anomaly_frames import (
    CLOSED_SET_PROTOCOLS,
    AnomalyDataset,
    AnomalyFrames,
    AnomalySample,
    closed_set,
)
from training.data.frame_files import labelled_frames, missing_files, refuse, same_stem
from training.data.label_meaning import classes_as_stored
from training.data.label_spaces import CITYSCAPES
from training.data.labelled_frames import LabelledFrames
from training.data.parallel import in_parallel

SCENE_SIZE = (384, 640)
FIRST_SEED = {"train": 0, "val": 100_000}  # far apart: no scene is in both
SEQUENCES = {"train": 120, "val": 30}
FRAMES = {"train": (0, 20, 45), "val": (10,)}  # of each sequence, at 15 frames/s
DRIVE_SEEDS = {"val": range(200_000, 200_012), "test": range(300_000, 300_024)}
DRIVE_FRAMES = tuple(range(0, 60, 6))  # 4 s of each drive, far enough apart to differ
RECORDING_SEEDS = {"val": range(200_100, 200_104), "test": range(300_100, 300_108)}
RECORDING_FRAMES = tuple(range(45))  # 3 s at the camera's rate
FRAMES_PER_SECOND = 15.0
SOURCE = "drawn by this project, Apache-2.0"
HOW_TO_GET = "Run `python -m training prepare procedural ROOT`."


def procedural(root: Path, split: str) -> LabelledFrames:
    """Procedural scenes without unknown objects, rendered by `python -m training prepare`."""
    folder = root / "procedural"
    pairs = same_stem(folder / split, folder / f"{split}annot")
    if problems := missing_files(pairs, folder / split):
        refuse(f"procedural/{split}", problems, HOW_TO_GET)
    return labelled_frames("procedural", CITYSCAPES, pairs, classes_as_stored(19))


def render(root: Path, workers: int) -> None:
    """Render what is missing of the scenes to root/procedural/{train,val} and {train,val}annot."""
    for split, count in SEQUENCES.items():
        folders = [root / "procedural" / split, root / "procedural" / f"{split}annot"]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        draw = partial(_render_sequence, folders[0], folders[1], FRAMES[split])
        seeds = range(FIRST_SEED[split], FIRST_SEED[split] + count)
        in_parallel(draw, seeds, workers, f"procedural {split}")


def _render_sequence(images: Path, labels: Path, frames: Sequence[int], seed: int) -> None:
    names = [f"{seed:06d}_{index:03d}" for index in frames]
    # The image is written last: where it is, its label is whole.
    if all((images / f"{name}.jpg").is_file() for name in names):
        return
    sequence = RoadSequence(seed, size=SCENE_SIZE, anomalies=False)
    for name, index in zip(names, frames, strict=True):
        frame = sequence.frame(index)
        cv2.imwrite(str(labels / f"{name}.png"), frame.labels)
        draft = images / f".{name}.jpg"
        cv2.imwrite(
            str(draft),
            cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, 92],
        )
        draft.replace(images / f"{name}.jpg")


def _open(root: Path, split: str) -> AnomalyFrames:
    frames = procedural(root, split)
    title = f"Procedural scenes {split}"
    return closed_set(frames, f"procedural/{split}", title, source=SOURCE)


def drives(
    name: str, title: str, seeds: Sequence[int], frames: Sequence[int], *, timed: bool = False
) -> AnomalyFrames:
    """Frames of drives past unknown objects, 480x640, drawn when they are read.

    timed: every frame of the camera is there, so that latency-aware scores make sense.
    """
    shots = [(seed, index) for seed in seeds for index in frames]

    def read(index: int) -> AnomalySample:
        seed, number = shots[index]
        frame = _drive(seed).frame(number)
        return AnomalySample(names[index], frame.image, frame.anomaly, frame.labels)

    names = tuple(f"{seed:06d}_{index:03d}" for seed, index in shots)
    times = tuple((f"{seed:06d}", index / FRAMES_PER_SECOND) for seed, index in shots)
    return AnomalyFrames(
        name=name,
        title=title,
        names=names,
        read=read,
        space=CITYSCAPES,
        protocols=("pooled", "smiyc_anomaly", "false_regions", *CLOSED_SET_PROTOCOLS),
        times=times if timed else None,
        source=SOURCE,
    )


@lru_cache(maxsize=2)  # frames are mostly read drive by drive
def _drive(seed: int) -> RoadSequence:
    return RoadSequence(seed, frames_per_second=FRAMES_PER_SECOND, anomalies=True)


def _open_drives(root: Path, split: str) -> AnomalyFrames:
    name = f"procedural_anomalies/{split}"
    return drives(name, f"Procedural drives {split}", DRIVE_SEEDS[split], DRIVE_FRAMES)


def _open_recordings(root: Path, split: str) -> AnomalyFrames:
    name, title = f"procedural_recordings/{split}", f"Procedural recordings {split}"
    return drives(name, title, RECORDING_SEEDS[split], RECORDING_FRAMES, timed=True)


DATASETS = (
    AnomalyDataset("procedural", "Procedural scenes", ("val", "train"), _open, HOW_TO_GET),
    AnomalyDataset(
        "procedural_anomalies",
        "Procedural drives",
        ("val", "test"),
        _open_drives,
        "It needs no data.",
    ),
    AnomalyDataset(
        "procedural_recordings",
        "Procedural recordings at 15 frames a second",
        ("val", "test"),
        _open_recordings,
        "It needs no data.",
    ),
)
