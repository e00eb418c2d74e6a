"""Tiny datasets in the folders and file names that their authors publish."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

SIZE = (8, 16)  # rows, columns


def picture(number: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image that differs with the number, uint8 [H, W, 3]."""
    return np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)


def stripes(values: Sequence[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A label of vertical stripes, one per value, uint8 [H, W]."""
    columns = np.arange(size[1]) * len(values) // size[1]
    return np.broadcast_to(np.array(values, np.uint8)[columns], size).copy()


def stripes_of(label: np.ndarray, count: int) -> list[int]:
    """The values of `count` vertical stripes."""
    return [int(value) for value in label[0, :: label.shape[1] // count][:count]]


def write(file: Path, pixels: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)
    return file


def pair(image: Path, label: Path, values: Sequence[int], number: int = 0) -> None:
    write(image, picture(number))
    write(label, stripes(values))


def plain(folder: Path, count: int, values: Sequence[int] = (0, 1, 255)) -> Path:
    """images/000.png, labels/000.png, ..."""
    for number in range(count):
        name = f"{number:03d}"
        image, label = folder / "images" / f"{name}.png", folder / "labels" / f"{name}.png"
        pair(image, label, values, number)
    return folder


def annotated(folder: Path, split: str, names: Sequence[str], values: Sequence[int]) -> Path:
    """SPLIT/NAME.png beside SPLITannot/NAME.png, as SegNet lays out CamVid."""
    for number, name in enumerate(names):
        image, label = folder / split / f"{name}.png", folder / f"{split}annot" / f"{name}.png"
        pair(image, label, values, number)
    return folder


def cityscapes(root: Path, split: str, names: Sequence[str], values: Sequence[int]) -> Path:
    """Official folders; names are CITY_SEQUENCE_FRAME."""
    folder = root / "cityscapes"
    for number, name in enumerate(names):
        city = name.split("_")[0]
        pair(
            folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
            folder / "gtFine" / split / city / f"{name}_gtFine_labelIds.png",
            values,
            number,
        )
    return folder


def street_hazards(
    folder: Path, part: str, split: str, values: Sequence[int], count: int = 2
) -> list[dict[str, str]]:
    """PART/images/SPLIT/t1/N.png with annotations; returns entries with paths from PART."""
    entries = []
    for number in range(count):
        image, label = (f"{kind}/{split}/t1/{number}.png" for kind in ("images", "annotations"))
        pair(folder / part / image, folder / part / label, values, number)
        entries.append({"dbName": "StreetHazards", "fpath_img": image, "fpath_segm": label})
    return entries


def write_list(file: Path, entries: Sequence[dict[str, str]], before: str = "") -> None:
    """An .odgt list whose paths start with `before`."""
    moved = [
        {key: before + text if "fpath" in key else text for key, text in entry.items()}
        for entry in entries
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(moved))


def bdd100k(root: Path, frames: Mapping[str, Sequence[Sequence[int]]], layout: str = "new") -> Path:
    """frames: train and val -> label values of each frame."""
    images, labels, suffix = {
        "new": ("images/10k", "labels/sem_seg/masks", ""),
        "old": ("seg/images", "seg/labels", "_train_id"),
        "caos": ("seg/images", "seg/train_labels", "_train_id"),
    }[layout]
    folder = root / "bdd100k"
    for part, all_values in frames.items():
        for number, values in enumerate(all_values):
            name = f"{part}{number:02d}"
            image = folder / images / part / f"{name}.jpg"
            pair(image, folder / labels / part / f"{name}{suffix}.png", values, number)
    return folder


def road_anomaly(root: Path, values: Sequence[int], count: int = 2) -> Path:
    folder = root / "RoadAnomaly_jpg"
    names = [f"animals{number:02d}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        labels = folder / "frames" / f"{Path(name).stem}.labels"
        pair(folder / "frames" / name, labels / "labels_semantic.png", values, number)
    (folder / "frame_list.json").write_text(json.dumps(names))
    return folder


def smiyc_track(folder: Path, stems: Sequence[str], suffix: str) -> Path:
    """images/STEM.jpg and labels_masks/STEM_labels_semantic.png beside a coloured one."""
    for number, stem in enumerate(stems):
        labels = folder / "labels_masks"
        image = folder / "images" / f"{stem}.{suffix}"
        pair(image, labels / f"{stem}_labels_semantic.png", (0, 1, 255), number)
        write(labels / f"{stem}_labels_semantic_color.png", picture(number))
    return folder


def lost_and_found(root: Path, split: str, names: Sequence[str], empty: Sequence[int]) -> Path:
    """Official folders. All frames are links to one picture and one label, or an empty label."""
    folder = root / "lost_and_found"
    image = write(root / "one.png", picture())
    label = write(root / "label.png", stripes((0, 1, 2, 42)))
    nothing = write(root / "nothing.png", stripes((0,)))
    for position, name in enumerate(sorted(names)):
        scene = "_".join(name.split("_")[:-2])
        stored = nothing if position in empty else label
        for source, file in (
            (image, folder / "leftImg8bit" / split / scene / f"{name}_leftImg8bit.png"),
            (stored, folder / "gtCoarse" / split / scene / f"{name}_gtCoarse_labelIds.png"),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, file)
    return folder


def cutouts(root: Path) -> Path:
    """One magenta disc to train with, one green square to validate with."""
    folder = root / "cutouts"
    disc, square = np.zeros((80, 60, 4), np.uint8), np.zeros((60, 60, 4), np.uint8)
    cv2.circle(disc, (30, 40), 28, (255, 0, 255, 255), -1)
    square[6:-6, 6:-6] = (0, 255, 0, 255)
    write(folder / "disc.png", disc)
    write(folder / "square.png", square)
    with (folder / "cutouts.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, ["file", "full_body", "split"])
        table.writeheader()
        table.writerow({"file": "disc.png", "full_body": "1", "split": "train"})
        table.writerow({"file": "square.png", "full_body": "1", "split": "val"})
    return folder
