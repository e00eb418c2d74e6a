"""Writes recordings to disk: opens, fills and ends their bags, and makes room for them.

All of it may wait for the disk: it belongs to the recorder's own thread.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from anomaly_seg_ros.errors import AnomalySegError, NodeError
from anomaly_seg_ros.nodes.events.bag import EventBag
from anomaly_seg_ros.nodes.events.folder import event_name, make_room, named, settle_leftovers
from anomaly_seg_ros.nodes.events.ring import Kept
from anomaly_seg_ros.nodes.events.settings import GIGABYTE, MEGABYTE, RecorderSettings

ROOM_STEP = 64 * MEGABYTE  # written between two looks at the limit of the disk


@dataclass
class Event:
    """A recording from its first trigger to its last message."""

    camera: str
    started: float  # Unix time
    until: float  # seconds of the recorder's clock
    at_most: float
    latched: tuple[Kept, ...]  # what it begins with
    reasons: Mapping[str, int] = field(default_factory=dict)  # triggers; replaced as a whole
    refused: int = 0  # messages that found no room in memory
    failed: bool = False  # nothing is written to it any more
    # Of the writer alone:
    unwritten: int = 0  # messages that the writer lost
    bag: EventBag | None = None
    detector: Mapping[str, Any] = field(default_factory=dict)
    stamps: tuple[int, ...] = ()  # of the first and the last message, ns
    checked: int = 0  # bytes at the last look at the disk's limit

    def about(self) -> dict[str, Any]:
        """What event.json says. Times are UTC, stamps the log times of the bag in nanoseconds."""
        return {
            "camera": self.camera,
            "started": _utc(self.started),
            "ended": _utc(time.time()),
            "triggers": dict(self.reasons),
            "first_stamp": self.stamps[0] if self.stamps else None,
            "last_stamp": self.stamps[-1] if self.stamps else None,
            "messages": dict(self.bag.messages) if self.bag else {},
            "messages_lost": self.refused + self.unwritten,
            "not_recorded": dict(self.bag.unknown) if self.bag else {},
            "detector": dict(self.detector),
        }


class EventWriter:
    """Carries out what the recorder has queued. Reports every fault and raises none.

    The counts may be read by any thread.
    """

    def __init__(
        self,
        settings: RecorderSettings,
        describe: Callable[[], Mapping[str, Any]],
        report: Callable[[str, str], object],
    ) -> None:
        """The settings have a folder. The rest: see EventRecorder."""
        assert settings.folder is not None  # the recorder makes no writer without
        self.written = self.cut_off = self.deleted = self.lost = self.bytes = 0
        self.last_event = self.last_fault = ""
        self.hurry = False  # set from outside: lose what is queued
        self._settings, self._folder = settings, settings.folder
        self._describe, self._report = describe, report

    def prepare(self) -> None:
        """Make the folder."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._disk_fault(error)

    def settle_leftovers(self) -> None:
        """Keep what an earlier process left unfinished."""
        try:
            for told in settle_leftovers(self._folder):
                self._report("record: leftover", told)
        except OSError as error:
            self._disk_fault(error)

    def carry_out(self, event: Event, item: Kept | None) -> None:
        """Write a message of a recording, or end it (None)."""
        try:
            if item is None:
                self._finish(event)
            elif event.failed or self.hurry:
                self._lose(event)
            else:
                self._record(event, item)
        except (OSError, AnomalySegError) as error:
            self._give_up(event, item, self._disk_fault(error))
        except Exception as error:  # whatever it is, the next recording counts
            self.fault(
                f"record: {type(error).__name__}",
                f"recording failed, please report this:\n{traceback.format_exc()}",
            )
            self._give_up(event, item, f"{type(error).__name__}: {error}")

    def fault(self, kind: str, text: str) -> None:
        """Report a fault and remember it for the diagnostics."""
        self.last_fault = text
        self._report(kind, text)

    def _record(self, event: Event, item: Kept) -> None:
        if event.bag is None:
            event.detector = dict(self._describe())
            self._room()
            name = event_name(event.started, event.camera)
            event.bag = EventBag(self._folder, name, self._settings.compress, event.about())
            for latched in event.latched:
                self._write(event, event.bag, replace(latched, stamp=item.stamp))
        self._write(event, event.bag, item)
        if event.bag.size() - event.checked > min(ROOM_STEP, self._settings.disk // 16):
            event.checked = event.bag.size()
            self._room()

    def _write(self, event: Event, bag: EventBag, item: Kept) -> None:
        if bag.write(item):
            event.stamps = (*event.stamps[:1], item.stamp)
            return
        self._lose(event)
        self.fault(
            f"record: {item.topic}", f"{item.topic} is not recorded: {bag.unknown[item.topic]}"
        )

    def _finish(self, event: Event) -> None:
        lost = event.refused + event.unwritten
        if lost and not event.failed:
            self.fault(
                "record: lost",
                f"{lost} messages of a recording of {named([event.camera])} were lost: the disk is "
                "slower than the camera, or the node ended",
            )
        if event.bag is None:
            return  # failed, or not one message came
        path = event.bag.finish(event.about())
        self.bytes += event.bag.size()
        event.bag = None
        self.last_event = str(path)
        self.written += 1

    def _give_up(self, event: Event, item: Kept | None, fault: str) -> None:
        """End a recording as it is. The message in work and what is queued for it are lost."""
        event.failed = True
        if item is not None:
            self._lose(event)
        if event.bag is None:
            return
        about = event.about()
        bag, event.bag = event.bag, None
        try:
            path = bag.cut_off(fault, about)
        except OSError as error:
            self._disk_fault(error)
        else:
            self.last_event = str(path) if path else self.last_event
        self.cut_off += 1

    def _lose(self, event: Event) -> None:
        event.unwritten += 1
        self.lost += 1

    def _room(self) -> None:
        deleted, enough = make_room(self._folder, self._settings.disk)
        limit = f"record.disk of {self._settings.disk / GIGABYTE:g} GB"
        if deleted and not self.deleted:
            self._report(
                "record: deleted",
                f"{limit} is reached: the oldest recordings are deleted from now on, first "
                + ", ".join(deleted),
            )
        self.deleted += len(deleted)
        if not enough:
            raise NodeError(f"{limit} is less than what is being recorded: raise it")

    def _disk_fault(self, error: OSError | AnomalySegError) -> str:
        """Report a fault of the disk; returns its text."""
        what = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        self.fault(
            f"record: {what}",
            f"cannot record to {self._folder}: {what}. A recording that was under way ends as it "
            "is, the next detection tries again",
        )
        return what


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
