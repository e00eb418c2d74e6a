"""Cityscapes (Cordts et al., CVPR 2016): the official folders, and small copies of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data.anomaly_frames import (
    CLOSED_SET_PROTOCOLS,
    AnomalyDataset,
    AnomalyFrames,
    closed_set,
)
from training.data.frame_files import (
    FramePair,
    find_folder,
    image_paths,
    labelled_frames,
    missing_files,
    not_found,
    read_ids,
    refuse,
    same_stem,
)
from training.data.instances import annotated_objects
from training.data.label_meaning import LabelMeaning, classes_as_stored
from training.data.label_spaces import CITYSCAPES
from training.data.labelled_frames import LabelledFrames

FOLDERS = ("cityscapes", "Cityscapes", "CityScapes")
# labelIds that have a train id, in the order of the train ids.
EVALUATED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
OUT_OF_VIEW_IDS = (1, 2, 3)  # ego vehicle, rectification border, out of ROI
LABEL_IDS = LabelMeaning(
    known={label_id: train_id for train_id, label_id in enumerate(EVALUATED_IDS)},
    void=tuple(label_id for label_id in range(34) if label_id not in EVALUATED_IDS),
)
TRAIN_IDS = classes_as_stored(len(EVALUATED_IDS))
PROTOCOLS = (*CLOSED_SET_PROTOCOLS, "failure_detection")
SOURCE = "Cityscapes, Cordts et al., CVPR 2016; registration, non-commercial research"
HOW_TO_GET = (
    "Register at https://www.cityscapes-dataset.com (non-commercial research, no redistribution)"
    " and unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into ROOT/cityscapes/."
)
HOW_TO_GET_SMALL = (
    "Convert Cityscapes with `python -m training prepare convert`, or lay out 256x256 copies as"
    " ROOT/cityscapes256/{train,val}/NAME.jpg with train ids in {train,val}annot/NAME.png."
)


def cityscapes(root: Path, split: str) -> LabelledFrames:
    """Cityscapes 2048x1024 (train 2975, val 500, test 1525 whose published labels are all void).

    Instances are there where the files of their ids are unpacked beside the labels.
    """
    folder = find_folder(root, FOLDERS)
    if folder is None:
        refuse(f"cityscapes/{split}", [not_found(root, FOLDERS)], HOW_TO_GET)
    images = folder / "leftImg8bit" / split
    pairs = [
        FramePair(
            f"{path.parent.name}/{path.stem.removesuffix('_leftImg8bit')}",
            path,
            folder / "gtFine" / split / path.parent.name / label_file(path.stem),
        )
        for path in image_paths(images, deep=True)
        if path.stem.endswith("_leftImg8bit")
    ]
    if problems := missing_files(pairs, images):
        refuse(f"cityscapes/{split}", problems, HOW_TO_GET)

    def instances(index: int) -> np.ndarray:
        return annotated_objects(read_ids(_instance_file(pairs[index].label)))

    def region(index: int) -> np.ndarray:
        return ~np.isin(read_ids(pairs[index].label), OUT_OF_VIEW_IDS)

    annotated = _instance_file(pairs[0].label).is_file()
    frames = labelled_frames("cityscapes", CITYSCAPES, pairs, LABEL_IDS)
    return replace(frames, instances=instances if annotated else None, region=region)


def _instance_file(label: Path) -> Path:
    return label.with_name(label.name.replace("_labelIds", "_instanceIds"))


def label_file(image_stem: str) -> str:
    """The label file that belongs to an image file."""
    return image_stem.removesuffix("_leftImg8bit") + "_gtFine_labelIds.png"


def cityscapes256(root: Path, split: str) -> LabelledFrames:
    """Cityscapes squashed to 256x256 (train 2975, val 500)."""
    folder = root / "cityscapes256"
    pairs = same_stem(folder / split, folder / f"{split}annot")
    if problems := missing_files(pairs, folder / split):
        refuse(f"cityscapes256/{split}", problems, HOW_TO_GET_SMALL)
    return labelled_frames("cityscapes256", CITYSCAPES, pairs, TRAIN_IDS, stretch=2.0)


def cityscapes_sharp(root: Path, split: str) -> LabelledFrames:
    """A few Cityscapes training frames at 2048x1024, so that sharpness varies in training."""
    folder = root / "samples" / "closed_set" / "cityscapes_train8"
    pairs = same_stem(folder / "images", folder / "labels")
    if problems := missing_files(pairs, folder / "images"):
        refuse(f"cityscapes_sharp/{split}", problems, HOW_TO_GET_SMALL)
    return labelled_frames(f"cityscapes_sharp_{split}", CITYSCAPES, pairs, TRAIN_IDS)


def _open(root: Path, split: str) -> AnomalyFrames:
    return closed_set(
        cityscapes(root, split),
        f"cityscapes/{split}",
        f"Cityscapes {split}",
        protocols=PROTOCOLS,
        source=SOURCE,
    )


def _open_small(root: Path, split: str) -> AnomalyFrames:
    return closed_set(
        cityscapes256(root, split),
        f"cityscapes256/{split}",
        f"Cityscapes {split} at 256x256",
        protocols=PROTOCOLS,
        source=f"{SOURCE}; squashed copy, labels recovered from colours",
    )


DATASETS = (
    AnomalyDataset("cityscapes", "Cityscapes", ("val", "train", "test"), _open, HOW_TO_GET),
    AnomalyDataset(
        "cityscapes256", "Cityscapes at 256x256", ("val", "train"), _open_small, HOW_TO_GET_SMALL
    ),
)
