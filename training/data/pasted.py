"""Labelled sets with unknown objects pasted in, of the cut-outs that no training sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from training.data import camvid, cityscapes, idd_lite
from training.data.anomaly_frames import AnomalyDataset, AnomalyFrames, AnomalySample
from training.data.labelled_frames import LabelledFrames
from training.data.outliers import Cutouts
from training.data.validation import frame_with_unknowns

SEED = 7
PROTOCOLS = ("pooled", "smiyc_anomaly", "error_detection", "segmentation")


def with_unknowns(
    frames: LabelledFrames,
    cutouts: Cutouts,
    seed: int = SEED,
    *,
    name: str = "",
    title: str = "",
    source: str = "",
) -> AnomalyFrames:
    """One to three objects pasted into each frame: frame i depends on (seed, i) alone."""

    def read(index: int) -> AnomalySample:
        image, anomaly, truth = frame_with_unknowns(frames, index, cutouts, seed=seed)
        return AnomalySample(frames.names[index], image, anomaly, truth)

    return AnomalyFrames(
        name=name or f"{frames.name}_pasted",
        title=title or f"{frames.name} with pasted objects",
        names=frames.names,
        read=read,
        space=frames.space,
        protocols=PROTOCOLS,
        source=source,
        stretch=frames.stretch,
    )


def _open(
    name: str,
    title: str,
    source: str,
    load: Callable[[Path, str], LabelledFrames],
    root: Path,
    split: str,
) -> AnomalyFrames:
    return with_unknowns(
        load(root, split),
        Cutouts.read(root / "cutouts", "val"),
        name=f"{name}/{split}",
        title=f"{title} {split} with pasted objects",
        source=f"{source}; cut-outs of this project's data, MIT and ImageNet terms",
    )


def _dataset(
    base: str,
    title: str,
    splits: tuple[str, ...],
    load: Callable[[Path, str], LabelledFrames],
    source: str,
    how_to_get: str,
) -> AnomalyDataset:
    name = f"{base}_pasted"
    return AnomalyDataset(
        name,
        f"{title} with pasted objects",
        splits,
        partial(_open, name, title, source, load),
        f"{how_to_get} The objects come from ROOT/cutouts/ (cutouts.csv and RGBA pictures).",
    )


DATASETS = (
    _dataset("camvid", "CamVid", ("val", "test"), camvid.camvid, camvid.SOURCE, camvid.HOW_TO_GET),
    _dataset(
        "cityscapes256",
        "Cityscapes at 256x256",
        ("val",),
        cityscapes.cityscapes256,
        cityscapes.SOURCE,
        cityscapes.HOW_TO_GET_SMALL,
    ),
    _dataset(
        "idd_lite",
        "IDD-Lite",
        ("val",),
        idd_lite.idd_lite,
        idd_lite.SOURCE,
        idd_lite.HOW_TO_GET,
    ),
)
