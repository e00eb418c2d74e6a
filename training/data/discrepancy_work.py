"""The work on each frame of synthetic discrepancies: predicting, swapping, synthesising."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from anomaly_seg_ros.replay.writers import png_bytes, write_atomically
from training.data.catalogue import TRAINING_SETS
from training.data.conversion import QUALITY, resized_image
from training.data.discrepancy_frames import (
    DiscrepancyFiles,
    DiscrepancySettings,
    files_of,
    read_map,
)
from training.data.discrepancy_pictures import palette_of
from training.data.frame_files import read_ids
from training.data.instances import (
    SMALLEST_BACKGROUND,
    SMALLEST_OBJECT,
    background_classes,
    components,
    object_classes,
)
from training.data.label_spaces import LabelSpace
from training.data.label_swap import swap_labels
from training.data.labelled_frames import DatasetError, LabelledFrames

Render = Callable[[np.ndarray], np.ndarray]
"""Labels uint8 [N, H, W], 255 void -> images uint8 [N, H, W, 3] RGB."""

IMAGE_QUALITY = 90  # webp, as the paper converts camera images


@dataclass(frozen=True)
class Job:
    """What the work on a split needs, frame by frame; it pickles. space: of the labels."""

    root: Path
    split: str
    folder: Path
    settings: DiscrepancySettings
    space: LabelSpace
    mask: Path | None = None

    @property
    def frames(self) -> LabelledFrames:
        """The dataset's, opened once in each process."""
        return opened(self.root, self.settings.dataset, self.split)

    def files(self, name: str) -> DiscrepancyFiles:
        """Where the frame's files are to lie."""
        return files_of(self.folder, self.split, name, self.settings)


@lru_cache(maxsize=2)
def opened(root: Path, dataset: str, split: str) -> LabelledFrames:
    """A split of `catalogue.TRAINING_SETS`. Raises DatasetError."""
    if dataset not in TRAINING_SETS:
        raise DatasetError(
            f"unknown dataset {dataset!r}; expected one with labels of classes to train on:"
            f" {', '.join(TRAINING_SETS)}"
        )
    return TRAINING_SETS[dataset](root, split)


def predict_labels(
    job: Job, indices: Sequence[int], predict: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Write what a network sees in some frames; see `predicted_labels.LabelPredictor`."""
    frames = job.frames
    for index in tqdm(indices, desc=f"predict {frames.name}/{job.split}", disable=not indices):
        image = resized_image(frames.read(index)[0], job.settings.size[::-1])
        write_atomically(job.files(frames.names[index]).predicted, png_bytes(predict(image)))


def draw_swap(job: Job, index: int) -> None:
    """Swap a frame's labels and write all of its files but the synthesis, the labels last."""
    settings, frames = job.settings, job.frames
    name = frames.names[index]
    labels, region = labels_before(job, index), _region(job, index)
    swap = swap_labels(
        labels,
        _objects(job, index, labels, region),
        frame_rng(settings.seed, name),
        settings.rule,
        background=_background(settings, labels, region),
        region=region,
    )
    files = job.files(name)
    picture = resized_image(frames.read(index)[0], settings.size[::-1])
    write_atomically(files.image, _encoded(picture, "webp", IMAGE_QUALITY))
    write_atomically(files.colours, png_bytes(palette_of(job.space)[swap.labels]))
    if region is not None:
        write_atomically(files.region, png_bytes(_black_and_white(region)))
    write_atomically(files.errors, png_bytes(_black_and_white(swap.errors)))
    write_atomically(files.labels, png_bytes(swap.labels))


def frame_rng(seed: int, name: str) -> np.random.Generator:
    """Random numbers of a frame: they depend on the seed and its name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng((seed, int.from_bytes(digest[:8], "little")))


def labels_before(job: Job, index: int) -> np.ndarray:
    """Labels that the swap starts from, uint8 [H, W]."""
    if job.settings.predictions is not None:
        return read_map(job.files(job.frames.names[index]).predicted, job.settings.size)
    return _nearest(job.frames.read(index)[1], job.settings.size)


def _objects(job: Job, index: int, labels: np.ndarray, region: np.ndarray | None) -> np.ndarray:
    settings, frames = job.settings, job.frames
    if settings.instances == "annotated" and frames.instances is not None:
        return _nearest(frames.instances(index), settings.size)
    classes = object_classes(settings.classes)
    return components(labels, classes, smallest=SMALLEST_OBJECT, region=region)


def _background(
    settings: DiscrepancySettings, labels: np.ndarray, region: np.ndarray | None
) -> np.ndarray | None:
    if not settings.background:
        return None
    classes = background_classes(settings.classes)
    return components(labels, classes, smallest=SMALLEST_BACKGROUND, region=region)


def _region(job: Job, index: int) -> np.ndarray | None:
    """Where errors count, bool [H, W], or None for everywhere."""
    parts = []
    if job.frames.region is not None:
        parts.append(job.frames.region(index))
    if job.mask is not None:
        parts.append(read_ids(job.mask) > 0)
    sized = [_nearest(part.astype(np.uint8), job.settings.size) > 0 for part in parts]
    return np.logical_and.reduce(sized) if sized else None


def synthesise(job: Job, names: Sequence[str], render: Render, *, workers: int, batch: int) -> None:
    """Render the swapped labels of some frames in batches, in this process.

    Threads read the next batch and write the last one meanwhile. Raises DatasetError when `render`
    returns anything but its images.
    """
    settings = job.settings

    def read(name: str) -> np.ndarray:
        return read_map(job.files(name).labels, settings.size)

    def write(name: str, image: np.ndarray) -> None:
        data = _encoded(image, settings.format, settings.quality)
        write_atomically(job.files(name).synthesis, data)

    batches = [names[start : start + batch] for start in range(0, len(names), batch)]
    title = f"synthesise {job.frames.name}/{job.split}"
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(names), desc=title, disable=not names) as bar,
    ):
        reading: Iterable[np.ndarray] = pool.map(read, batches[0]) if batches else ()
        writing: Iterable[None] = ()
        for number, part in enumerate(batches):
            labels = np.stack(list(reading))
            if number + 1 < len(batches):
                reading = pool.map(read, batches[number + 1])
            images = render(labels)
            if images.shape != (*labels.shape, 3) or images.dtype != np.uint8:
                raise DatasetError(
                    f"the generator gave {images.dtype} {list(images.shape)}; expected uint8"
                    f" {[*labels.shape, 3]}"
                )
            list(writing)  # an error of writing is raised here
            writing = pool.map(write, part, images)
            bar.update(len(part))
        list(writing)


def _nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _black_and_white(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def _encoded(image: np.ndarray, kind: str, quality: int) -> bytes:
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(f".{kind}", pixels, [QUALITY[kind], quality])
    if not done:
        raise DatasetError(f"OpenCV cannot write {list(image.shape)} as {kind}")
    return data.tobytes()
