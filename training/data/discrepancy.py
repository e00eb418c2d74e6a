"""Making synthetic discrepancies: labels swapped, drawn by a generator (Lis et al., ICCV 2019)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from anomaly_seg_ros.replay.writers import png_bytes, write_atomically
from training.data.discrepancy_frames import (
    SETTINGS_FILE,
    DiscrepancySettings,
    names_file,
    open_discrepancies,
    read_map,
)
from training.data.discrepancy_pictures import SheetRow, contact_sheet, palette_of
from training.data.discrepancy_work import (
    Job,
    Render,
    draw_swap,
    labels_before,
    opened,
    predict_labels,
    synthesise,
)
from training.data.frame_files import read_ids
from training.data.instances import object_classes
from training.data.label_swap import OBJECT_FRACTION, SwapRule
from training.data.labelled_frames import DatasetError, LabelledFrames
from training.data.parallel import in_parallel, one_opencv_thread
from training.data.predicted_labels import LabelPredictor

PAPER_QUALITY = {"jpg": 75, "webp": 90}  # of the paper's synthetic images, and of its newer ones
INSTANCES = ("auto", "annotated", "components")
SHEET_FRAMES = 6


@dataclass(frozen=True)
class DiscrepancyRequest:
    """What to make. dataset: a name of `catalogue.TRAINING_SETS`. generator: what renders, for the
    record: a folder holds the images of one.

    size: rows and columns, None = the true shape of the first frame. instances: auto takes the
    annotated ones where the dataset has them. mask: picture of any size, errors count where it is
    not 0. background: swap background components too. limit: only the first frames. quality: None =
    as the paper. fraction, at_least_one: see SwapRule.
    """

    dataset: str
    generator: str
    split: str = "train"
    size: tuple[int, int] | None = None
    seed: int = 0
    fraction: float = OBJECT_FRACTION
    at_least_one: bool = False
    background: bool = False
    instances: str = "auto"
    mask: Path | None = None
    format: str = "jpg"
    quality: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class DiscrepancyReport:
    """frames: in the split. without_errors: frames whose swaps changed nothing, mostly for want of
    two objects. error_share: of the pixels that count."""

    frames: int
    without_errors: int
    error_share: float

    @property
    def class_weights(self) -> tuple[float, float]:
        """Loss weights of right and wrong, 1 / ln(1.02 + share) (ENet, Paszke et al., 2016)."""
        known, wrong = (
            1 / math.log(1.02 + share) for share in (1 - self.error_share, self.error_share)
        )
        return known, wrong

    def __str__(self) -> str:
        known, wrong = self.class_weights
        return (
            f"{self.frames} frames, {self.without_errors} of them without an error;"
            f" {100 * self.error_share:.2f} % of the pixels are errors"
            f" (class weights by ENet's rule: {known:.4f}, {wrong:.4f})"
        )


def make_discrepancies(
    root: Path,
    folder: Path,
    request: DiscrepancyRequest,
    render: Render,
    *,
    predictor: LabelPredictor | None = None,
    workers: int = 1,
    batch: int = 4,
) -> DiscrepancyReport:
    """Write a split of synthetic discrepancies to `folder` (see `discrepancy_frames`).

    root: folder that holds the datasets. predictor: swaps start from its labels instead of the
    true ones, and objects are connected components of them. A frame depends on the request and its
    own name alone: neither on workers and batch nor on where a stopped run goes on. Swaps are drawn
    by processes; `render` gets `batch` frames at a time in this one while threads read and encode.
    Ends with a picture of some frames, contact_sheet_SPLIT.png. Raises DatasetError, also for a
    folder that holds other settings.
    """
    if min(workers, batch) < 1:
        raise DatasetError(f"{workers} workers, batches of {batch}; expected 1 or more of both")
    opened.cache_clear()  # the dataset may have changed since an earlier call of this process
    job = _plan(root, folder, request, predictor)
    names = job.frames.names[: request.limit]
    _begin(job, names)
    with one_opencv_thread():
        _make_missing(job, names, render, predictor, workers, batch)
        counts = in_parallel(partial(_count, job), names, workers, f"count {_title(job)}")
        errors = [wrong for wrong, _ in counts]
        _draw_sheet(job, errors)
    share = sum(errors) / max(1, sum(pixels for _, pixels in counts))
    return DiscrepancyReport(len(names), errors.count(0), share)


def _make_missing(
    job: Job,
    names: Sequence[str],
    render: Render,
    predictor: LabelPredictor | None,
    workers: int,
    batch: int,
) -> None:
    """Predict, swap and synthesise what is not there yet."""
    files = [job.files(name) for name in names]
    if predictor is not None:
        unseen = [index for index, file in enumerate(files) if not file.predicted.is_file()]
        predict_labels(job, unseen, predictor.predict)
    undrawn = [
        index
        for index, file in enumerate(files)
        if not all(path.is_file() for path in file.drawn(job.settings))
    ]
    in_parallel(partial(draw_swap, job), undrawn, workers, f"swap {_title(job)}")
    unrendered = [
        name for name, file in zip(names, files, strict=True) if not file.synthesis.is_file()
    ]
    synthesise(job, unrendered, render, workers=workers, batch=batch)


def _title(job: Job) -> str:
    return f"{job.settings.dataset}/{job.split}"


def _plan(
    root: Path,
    folder: Path,
    request: DiscrepancyRequest,
    predictor: LabelPredictor | None,
) -> Job:
    for name in ("seed", "limit", "quality"):
        value, least = getattr(request, name), 0 if name == "seed" else 1
        if value is not None and value < least:
            raise DatasetError(f"{name} is {value}; expected {least} or more")
    frames = opened(root, request.dataset, request.split)
    quality = request.quality or PAPER_QUALITY.get(request.format, 0)
    if request.format not in PAPER_QUALITY or quality > 100:
        raise DatasetError(
            f"format {request.format!r} at quality {quality}; expected one of"
            f" {', '.join(PAPER_QUALITY)} at 1..100"
        )
    space = frames.space if predictor is None else predictor.space
    region = ["out of view"] if frames.region is not None else []
    if request.mask is not None:
        read_ids(request.mask)  # a mask that is none is told before any work
        region.append(f"mask {hashlib.sha256(request.mask.read_bytes()).hexdigest()[:16]}")
    settings = DiscrepancySettings(
        dataset=request.dataset,
        generator=request.generator,
        size=_size(frames, request.size),
        classes=space.names,
        rule=SwapRule(
            len(space.names), fraction=request.fraction, at_least_one=request.at_least_one
        ),
        instances=_instances(frames, request.instances, predictor),
        background=request.background,
        seed=request.seed,
        region=", ".join(region) or None,
        predictions=None if predictor is None else predictor.name,
        format=request.format,
        quality=quality,
    )
    if settings.instances == "components":
        object_classes(space.names)
    return Job(root, request.split, folder, settings, space, request.mask)


def _size(frames: LabelledFrames, wanted: tuple[int, int] | None) -> tuple[int, int]:
    rows, columns = frames.read(0)[1].shape
    true = (rows, round(columns * frames.stretch))
    if wanted is not None and (wanted[0] > wanted[1]) != (true[0] > true[1]):
        raise DatasetError(
            f"size {wanted[0]}x{wanted[1]} for frames of {true[0]}x{true[1]}; expected HEIGHTxWIDTH"
            f" of about that shape: did you mean {wanted[1]}x{wanted[0]}?"
        )
    return wanted or true


def _instances(frames: LabelledFrames, wanted: str, predictor: LabelPredictor | None) -> str:
    if wanted not in INSTANCES:
        raise DatasetError(f"instances {wanted!r}; expected one of {', '.join(INSTANCES)}")
    annotated = frames.instances is not None and predictor is None
    if wanted == "annotated" and not annotated:
        reason = "predicted labels have none" if predictor else "no files of instance ids"
        raise DatasetError(
            f"dataset {frames.name} has no annotated instances here: {reason}; choose components"
        )
    return "annotated" if annotated and wanted != "components" else "components"


def _begin(job: Job, names: Sequence[str]) -> None:
    """Describe the folder, or check that it was made the same way."""
    found = DiscrepancySettings.read(job.folder)
    if found is None and (job.folder / "labels").exists():
        raise DatasetError(
            f"{job.folder} holds labels/ but no {SETTINGS_FILE}, so it was not made here;"
            " choose another folder"
        )
    if found is not None and (lines := found.differences(job.settings)):
        listed = "".join(f"\n  - {line}" for line in lines)
        raise DatasetError(
            f"{job.folder} was made with other settings:{listed}\nTake the same ones, or another"
            " folder."
        )
    job.settings.write(job.folder)
    text = "".join(f"{name}\n" for name in names)
    write_atomically(names_file(job.folder, job.split), text.encode())


def _count(job: Job, name: str) -> tuple[int, int]:
    """Wrong pixels of a frame, and pixels that count."""
    files, settings = job.files(name), job.settings
    errors = int(np.count_nonzero(read_map(files.errors, settings.size)))
    if settings.region is None:
        return errors, math.prod(settings.size)
    return errors, int(np.count_nonzero(read_map(files.region, settings.size)))


def _draw_sheet(job: Job, errors: Sequence[int]) -> None:
    """Some frames, evenly over those with errors, or over all where none has."""
    candidates = np.flatnonzero(errors) if any(errors) else np.arange(len(errors))
    places = np.linspace(0, len(candidates) - 1, min(SHEET_FRAMES, len(candidates)))
    frames = open_discrepancies(job.folder, job.split)
    palette = palette_of(job.space)
    rows = []
    for index in candidates[places.round().astype(int)].tolist():
        sample = frames.read(index)
        rows.append(
            SheetRow(
                sample.name,
                sample.image,
                palette[labels_before(job, index)],
                palette[sample.labels],
                sample.synthesis,
                sample.errors,
            )
        )
    sheet = png_bytes(contact_sheet(rows))
    write_atomically(job.folder / f"contact_sheet_{job.split}.png", sheet)
