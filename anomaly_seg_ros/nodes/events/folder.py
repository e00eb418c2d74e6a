"""The folder of recordings: their names, which are ours, what a killed process left, room for more.

FOLDER/2026-03-01T12-00-00Z_front/             a recording: a ROS 2 bag with event.json
FOLDER/2026-03-01T12-00-00Z_front_incomplete/  one that was cut off: readable up to there
FOLDER/.2026-03-01T12-00-00Z_front.part/       one being written, with its .lock beside it

Only folders with such a name and our event.json are ever renamed or deleted.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from anomaly_seg_ros.backends.file_lock import file_lock
from anomaly_seg_ros.replay.bag_folder import end_cut_off, hidden
from anomaly_seg_ros.replay.bag_reader import recorded_files

EVENT_FILE = "event.json"
INCOMPLETE = "_incomplete"
MARK = {"recorder": "anomaly_seg_ros", "format": 1}
RECORDING, COMPLETE, CUT_OFF = "recording", "complete", "incomplete"  # states in event.json
NOT_OF_CUT_OFF = ("messages", "last_stamp")  # of event.json: the last messages may be missing

_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ_.+")
_DELETED = ".deleted"


UNNAMED_CAMERA = "camera"


class Held(Exception):
    """Another process is writing this recording."""


def event_name(seconds: float, camera: str) -> str:
    """The name of a recording that starts at this Unix time.

    >>> event_name(0, "/front/left")
    '1970-01-01T00-00-00Z_front_left'
    """
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    plain = re.sub(r"[^\w.-]+", "_", camera).strip("_.")
    return f"{moment:%Y-%m-%dT%H-%M-%SZ}_{plain or UNNAMED_CAMERA}"


def named(cameras: Iterable[str]) -> str:
    """Cameras in a sentence."""
    return ", ".join(camera or UNNAMED_CAMERA for camera in cameras)


def lock(folder: Path, name: str) -> Any:
    """The lock of a recording that is being written, for `with`. Raises Held, OSError."""

    def refuse() -> None:
        raise Held(name)

    return file_lock(folder / f".{name}.lock", refuse)


def write_event(inside: Path, about: Mapping[str, Any]) -> None:
    """Write event.json. Raises OSError."""
    draft = inside / f".{EVENT_FILE}"
    try:
        draft.write_text(json.dumps({**MARK, **about}, indent=1) + "\n")
        draft.replace(inside / EVENT_FILE)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read_event(inside: Path) -> dict[str, Any] | None:
    """What event.json says; None where it is none of ours."""
    try:
        about = json.loads((inside / EVENT_FILE).read_text())
    except (OSError, ValueError):
        return None
    is_ours = isinstance(about, dict) and about.items() >= MARK.items()
    return about if is_ours else None


def make_room(folder: Path, limit: int) -> tuple[list[str], bool]:
    """Delete our oldest recordings until all take `limit` bytes at most, those being written too.

    Returns the names of the deleted, and whether it is enough. Raises OSError.
    """
    finished = sorted(
        entry for entry in folder.iterdir() if _is_recording(entry) and read_event(entry)
    )
    sizes = {entry: _size(entry) for entry in finished}
    total = sum(sizes.values()) + sum(_size(part / name) for name, part in _parts(folder))
    deleted = []
    for entry in finished:
        if total <= limit:
            break
        doomed = folder / f".{entry.name}{_DELETED}"  # at once: half a recording is not ours
        with suppress(FileNotFoundError):  # another process was faster
            entry.rename(doomed)
            deleted.append(entry.name)
        shutil.rmtree(doomed, ignore_errors=True)
        total -= sizes[entry]
    return deleted, total <= limit


def settle_leftovers(folder: Path) -> list[str]:
    """Keep what killed processes left unfinished; returns one sentence for each. Raises OSError."""
    told = []
    for name, _ in list(_parts(folder)):
        try:
            with lock(folder, name):
                kept = keep_incomplete(folder, name, "the process ended while it recorded")
        except Held:
            continue
        told.append(
            f"a recording was cut off when its process ended: kept as {kept}"
            if kept
            else f"a recording was cut off before its first message was written: {name} is gone"
        )
    for doomed in folder.glob(f".*{_DELETED}"):
        if _NAME.fullmatch(doomed.name.removesuffix(_DELETED)[1:]):
            shutil.rmtree(doomed, ignore_errors=True)
    return told


def keep_incomplete(
    folder: Path, name: str, fault: str, about: Mapping[str, Any] | None = None
) -> Path | None:
    """Make the unfinished recording readable as far as it goes; None where nothing is in it.

    about: for event.json; None keeps what it says. The caller holds the lock. Raises OSError.
    """
    part = hidden(folder / name)
    inside = part / name
    bag, kept = inside / f"{name}.mcap", None
    about = about or read_event(inside) or {}
    if (inside / "metadata.yaml").is_file():  # written last: only the new name was missing
        write_event(inside, {**about, "state": COMPLETE})
        kept = inside.rename(folder / name)
    elif bag.is_file() and end_cut_off(bag):
        sure = {key: about[key] for key in about if key not in NOT_OF_CUT_OFF}
        with suppress(OSError):  # a full disk: the bag matters more than its description
            write_event(inside, {**sure, "state": CUT_OFF, "fault": fault})
        kept = inside.rename(folder / f"{name}{INCOMPLETE}")
    shutil.rmtree(part, ignore_errors=True)
    return kept


def _is_recording(entry: Path) -> bool:
    return bool(_NAME.fullmatch(entry.name)) and entry.is_dir() and not entry.is_symlink()


def _parts(folder: Path) -> Iterator[tuple[str, Path]]:
    """Recordings that are being written, or were: name and hidden folder."""
    for part in folder.glob(".*.part"):
        name = part.name[1:].removesuffix(".part")
        if _NAME.fullmatch(name) and (not part.is_symlink()) and _only_holds(part, name):
            yield name, part


def _only_holds(part: Path, name: str) -> bool:
    inside = part / name
    if any(entry != inside for entry in part.iterdir()):
        return False
    if not inside.exists() or read_event(inside) is not None:
        return True
    begun = {f"{name}.mcap", f".{EVENT_FILE}"}  # killed before event.json was there
    return {entry.name for entry in inside.iterdir()} <= begun


def _size(folder: Path) -> int:
    total = 0
    for file in recorded_files(folder):
        with suppress(FileNotFoundError):  # finished or deleted meanwhile
            total += file.stat().st_size
    return total
