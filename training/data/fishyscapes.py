"""Fishyscapes (Blum et al., IJCV 2021), the public validation parts: Static and Lost & Found."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from training.data.anomaly_frames import AnomalyDataset, AnomalyFrames, AnomalySample
from training.data.cityscapes import FOLDERS as CITYSCAPES_FOLDERS
from training.data.folder import plain_pairs
from training.data.frame_files import (
    FramePair,
    anomaly_frames,
    find_folder,
    missing_files,
    not_found,
    read_frame,
    refuse,
)
from training.data.label_meaning import ANOMALY_LABELS
from training.data.labelled_frames import DatasetError
from training.data.lost_and_found import FOLDERS as LOST_AND_FOUND_FOLDERS
from training.data.lost_and_found import frame_id, images_of

STATIC_FOLDERS = ("fs_val_v3", "fs_val_v2", "fs_val_v1")  # objects ever better blended in
STATIC_COPIES = ("fishyscapes_static", "FS_Static", "samples/FS_Static")
STATIC_FRAMES = 30
FOUND_FOLDERS = ("fishyscapes_lostandfound", "dataset_FishyLAF/labels/val")
FOUND_COPIES = ("fishyscapes_lost_and_found", "FS_LostAndFound", "samples/FS_LostAndFound")
FOUND_FRAMES = 100
# 0000_04_Maurener_Weg_8_000000_000030_labels.png; the obstacle benchmark drops the number.
FOUND_LABEL = re.compile(r"(?:\d{4}_)?(\d{2}_.+_\d{6}_\d{6})_(?:fishy-)?labels")
STATIC_LABEL = re.compile(r"\d{4}_(([a-z]+)_\d{6}_\d{6})_labels")
PROTOCOLS = ("fishyscapes", "smiyc_anomaly")
SOURCE = "Fishyscapes, Blum et al., IJCV 2021"
HOW_TO_GET_STATIC = (
    "Unpack fs_val_v3.zip of https://fishyscapes.com/dataset into ROOT/fs_val_v3/; its objects are"
    " added to Cityscapes val (registration, non-commercial research), expected in"
    " ROOT/cityscapes/leftImg8bit/val/. A finished copy works too:"
    " ROOT/fishyscapes_static/{images,labels}/."
)
HOW_TO_GET_FOUND = (
    "Unpack fishyscapes_lostandfound.zip (labels, CC BY 4.0) of https://fishyscapes.com/dataset"
    " into ROOT/fishyscapes_lostandfound/; the images are those of Lost and Found (non-commercial"
    " research), expected in ROOT/lost_and_found/leftImg8bit/{train,test}/. A finished copy works"
    " too: ROOT/fishyscapes_lost_and_found/{images,labels}/."
)


def _open_static(root: Path, split: str) -> AnomalyFrames:
    name = f"fishyscapes_static/{split}"
    overlays = find_folder(root, STATIC_FOLDERS)
    copy = find_folder(root, STATIC_COPIES)
    if overlays is not None:
        return _blended(name, root, overlays)
    if copy is None:
        problem = not_found(root, (STATIC_FOLDERS[0], *STATIC_COPIES))
        refuse(name, [problem], HOW_TO_GET_STATIC)
    pairs = plain_pairs(copy)
    if problems := missing_files(pairs, copy):
        refuse(name, problems, HOW_TO_GET_STATIC)
    return anomaly_frames(
        name, "Fishyscapes Static", pairs, ANOMALY_LABELS, protocols=PROTOCOLS, source=SOURCE
    )


def _blended(name: str, root: Path, overlays: Path) -> AnomalyFrames:
    """Cityscapes val frames plus the published differences NUMBER_FRAME_rgb.npz."""
    cityscapes = find_folder(root, CITYSCAPES_FOLDERS)
    base = (cityscapes or root / CITYSCAPES_FOLDERS[0]) / "leftImg8bit" / "val"
    pairs = []
    for label in sorted(overlays.rglob("*_labels.png")):
        if match := STATIC_LABEL.fullmatch(label.stem):
            image = base / match[2] / f"{match[1]}_leftImg8bit.png"
            pairs.append(FramePair(label.stem.removesuffix("_labels"), image, label))
    problems = _problems(pairs, overlays, STATIC_FRAMES)
    without = [pair.name for pair in pairs if not _overlay(pair).is_file()]
    if without:
        problems.append(f"{len(without)} frames have no difference; expected {without[0]}_rgb.npz")
    if problems:
        refuse(name, problems, HOW_TO_GET_STATIC)

    def read(index: int) -> AnomalySample:
        pair = pairs[index]
        image, anomaly, _ = read_frame(pair, ANOMALY_LABELS)
        file = _overlay(pair)
        try:
            with np.load(file, allow_pickle=False) as stored:
                difference = stored["rgb"].astype(np.int32)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{file} does not read as an array rgb: {error}") from error
        if difference.shape != image.shape:
            raise DatasetError(f"{file}: shape {difference.shape}; expected {image.shape}")
        blended = np.clip(image + difference, 0, 255).astype(np.uint8)
        return AnomalySample(pair.name, blended, anomaly)

    return AnomalyFrames(
        name=name,
        title=f"Fishyscapes Static ({overlays.name})",
        names=tuple(pair.name for pair in pairs),
        read=read,
        protocols=PROTOCOLS,
        source=f"{SOURCE}; on Cityscapes val (non-commercial research)",
    )


def _overlay(pair: FramePair) -> Path:
    return pair.label.with_name(f"{pair.name}_rgb.npz")


def _open_found(root: Path, split: str) -> AnomalyFrames:
    name = f"fishyscapes_lost_and_found/{split}"
    labels = find_folder(root, FOUND_FOLDERS)
    copy = find_folder(root, FOUND_COPIES)
    problems: list[str] = []
    if labels is not None:
        pairs, problems = _found_pairs(root, labels)
        problems += _problems(pairs, labels, FOUND_FRAMES)
    elif copy is not None:
        pairs = plain_pairs(copy)
        problems = missing_files(pairs, copy)
    else:
        problems = [not_found(root, (*FOUND_FOLDERS, *FOUND_COPIES))]
    if problems:
        refuse(name, problems, HOW_TO_GET_FOUND)
    return anomaly_frames(
        name,
        "Fishyscapes Lost & Found",
        pairs,
        ANOMALY_LABELS,
        protocols=PROTOCOLS,
        source=f"{SOURCE}; images of Lost and Found (non-commercial research)",
    )


def _found_pairs(root: Path, labels: Path) -> tuple[list[FramePair], list[str]]:
    base = find_folder(root, LOST_AND_FOUND_FOLDERS)
    if base is None:
        return [], [not_found(root, LOST_AND_FOUND_FOLDERS)]
    images = {frame_id(path): path for part in ("train", "test") for path in images_of(base, part)}
    pairs = []
    for label in sorted(labels.rglob("*labels.png")):
        if match := FOUND_LABEL.fullmatch(label.stem):
            absent = base / "leftImg8bit" / "train" / f"{match[1]}_leftImg8bit.png"
            pairs.append(FramePair(match[1], images.get(match[1], absent), label))
    return pairs, []


def _problems(pairs: list[FramePair], folder: Path, frames: int) -> list[str]:
    problems = missing_files(pairs, folder)
    if pairs and len(pairs) != frames:
        problems.append(f"{len(pairs)} frames in {folder}; expected {frames}")
    return problems


DATASETS = (
    AnomalyDataset(
        "fishyscapes_static", "Fishyscapes Static", ("val",), _open_static, HOW_TO_GET_STATIC
    ),
    AnomalyDataset(
        "fishyscapes_lost_and_found",
        "Fishyscapes Lost & Found",
        ("val",),
        _open_found,
        HOW_TO_GET_FOUND,
    ),
)
