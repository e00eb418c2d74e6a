"""Image and label files of a dataset: finding, pairing and reading them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.replay.images import decode_image
from anomaly_seg_ros.replay.labels import read_label
from training.data.anomaly_frames import AnomalyFrames, AnomalySample, Exclusion
from training.data.label_meaning import LabelMeaning
from training.data.label_spaces import LabelSpace
from training.data.labelled_frames import DatasetError, LabelledFrames

SUFFIXES = (".jpg", ".png", ".webp")
LISTED = 5  # file names that a message shows


@dataclass(frozen=True)
class FramePair:
    """An image file and its label file; name as in AnomalySample."""

    name: str
    image: Path
    label: Path


def find_folder(root: Path, names: Iterable[str]) -> Path | None:
    """The first of the folders `names` below root that exists."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def image_paths(folder: Path, *, deep: bool = False) -> list[Path]:
    """Images of a folder (deep: and of those in it), sorted by path; hidden files left out."""
    found = folder.rglob("*") if deep else folder.glob("*")
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.name[0] != ".")


def same_stem(images: Path, labels: Path) -> list[FramePair]:
    """Each image of a folder with the PNG of the same stem in another folder."""
    return [FramePair(path.stem, path, labels / f"{path.stem}.png") for path in image_paths(images)]


def missing_files(pairs: Sequence[FramePair], images: Path) -> list[str]:
    """Problem lines for `refuse`: no pairs at all, or pairs that lack a file."""
    if not pairs:
        return [f"no images in {images}"]
    problems = []
    for kind in ("image", "label"):
        absent = [pair for pair in pairs if not getattr(pair, kind).is_file()]
        if absent:
            names = shorten(pair.name for pair in absent)
            expected = getattr(absent[0], kind)
            problems.append(f"{len(absent)} frames have no {kind} ({names}); expected {expected}")
    return problems


def shorten(names: Iterable[str]) -> str:
    """The first few names of a list."""
    listed = list(names)
    return ", ".join(listed[:LISTED]) + (" ..." if len(listed) > LISTED else "")


def refuse(name: str, problems: Collection[str], how_to_get: str) -> NoReturn:
    """Raise DatasetError with everything that is missing or wrong, and how to get the data."""
    lines = "".join(f"\n  - {problem}" for problem in problems)
    raise DatasetError(f"dataset {name} cannot be used:{lines}\n{how_to_get}")


def not_found(root: Path, names: Iterable[str]) -> str:
    """A problem line for `refuse`: none of the folders below root exists."""
    listed = " or ".join(f"{name}/" for name in names)
    return f"no folder {listed} in {root}"


def read_image(path: Path) -> np.ndarray:
    """uint8 [H, W, 3] RGB. Raises DatasetError naming the file."""
    return _named(path, lambda: decode_image(path.read_bytes()))


def read_ids(path: Path) -> np.ndarray:
    """Stored label ids, uint8 or uint16 [H, W]. Raises DatasetError naming the file."""
    return _named(path, lambda: read_label(path))


def read_frame(pair: FramePair, meaning: LabelMeaning) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image uint8 [H, W, 3], anomaly label and class ids uint8 [H, W]. Raises DatasetError."""
    image, stored = read_image(pair.image), read_ids(pair.label)
    check_size(image, stored, pair.label)
    return image, *meaning.translate(stored, str(pair.label))


def check_size(image: np.ndarray, label: np.ndarray, file: Path) -> None:
    """Raise DatasetError unless label [H, W] of `file` is as large as image [H, W, 3]."""
    if label.shape != image.shape[:2]:
        stored, seen = label.shape[::-1], image.shape[1::-1]
        raise DatasetError(
            f"{file}: the label is {stored[0]}x{stored[1]}, its image {seen[0]}x{seen[1]};"
            " expected the same size"
        )


def _named(path: Path, read: Callable[[], np.ndarray]) -> np.ndarray:
    try:
        return read()
    except (AnomalySegError, OSError) as error:
        text = str(error)
        raise DatasetError(text if str(path) in text else f"{path}: {text}") from error


def labelled_frames(
    name: str,
    space: LabelSpace,
    pairs: Sequence[FramePair],
    meaning: LabelMeaning,
    *,
    stretch: float = 1.0,
) -> LabelledFrames:
    """Frames with class labels, for training."""

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, _, classes = read_frame(pairs[index], meaning)
        return image, classes

    names = tuple(pair.name for pair in pairs)
    return LabelledFrames(name, space, len(pairs), read, stretch, names)


def anomaly_frames(
    name: str,
    title: str,
    pairs: Sequence[FramePair],
    meaning: LabelMeaning,
    *,
    space: LabelSpace | None = None,
    protocols: tuple[str, ...] = ("pooled",),
    excluded: tuple[Exclusion, ...] = (),
    source: str = "",
) -> AnomalyFrames:
    """Frames with anomaly labels, and with classes where a label space is given."""

    def read(index: int) -> AnomalySample:
        image, anomaly, classes = read_frame(pairs[index], meaning)
        truth = None if space is None else classes
        return AnomalySample(pairs[index].name, image, anomaly, truth)

    return AnomalyFrames(
        name=name,
        title=title,
        names=tuple(pair.name for pair in pairs),
        read=read,
        space=space,
        protocols=protocols,
        excluded=excluded,
        source=source,
    )
