"""Any folder of images/ and labels/: what users have, and what `prepare convert` writes.

labels/NAME.png is 8-bit gray: 0 known, 1 anomaly, 255 void. Optional are classes/NAME.png with
class ids, and dataset.json that says what they are.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from training.data.anomaly_frames import AnomalyFrames, AnomalySample, Exclusion
from training.data.frame_files import (
    FramePair,
    anomaly_frames,
    check_size,
    image_paths,
    missing_files,
    read_ids,
    refuse,
    shorten,
)
from training.data.label_meaning import ANOMALY_LABELS, classes_as_stored
from training.data.label_spaces import BY_NAME
from training.data.labelled_frames import DatasetError

DESCRIPTION = "dataset.json"
HOW_TO_GET = (
    "Expected are FOLDER/images/NAME.jpg (png, webp) and FOLDER/labels/NAME.png, 8-bit gray with"
    " 0 known, 1 anomaly, 255 void."
)


@dataclass(frozen=True)
class Description:
    """What dataset.json says of a folder; `made` records how it was converted."""

    title: str
    space: str | None = None  # of classes/, a name in `label_spaces.BY_NAME`
    protocols: tuple[str, ...] = ("pooled",)
    source: str = ""
    stretch: float = 1.0
    excluded: tuple[tuple[str, str], ...] = ()  # name, reason
    times: dict[str, tuple[str, float]] | None = field(default=None, repr=False)
    made: dict[str, str | int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write dataset.json, whole or not at all."""
        draft = folder / f".{DESCRIPTION}"
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n")
        draft.replace(folder / DESCRIPTION)

    @classmethod
    def read(cls, folder: Path) -> Description | None:
        """None without dataset.json. Raises DatasetError for one that does not read as such."""
        file = folder / DESCRIPTION
        if not file.is_file():
            return None
        try:
            stored = json.loads(file.read_text())
            described = cls(**stored)
            times = described.times
            described = replace(
                described,
                protocols=tuple(described.protocols),
                excluded=tuple((str(name), str(why)) for name, why in described.excluded),
                times=times and {name: (str(at[0]), float(at[1])) for name, at in times.items()},
            )
        except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise DatasetError(
                f"{file} does not describe a dataset: {error}; remove it or convert again"
            ) from error
        if described.space is not None and described.space not in BY_NAME:
            known = ", ".join(BY_NAME)
            raise DatasetError(f"{file}: label space {described.space!r}; expected one of {known}")
        return described


def plain_pairs(folder: Path) -> list[FramePair]:
    """Images below folder/images, subfolders too, each with the label of the same name."""
    images = folder / "images"
    names = [
        (path, path.relative_to(images).with_suffix("")) for path in image_paths(images, deep=True)
    ]
    return [
        FramePair(name.as_posix(), path, folder / "labels" / name.parent / f"{name.name}.png")
        for path, name in names
    ]


def open_folder(folder: Path) -> AnomalyFrames:
    """Frames of a folder. Raises DatasetError listing what is missing."""
    name = f"folder:{folder}"
    if not folder.is_dir():
        refuse(name, [f"no folder {folder}"], HOW_TO_GET)
    pairs = plain_pairs(folder)
    problems = missing_files(pairs, folder / "images")
    names = [pair.name for pair in pairs]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        problems.append(f"several images of the same name: {shorten(twice)}")
    described = Description.read(folder)
    if described is not None and described.space is not None:
        absent = [name for name in names if not _classes_file(folder, name).is_file()]
        if absent:
            expected = _classes_file(folder, absent[0])
            problems.append(f"{len(absent)} frames have no classes; expected {expected}")
    if problems:
        refuse(name, problems, HOW_TO_GET)
    frames = anomaly_frames(name, folder.resolve().name, pairs, ANOMALY_LABELS)
    return frames if described is None else _described(frames, folder, described)


def _described(frames: AnomalyFrames, folder: Path, described: Description) -> AnomalyFrames:
    space = None if described.space is None else BY_NAME[described.space]

    def read(index: int) -> AnomalySample:
        sample = frames.read(index)
        if space is None:
            return sample
        file = _classes_file(folder, sample.name)
        stored = read_ids(file)
        check_size(sample.image, stored, file)
        _, classes = classes_as_stored(len(space.names)).translate(stored, str(file))
        return replace(sample, truth=classes)

    times = described.times
    if times is not None and not times.keys() >= set(frames.names):
        times = None  # frames that were added later have no time
    return replace(
        frames,
        title=described.title,
        read=read,
        space=space,
        protocols=described.protocols,
        excluded=tuple(Exclusion(name, reason) for name, reason in described.excluded),
        times=None if times is None else tuple(times[name] for name in frames.names),
        source=described.source,
        stretch=described.stretch,
    )


def _classes_file(folder: Path, name: str) -> Path:
    return folder / "classes" / f"{name}.png"
