"""Lost and Found (Pinggera et al., IROS 2016): small obstacles before a Cityscapes camera."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from training.data.anomaly_frames import AnomalyDataset, AnomalyFrames, AnomalySample, Exclusion
from training.data.cityscapes import FOLDERS as CITYSCAPES_FOLDERS
from training.data.cityscapes import OUT_OF_VIEW_IDS
from training.data.frame_files import (
    FramePair,
    anomaly_frames,
    find_folder,
    missing_files,
    not_found,
    read_frame,
    read_ids,
    refuse,
    shorten,
)
from training.data.label_meaning import LabelMeaning
from training.data.label_spaces import VOID

FOLDERS = ("lost_and_found", "LostAndFound", "dataset_LostAndFound", "lostandfound")
IMAGE_SUFFIXES = ("png", "webp", "jpg")  # tried in this order
FRAMES = {"test": 1203, "train": 1036}
# Positions, in the sorted list of all frames, of labels that hold nothing (SegmentMeIfYouCan).
EMPTY = {
    "test": (17, 37, 55, 72, 91, 110, 129, 153, 174, 197, 218, 353, 490, 618, 686, 792, 793),
    "train": (44, 67, 88, 109, 131, 614),
}
OBSTACLES = range(2, 201)
# Benchmarks of obstacles score the road and what lies on it.
ON_ROAD = LabelMeaning(known={1: 0}, anomaly=OBSTACLES, void=(0,))
# Lis et al. score all that the camera sees: the background too is normal.
IN_VIEW = LabelMeaning(known={0: 0, 1: 0}, anomaly=OBSTACLES, void=())
NAME = re.compile(r"(\d{2})_(.*)_(\d{6})_(\d{6})")  # scene, its name, sequence, time
SOURCE = "Lost and Found, Pinggera et al., IROS 2016; non-commercial research"
HOW_TO_GET = (
    "Get leftImg8bit.zip and gtCoarse.zip of"
    " http://www.6d-vision.com/lostandfounddataset (non-commercial research) and unpack both into"
    " ROOT/lost_and_found/."
)
HOW_TO_GET_VIEW = (
    "The view is that of a Cityscapes frame: bring one gtFine label file of Cityscapes (below"
    " ROOT/cityscapes/gtFine/), or a gray picture ROOT/lost_and_found/roi.png that is 0 on the"
    " vehicle and the picture's border."
)


def frame_pairs(name: str, root: Path, split: str) -> tuple[list[FramePair], tuple[Exclusion, ...]]:
    """All frames of train or test whose label is not empty, and those left out for that.

    Raises DatasetError unless the split is complete: the benchmarks count positions in it.
    """
    folder = find_folder(root, FOLDERS)
    if folder is None:
        refuse(name, [not_found(root, FOLDERS)], HOW_TO_GET)
    pairs = [_pair(folder, split, path) for path in images_of(folder, split)]
    pairs.sort(key=lambda pair: pair.name)
    problems = missing_files(pairs, folder / "leftImg8bit" / split)
    if pairs and len(pairs) != FRAMES[split]:
        problems.append(
            f"{len(pairs)} images in {folder / 'leftImg8bit' / split}; expected {FRAMES[split]},"
            " since the frames to leave out are known by position"
        )
    if strange := [pair.name for pair in pairs if not NAME.fullmatch(pair.name)]:
        problems.append(f"file names other than SCENE_NAME_SEQUENCE_TIME: {shorten(strange)}")
    if problems:
        refuse(name, problems, HOW_TO_GET)
    excluded = tuple(
        Exclusion(pairs[position].name, "its label is empty") for position in EMPTY[split]
    )
    names = {exclusion.name for exclusion in excluded}
    return [pair for pair in pairs if pair.name not in names], excluded


def images_of(folder: Path, split: str) -> list[Path]:
    """The left images of a split, of the first file type that there is."""
    for suffix in IMAGE_SUFFIXES:
        found = list((folder / "leftImg8bit" / split).glob(f"*/*_leftImg8bit.{suffix}"))
        if found:
            return found
    return []


def frame_id(image: Path) -> str:
    """SCENE_NAME_SEQUENCE_TIME of an image file."""
    return image.stem.removesuffix("_leftImg8bit")


def _pair(folder: Path, split: str, image: Path) -> FramePair:
    name = frame_id(image)
    label = f"{name}_gtCoarse_labelIds.png"
    return FramePair(name, image, folder / "gtCoarse" / split / image.parent.name / label)


def _open(root: Path, split: str) -> AnomalyFrames:
    name = f"lost_and_found/{split}"
    part = split.removesuffix("_interesting")
    pairs, excluded = frame_pairs(name, root, part)
    if part == split:
        return anomaly_frames(
            name,
            f"Lost and Found {split}",
            pairs,
            ON_ROAD,
            protocols=("smiyc_obstacle", "pooled"),
            excluded=excluded,
            source=SOURCE,
        )
    return _in_view(name, f"Lost and Found {part}, last frames", root, last_frames(pairs), excluded)


def last_frames(pairs: Sequence[FramePair]) -> list[FramePair]:
    """The last frame of each sequence: there the obstacle is nearest (Lis et al., ICCV 2019)."""
    latest: dict[tuple[str, str], FramePair] = {}
    for pair in sorted(pairs, key=lambda pair: pair.name):
        match = NAME.fullmatch(pair.name)
        assert match is not None  # checked when the frames were found
        latest[match[1], match[3]] = pair
    return sorted(latest.values(), key=lambda pair: pair.name)


def _in_view(
    name: str,
    title: str,
    root: Path,
    pairs: Sequence[FramePair],
    excluded: tuple[Exclusion, ...],
) -> AnomalyFrames:
    """Frames scored wherever the camera sees the road's surroundings, not itself."""
    view = _view(name, root)

    def read(index: int) -> AnomalySample:
        pair = pairs[index]
        image, anomaly, _ = read_frame(pair, IN_VIEW)
        rows, columns = anomaly.shape
        seen = cv2.resize(view, (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
        return AnomalySample(pair.name, image, np.where(seen > 0, anomaly, VOID).astype(np.uint8))

    return AnomalyFrames(
        name=name,
        title=title,
        names=tuple(pair.name for pair in pairs),
        read=read,
        protocols=("resynthesis_roc", "pooled"),
        excluded=excluded,
        source=SOURCE,
    )


def _view(name: str, root: Path) -> np.ndarray:
    """uint8 [h, w], 0 where the camera sees its own vehicle or the border of the rectification."""
    folder = find_folder(root, FOLDERS)
    if folder is not None and (folder / "roi.png").is_file():
        return (read_ids(folder / "roi.png") > 0).astype(np.uint8)
    cityscapes = find_folder(root, CITYSCAPES_FOLDERS)
    if cityscapes is not None:
        labels = sorted((cityscapes / "gtFine").glob("*/*/*_gtFine_labelIds.png"))
        if labels:
            return (~np.isin(read_ids(labels[0]), OUT_OF_VIEW_IDS)).astype(np.uint8)
    refuse(name, ["nothing tells which part of the image is scored"], HOW_TO_GET_VIEW)


DATASETS = (
    AnomalyDataset(
        "lost_and_found",
        "Lost and Found",
        ("test", "train", "test_interesting", "train_interesting"),
        _open,
        HOW_TO_GET,
    ),
)
