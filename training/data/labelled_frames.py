"""Labelled frames of the road datasets: where their files lie and how their labels read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.errors import AnomalySegError
from training.data.label_spaces import CAMVID, CITYSCAPES, IDD_LITE, VOID, LabelSpace

SUFFIXES = (".jpg", ".png", ".webp")


class DatasetError(AnomalySegError):
    """A dataset folder that misses files or holds labels of another kind."""


@dataclass(frozen=True)
class LabelledFrames:
    """Frames of one dataset and split.

    `read(i)` gives image uint8 [H, W, 3] RGB and label uint8 [H, W] in `space` ids, VOID ignored.
    `stretch` is true width over stored width (2 where a 2:1 frame is stored as a square).
    """

    name: str
    space: LabelSpace
    count: int
    read: Callable[[int], tuple[np.ndarray, np.ndarray]]
    stretch: float = 1.0
    names: tuple[str, ...] = field(default=(), repr=False)


def _read_pair(image: Path, label: Path, void: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    ids = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    if pixels is None or ids is None:
        raise DatasetError(f"{image if pixels is None else label} cannot be read as an image")
    if ids.shape != pixels.shape[:2]:
        raise DatasetError(f"{label} is {ids.shape}, its image is {pixels.shape[:2]}")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.where(ids == void, VOID, ids).astype(
        np.uint8
    )


def _folder(
    name: str,
    images: Path,
    labels: Path,
    space: LabelSpace,
    *,
    stretch: float = 1.0,
    void: int = VOID,
) -> LabelledFrames:
    paths = sorted(
        path for path in images.glob("*") if path.suffix in SUFFIXES and path.name[0] != "."
    )
    if not paths:
        raise DatasetError(f"{name}: no images in {images}; set the data root to the sets' folder")
    missing = [path.stem for path in paths if not (labels / f"{path.stem}.png").is_file()]
    if missing:
        raise DatasetError(f"{name}: {len(missing)} images have no label, first {missing[:3]}")

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        path = paths[index]
        return _read_pair(path, labels / f"{path.stem}.png", void)

    stems = tuple(path.stem for path in paths)
    return LabelledFrames(name, space, len(paths), read, stretch, stems)


def cityscapes256(root: Path, split: str) -> LabelledFrames:
    """Cityscapes squashed to 256x256 (train 2975, val 500)."""
    base = root / "cityscapes256"
    return _folder("cityscapes256", base / split, base / f"{split}annot", CITYSCAPES, stretch=2.0)


def cityscapes_sharp(root: Path, split: str) -> LabelledFrames:
    """A few Cityscapes training frames at 2048x1024, so that sharpness varies in training."""
    base = root / "samples" / "closed_set" / "cityscapes_train8"
    return _folder(f"cityscapes_sharp_{split}", base / "images", base / "labels", CITYSCAPES)


def camvid(root: Path, split: str) -> LabelledFrames:
    """CamVid 480x360 in the SegNet split (train 367, val 101, test 233), 11 classes."""
    base = root / "camvid"
    return _folder("camvid", base / split, base / f"{split}annot", CAMVID, void=11)


def idd_lite(root: Path, split: str) -> LabelledFrames:
    """IDD-Lite 320x227 (train 1403, val 204), 7 classes."""
    base = root / "idd_lite"
    return _folder("idd_lite", base / split, base / f"{split}annot", IDD_LITE)


def procedural(root: Path, split: str) -> LabelledFrames:
    """Procedural scenes without unknown objects, rendered by `python -m training prepare`."""
    base = root / "procedural"
    return _folder("procedural", base / split, base / f"{split}annot", CITYSCAPES)


DATASETS: dict[str, Callable[[Path, str], LabelledFrames]] = {
    "cityscapes256": cityscapes256,
    "cityscapes_sharp": cityscapes_sharp,
    "camvid": camvid,
    "idd_lite": idd_lite,
    "procedural": procedural,
}
