"""IDD-Lite (Varma et al., WACV 2019): Indian roads at 320x227, 7 classes."""

from __future__ import annotations

from pathlib import Path

from training.data.anomaly_frames import AnomalyDataset, AnomalyFrames, closed_set
from training.data.frame_files import (
    FramePair,
    find_folder,
    image_paths,
    labelled_frames,
    missing_files,
    not_found,
    refuse,
    same_stem,
)
from training.data.label_meaning import classes_as_stored
from training.data.label_spaces import IDD_LITE
from training.data.labelled_frames import LabelledFrames

PUBLISHED = ("idd20k_lite",)
COPY = "idd_lite"
MEANING = classes_as_stored(len(IDD_LITE.names))
SOURCE = "IDD-Lite, Varma et al., WACV 2019; registration, research terms"
HOW_TO_GET = (
    "Register at https://idd.insaan.iiit.ac.in (research terms), choose IDD Lite and unpack"
    " idd20k_lite/ into ROOT."
)


def idd_lite(root: Path, split: str) -> LabelledFrames:
    """IDD-Lite 320x227 (train 1403 or 1404, val 204), 7 classes."""
    folder = find_folder(root, PUBLISHED)
    if folder is not None:
        images = folder / "leftImg8bit" / split
        pairs = [
            _published_pair(folder / "gtFine" / split, path)
            for path in image_paths(images, deep=True)
            if path.stem.endswith("_image")
        ]
    elif (root / COPY).is_dir():
        images = root / COPY / split
        pairs = same_stem(images, root / COPY / f"{split}annot")
    else:
        refuse(f"idd_lite/{split}", [not_found(root, (*PUBLISHED, COPY))], HOW_TO_GET)
    if problems := missing_files(pairs, images):
        refuse(f"idd_lite/{split}", problems, HOW_TO_GET)
    return labelled_frames("idd_lite", IDD_LITE, pairs, MEANING)


def _published_pair(labels: Path, image: Path) -> FramePair:
    """SEQUENCE/FRAME_image.jpg and SEQUENCE/FRAME_label.png."""
    sequence, frame = image.parent.name, image.stem.removesuffix("_image")
    return FramePair(f"{sequence}/{frame}", image, labels / sequence / f"{frame}_label.png")


def _open(root: Path, split: str) -> AnomalyFrames:
    frames = idd_lite(root, split)
    return closed_set(frames, f"idd_lite/{split}", f"IDD-Lite {split}", source=SOURCE)


DATASETS = (AnomalyDataset("idd_lite", "IDD-Lite", ("val", "train"), _open, HOW_TO_GET),)
