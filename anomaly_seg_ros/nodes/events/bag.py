"""One recording on disk: a bag with event.json, written under a hidden name.

Everything here may wait for the disk: it belongs to the recorder's own thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.nodes.events.folder import (
    COMPLETE,
    INCOMPLETE,
    RECORDING,
    Held,
    keep_incomplete,
    lock,
    write_event,
)
from anomaly_seg_ros.nodes.events.message_definitions import learn
from anomaly_seg_ros.nodes.events.ring import Kept, serialized
from anomaly_seg_ros.replay.bag_folder import BagFolder, hidden


class EventBag:
    """Open from the constructor to `finish` or `cut_off`. The storage is mcap: it survives a kill.

    `unknown`: topics whose messages cannot be recorded, and why.
    """

    def __init__(self, folder: Path, name: str, compress: bool, about: Mapping[str, Any]) -> None:
        """Start `name`, or `name`_2 where that exists. Raises OSError, ReplayError."""
        self.unknown: dict[str, str] = {}
        self._finished = False
        with ExitStack() as held:
            self.path = _claimed(held, folder, name)
            self._bag = BagFolder(self.path, "mcap", compress, _types())
            held.callback(self._bag.discard)
            write_event(self._bag.inside, {**about, "state": RECORDING})
            self._held = held.pop_all()

    @property
    def messages(self) -> Mapping[str, int]:
        """Messages written, by topic."""
        return self._bag.messages

    def size(self) -> int:
        """Bytes of messages on disk so far: what fills no chunk yet is missing. Raises OSError."""
        folder = self.path if self._finished else self._bag.inside
        return (folder / f"{self.path.name}.mcap").stat().st_size

    def write(self, item: Kept) -> bool:
        """Write one message; False where its type is unknown. Raises OSError."""
        if item.topic in self.unknown:
            return False
        raw = serialized(item.message)
        try:
            learn(self._bag.types, raw.message_type)
        except ReplayError as error:
            self.unknown[item.topic] = str(error)
            return False
        self._bag.add(item.topic, raw.message_type, item.stamp, raw.cdr)
        return True

    def finish(self, about: Mapping[str, Any]) -> Path:
        """End the bag, force it to disk and give it its name; the folder. Raises OSError.

        After an error `cut_off` still keeps what was written.
        """
        self._bag.close()
        write_event(self._bag.inside, {**about, "state": COMPLETE})
        for file in self._bag.inside.iterdir():  # a vehicle is often switched off after an event
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        self._bag.reveal()
        self._finished = True
        self._held.close()
        return self.path

    def cut_off(self, fault: str, about: Mapping[str, Any]) -> Path | None:
        """End the recording as it is after a fault; the folder, or None where nothing is left."""
        with self._held:  # frees the lock and the hidden folder, whatever happens
            with suppress(OSError):  # what cannot be written any more
                self._bag.abort()
            return keep_incomplete(self.path.parent, self.path.name, fault, about)


@cache
def _types() -> Any:
    """A typestore of our own: it learns the types of this ROS installation."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def _claimed(held: ExitStack, folder: Path, name: str) -> Path:
    """A path that no recording has, finished or not, with its lock."""
    path, number = folder / name, 1
    while True:
        with ExitStack() as trial, suppress(Held):
            trial.enter_context(lock(folder, path.name))
            taken = (path, hidden(path), path.with_name(path.name + INCOMPLETE))
            if not any(other.exists() for other in taken):
                held.push(trial.pop_all())
                return path
        number += 1
        path = folder / f"{name}_{number}"
