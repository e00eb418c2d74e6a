"""The folder of synthetic discrepancies: which files it holds, and reading them.

Files are named as Lis et al., ICCV 2019, name theirs, with the camera images beside them:

    discrepancy.json                              how all of it was made
    SPLIT.txt                                     names of the frames
    image/SPLIT/NAME.webp                         camera image at the set's size
    labels/SPLIT/NAME_fakeTrainIds.png            class ids, some objects of a wrong class
    labels/SPLIT/NAME_fakeTrainIds_colorimg.png   the same for people
    labels/SPLIT/NAME_errors.png                  255 where the class was changed, else 0
    labels/SPLIT/NAME_roi.png                     255 where errors count, if not everywhere
    labels/SPLIT/NAME_predTrainIds.png            what a network saw, where that is the start
    gen_image/SPLIT/NAME_gen.jpg (or .webp)       the image synthesised from fakeTrainIds
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from anomaly_seg_ros.replay.writers import write_atomically
from training.data.frame_files import read_ids, read_image, shorten
from training.data.label_swap import SwapRule
from training.data.labelled_frames import DatasetError
from training.settings import settings_from

SETTINGS_FILE = "discrepancy.json"
HOW_TO_GET = "Run `python -m training prepare discrepancy`; a stopped run goes on where it was."


@dataclass(frozen=True)
class DiscrepancySettings:
    """How a folder was made: the same for all of its frames, and all that they depend on.

    size: rows and columns. classes: names by id. instances: annotated, or components of the label
    map. region: where errors count, None = everywhere. predictions: the network whose labels the
    swaps start from, None = true labels. generator: what rendered the images.
    """

    dataset: str
    generator: str
    size: tuple[int, int]
    classes: tuple[str, ...]
    rule: SwapRule
    instances: str
    background: bool = False
    seed: int = 0
    region: str | None = None
    predictions: str | None = None
    format: str = "jpg"
    quality: int = 75

    def differences(self, other: DiscrepancySettings) -> list[str]:
        """Lines "NAME: SELF, not OTHER" for people."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name}: {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs]

    def write(self, folder: Path) -> None:
        """Write the settings file, whole or not at all."""
        text = json.dumps(asdict(self), indent=1) + "\n"
        write_atomically(folder / SETTINGS_FILE, text.encode())

    @classmethod
    def read(cls, folder: Path) -> DiscrepancySettings | None:
        """None without a settings file. Raises DatasetError or ConfigError for another content."""
        file = folder / SETTINGS_FILE
        if not file.is_file():
            return None
        try:
            values = json.loads(file.read_text())
        except ValueError as error:
            raise DatasetError(f"{file}: no JSON ({error}); {HOW_TO_GET}") from error
        settings: DiscrepancySettings = settings_from(cls, values, str(file))
        return settings


@dataclass(frozen=True)
class DiscrepancyFiles:
    """Where the files of one frame lie."""

    image: Path
    labels: Path
    colours: Path
    errors: Path
    region: Path
    predicted: Path
    synthesis: Path

    def drawn(self, settings: DiscrepancySettings) -> tuple[Path, ...]:
        """All but the synthesis."""
        files = [self.image, self.labels, self.colours, self.errors]
        if settings.predictions is not None:
            files.append(self.predicted)
        if settings.region is not None:
            files.append(self.region)
        return tuple(files)


def files_of(
    folder: Path, split: str, name: str, settings: DiscrepancySettings
) -> DiscrepancyFiles:
    """Files of the frame `name`, which may hold folders ("aachen/aachen_000000_000019")."""
    labels = folder / "labels" / split
    return DiscrepancyFiles(
        image=folder / "image" / split / f"{name}.webp",
        labels=labels / f"{name}_fakeTrainIds.png",
        colours=labels / f"{name}_fakeTrainIds_colorimg.png",
        errors=labels / f"{name}_errors.png",
        region=labels / f"{name}_roi.png",
        predicted=labels / f"{name}_predTrainIds.png",
        synthesis=folder / "gen_image" / split / f"{name}_gen.{settings.format}",
    )


def read_map(file: Path, size: tuple[int, int]) -> np.ndarray:
    """Ids uint8 [H, W] of a file. Raises DatasetError naming it for another size or depth."""
    return _checked(read_ids(file), file, size)


def _read_picture(file: Path, size: tuple[int, int]) -> np.ndarray:
    return _checked(read_image(file), file, (*size, 3))


def _checked(values: np.ndarray, file: Path, shape: tuple[int, ...]) -> np.ndarray:
    if values.shape != shape or values.dtype != np.uint8:
        raise DatasetError(
            f"{file}: {values.dtype} {list(values.shape)}; expected uint8 {list(shape)}. Remove it"
            " and run the same `prepare discrepancy` again."
        )
    return values


@dataclass(frozen=True, eq=False)
class DiscrepancySample:
    """One frame whose labels are partly wrong, and what a generator made of them.

    image, synthesis: uint8 [H, W, 3] RGB. labels: uint8 [H, W] class ids, 255 void. errors, region:
    bool [H, W], wrong on purpose, and where that is to be learnt.
    """

    name: str
    image: np.ndarray
    synthesis: np.ndarray
    labels: np.ndarray
    errors: np.ndarray
    region: np.ndarray


@dataclass(frozen=True)
class DiscrepancyFrames:
    """One split of a folder, opened and checked. Make one with `open_discrepancies`."""

    folder: Path
    split: str
    names: tuple[str, ...] = field(repr=False)
    settings: DiscrepancySettings = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> DiscrepancySample:
        """Decode a frame. Raises DatasetError naming the file that is damaged."""
        name, size = self.names[index], self.settings.size
        files = files_of(self.folder, self.split, name, self.settings)
        everywhere = self.settings.region is None
        return DiscrepancySample(
            name=name,
            image=_read_picture(files.image, size),
            synthesis=_read_picture(files.synthesis, size),
            labels=read_map(files.labels, size),
            errors=read_map(files.errors, size) > 0,
            region=np.ones(size, bool) if everywhere else read_map(files.region, size) > 0,
        )


def names_file(folder: Path, split: str) -> Path:
    """The list of a split's frames, one name a line."""
    return folder / f"{split}.txt"


def open_discrepancies(folder: Path, split: str) -> DiscrepancyFrames:
    """A split of a folder. Raises DatasetError where it is not there or not finished."""
    settings = DiscrepancySettings.read(folder)
    if settings is None:
        raise DatasetError(f"{folder} holds no {SETTINGS_FILE}. {HOW_TO_GET}")
    listed = names_file(folder, split)
    if not listed.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.txt")))
        raise DatasetError(f"{folder} has no split {split!r}; it has {there or 'none'}")
    names = tuple(listed.read_text().splitlines())
    lacking = [
        name
        for name in names
        for files in [files_of(folder, split, name, settings)]
        if not all(file.is_file() for file in (*files.drawn(settings), files.synthesis))
    ]
    if lacking:
        raise DatasetError(
            f"{folder}: {len(lacking)} of {len(names)} frames of {split} are not finished"
            f" ({shorten(lacking)}). {HOW_TO_GET}"
        )
    return DiscrepancyFrames(folder, split, names, settings)
