"""Is a dataset there and whole? Frames per split, and on request every file read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from training.data.anomaly_frames import AnomalyFrames
from training.data.catalogue import FOLDER, find_dataset, open_dataset
from training.data.labelled_frames import DatasetError
from training.data.parallel import in_parallel


@dataclass(frozen=True)
class Finding:
    """What is there of one split. errors: all that is wrong with it, for people."""

    spec: str
    frames: int
    excluded: int
    errors: tuple[str, ...]

    def __str__(self) -> str:
        left_out = f", {self.excluded} left out" if self.excluded else ""
        head = f"{self.spec}: {self.frames} frames{left_out}" if self.frames else f"{self.spec}:"
        return "\n".join((head, *self.errors))


def inspect(spec: str, root: Path, *, read: bool = False, workers: int = 1) -> list[Finding]:
    """Findings for "NAME" (all splits), "NAME/SPLIT" or "folder:PATH".

    read: decode every frame too. Raises DatasetError for an unknown name.
    """
    if spec.startswith(FOLDER) or "/" in spec:
        specs = [spec]
    else:
        specs = [f"{spec}/{split}" for split in find_dataset(spec).splits]
    return [_inspect_split(one, root, read, workers) for one in specs]


def _inspect_split(spec: str, root: Path, read: bool, workers: int) -> Finding:
    try:
        frames = open_dataset(spec, root)
    except DatasetError as error:
        return Finding(spec, 0, 0, (str(error),))
    count = len(frames.names)
    errors: list[str | None] = []
    if read:
        errors = in_parallel(partial(_fault, spec, root), range(count), workers, f"read {spec}")
    return Finding(spec, count, len(frames.excluded), tuple(error for error in errors if error))


@lru_cache(maxsize=1)
def _opened(spec: str, root: Path) -> AnomalyFrames:
    return open_dataset(spec, root)


def _fault(spec: str, root: Path, index: int) -> str | None:
    try:
        _opened(spec, root).read(index)
    except DatasetError as error:
        return str(error)
    return None
