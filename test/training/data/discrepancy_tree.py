"""Tiny labelled sets with objects, and a generator that paints each class in its colour."""

from __future__ import annotations

from pathlib import Path

import cv2
import dataset_trees as trees
import numpy as np

from training.data.discrepancy import DiscrepancyRequest
from training.data.discrepancy_pictures import palette_of
from training.data.label_spaces import CAMVID, CITYSCAPES, LabelSpace

SIZE = (48, 64)
REQUEST = DiscrepancyRequest("camvid", "class colours")


def camvid(root: Path, count: int = 6, split: str = "train", objects: int = 5) -> Path:
    """Frames 000, 001, ... with sky, road and `objects` cars and pedestrians at random places."""
    for number in range(count):
        labels = np.zeros(SIZE, np.uint8)
        labels[20:], labels[-4:] = 3, 11
        rng = np.random.default_rng(number)
        for place in range(objects):
            top, left = int(rng.integers(8, 30)), 12 * place + 2
            labels[top : top + 10, left : left + 8] = (8, 9)[place % 2]
        name = f"{number:03d}.png"
        trees.write(root / "camvid" / split / name, trees.picture(number, SIZE))
        trees.write(root / "camvid" / f"{split}annot" / name, labels)
    return root


def cityscapes(root: Path, count: int = 2) -> Path:
    """Official folders, instances among them: four cars, the last of a group without a number."""
    folder = root / "cityscapes"
    for number in range(count):
        name = f"aachen_000000_{number:06d}"
        ids = np.full(SIZE, 7, np.uint16)
        ids[:3], ids[-6:], ids[:, :2] = 3, 1, 2
        objects = ids.copy()
        for place, instance in enumerate((26000, 26001, 26002, 26)):
            window = (slice(20, 48), slice(4 + 15 * place, 14 + 15 * place))  # into ego vehicle
            ids[window], objects[window] = 26, instance
        ids[-2:] = 1
        labels = folder / "gtFine" / "train" / "aachen"
        trees.write(labels / f"{name}_gtFine_labelIds.png", ids.astype(np.uint8))
        trees.write(labels / f"{name}_gtFine_instanceIds.png", objects)
        image = folder / "leftImg8bit" / "train" / "aachen" / f"{name}_leftImg8bit.png"
        trees.write(image, trees.picture(number, SIZE))
    return root


def cityscapes256(root: Path) -> Path:
    """One squashed frame of 32x32 with two cars."""
    labels = np.zeros((32, 32), np.uint8)
    labels[10:20, 2:10] = labels[10:20, 20:28] = 13
    trees.write(root / "cityscapes256" / "train" / "0001.png", trees.picture(0, (32, 32)))
    trees.write(root / "cityscapes256" / "trainannot" / "0001.png", labels)
    return root


class ClassColours:
    """A generator: each class in its colour. Remembers how many frames it got at a time."""

    def __init__(self, space: LabelSpace = CAMVID) -> None:
        self.palette, self.batches = palette_of(space), list[int]()

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        self.batches.append(len(labels))
        return self.palette[labels]


CITYSCAPES_COLOURS = ClassColours(CITYSCAPES)


def contents(folder: Path) -> dict[str, bytes]:
    """All files by relative path, hidden drafts left out."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name[0] != ".")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def picture(file: Path) -> np.ndarray:
    """A written picture as it is, colours in OpenCV's order."""
    return cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
