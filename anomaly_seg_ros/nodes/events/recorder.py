"""Records what the detector saw around a detection: seconds before and after, as a bag.

The caller's threads only put messages into memory, which takes 0.1 ms. A thread of the
recorder writes; where the disk is too slow messages of the recording are lost and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from anomaly_seg_ros.nodes.events.folder import named
from anomaly_seg_ros.nodes.events.ring import Kept, Ring, kept
from anomaly_seg_ros.nodes.events.settings import MEGABYTE, RecorderSettings
from anomaly_seg_ros.nodes.events.writer import Event, EventWriter
from anomaly_seg_ros.replay.bag_reader import typestore

CLOSE_PATIENCE = 10.0  # seconds for what is queued; what is left then is lost
END_PATIENCE = 5.0  # seconds more to end the bags
TICK = 0.2  # seconds between two looks at the clock while nothing is queued


class EventRecorder:
    """`offer` every message, `trigger` on a detection. All methods may be called by any thread.

    Without a folder in the settings everything is a no-op. A fault of the disk is reported, ends
    the recording it concerns and is forgotten at the next trigger. Nothing is raised after the
    constructor.
    """

    def __init__(
        self,
        settings: RecorderSettings,
        describe: Callable[[], Mapping[str, Any]],
        report: Callable[[str, str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """describe: what event.json says of the detector (JSON values); called by our thread.

        report: takes the kind of a fault and a sentence, as FaultReports.add. The folder is made
        here and never again: a disk that is unmounted later must not become a folder of the root
        disk. Raises ReplayError where rosbags is not installed.
        """
        self.settings = settings
        self._clock = clock
        self._changed = threading.Condition()
        self._rings: dict[str, Ring] = {}  # by camera
        self._latched: dict[str, dict[str, Kept]] = {}  # by camera and topic
        self._events: dict[str, Event] = {}  # by camera
        self._rest: dict[str, float] = {}  # by camera: until when detections start nothing
        self._queue: deque[tuple[Event, Kept | None]] = deque()  # None: the recording ends
        self._queued_bytes = 0
        self._closed = not self.armed
        self._shortened = False
        self._refused = 0
        self._writer: EventWriter | None = None
        if self.armed:
            typestore(False)  # the error of a missing rosbags comes now, not at a detection
            self._writer = EventWriter(settings, describe, report)
            self._writer.prepare()
            self._thread = threading.Thread(target=self._work, name="event_recorder", daemon=True)
            self._thread.start()

    @property
    def armed(self) -> bool:
        """Whether anything is recorded: masks are to be computed then though nobody subscribes."""
        return self.settings.folder is not None

    # -- of the caller's threads -------------------------------------------------------------------

    def offer(self, camera: str, topic: str, message: Any, stamp: int) -> None:
        """Keep a message of a camera for the last seconds, or record it.

        camera: its name, empty for the only camera of a node.
        topic: its full name. message: sensor_msgs Image or CompressedImage (kept without a copy:
        it must not be changed afterwards), any other ROS message, or RawMessage. stamp: its log
        time in the bag in nanoseconds; the header's, so that masks lie beside their image.
        """
        if self._closed:
            return
        item = self._kept(topic, message, stamp)
        if item is None:
            return
        with self._changed:
            self._end_due()
            event = self._events.get(camera)
            if event is not None:
                self._enqueue(event, item)
            else:
                self._ring(camera).add(item)
            self._shrink(item.arrival)

    def latch(self, camera: str, topic: str, message: Any) -> None:
        """Keep the newest message of a latched topic: each recording begins with it."""
        if self._closed:
            return
        item = self._kept(topic, message, 0)
        if item is not None:
            with self._changed:
                self._ring(camera)
                self._latched.setdefault(camera, {})[topic] = item

    def found(self, camera: str, fraction: float | None, regions: int) -> None:
        """Trigger where a frame is a detection: anomalous share of its mask, confirmed regions."""
        if self._closed:
            return
        limit = self.settings.min_fraction
        if regions:
            self.trigger(camera, "region")
        elif fraction is not None and limit and fraction >= limit:
            self.trigger(camera, "mask")

    def trigger(self, camera: str, reason: str, by_hand: bool = False) -> bool:
        """Start a recording of this camera or prolong it; False while it rests or without folder.

        by_hand does not wait for the pause to end.
        """
        with self._changed:
            if self._closed:
                return False
            self._end_due()
            now, settings = self._clock(), self.settings
            event = self._events.get(camera)
            if event is None:
                if not by_hand and now < self._rest.get(camera, now):
                    return False
                latched = tuple(self._latched.get(camera, {}).values())
                event = Event(camera, time.time(), now, now + settings.longest, latched)
                self._events[camera] = event
                for item in self._ring(camera).take(now):
                    self._enqueue(event, item)
            event.until = min(now + settings.after, event.at_most)
            event.reasons = {**event.reasons, reason: event.reasons.get(reason, 0) + 1}
            self._changed.notify()
        return True

    def request(self) -> tuple[bool, str]:
        """Record all cameras by hand: the answer of `~/record`."""
        if not self.armed:
            return False, (
                "recording is off: start the node with the parameter record.folder set to an "
                "absolute folder"
            )
        with self._changed:
            cameras = sorted(self._rings)
        if not cameras:
            return False, "no image has come yet: there is nothing to record"
        started = [self.trigger(camera, "by hand", by_hand=True) for camera in cameras]
        if not all(started):
            return False, "the recorder is closed: the node shuts down"
        seconds = f"{self.settings.before:g} s before and {self.settings.after:g} s after now"
        return True, f"recording {named(cameras)}, {seconds}, to {self.settings.folder}"

    def status(self) -> dict[str, str]:
        """For /diagnostics."""
        writer = self._writer
        if writer is None:
            return {"recording": "off"}
        with self._changed:
            running, memory, refused = sorted(self._events), self._memory(), self._refused
        return {
            "recording": named(running) or "waiting",
            "recordings written": str(writer.written),
            "recordings cut off": str(writer.cut_off),
            "recordings deleted": str(writer.deleted),
            "recording: messages lost": str(refused + writer.lost),
            "recording: bytes written": str(writer.bytes),
            "recording: bytes in memory": str(memory),
            "last recording": writer.last_event,
            "last recording fault": writer.last_fault,
        }

    def close(self, patience: float = CLOSE_PATIENCE) -> None:
        """End all recordings and write what is queued, for `patience` seconds; drop the rest."""
        writer = self._writer
        with self._changed:
            if self._closed or writer is None:
                return
            self._closed = True
            for camera in list(self._events):
                self._end(camera)
            self._rings.clear()
            self._changed.notify()
        self._thread.join(patience)
        writer.hurry = True
        self._thread.join(END_PATIENCE)
        if self._thread.is_alive():
            writer.fault(
                "record: closing",
                f"the disk of {self.settings.folder} does not answer: the last recording stays "
                "hidden there until the next start",
            )

    # -- under the lock ----------------------------------------------------------------------------

    def _kept(self, topic: str, message: Any, stamp: int) -> Kept | None:
        try:
            return kept(topic, message, stamp, self._clock())
        except Exception as error:  # rclpy raises its own and Python's errors alike
            self._fault(
                f"record: {topic}",
                f"{topic} is not recorded: a {type(message).__name__} cannot be serialized "
                f"({type(error).__name__}: {error})",
            )
            return None

    def _ring(self, camera: str) -> Ring:
        return self._rings.setdefault(camera, Ring(self.settings.before))

    def _memory(self) -> int:
        return self._queued_bytes + sum(ring.bytes for ring in self._rings.values())

    def _enqueue(self, event: Event, item: Kept) -> None:
        if self._queued_bytes + item.size > self.settings.memory:
            event.refused += 1
            self._refused += 1
            return
        self._queue.append((event, item))
        self._queued_bytes += item.size
        self._changed.notify()

    def _shrink(self, now: float) -> None:
        """Drop the oldest of what waits for a detection while memory is full."""
        while self._memory() > self.settings.memory:
            filled = [ring for ring in self._rings.values() if ring.bytes]
            if not filled:
                return
            dropped = min(filled, key=lambda ring: ring.oldest or 0.0).drop_oldest()
            if not self._shortened:
                self._shortened = True
                self._fault(
                    "record: memory",
                    f"record.memory of {self.settings.memory / MEGABYTE:g} MB holds only "
                    f"{max(0.0, now - dropped.arrival):.1f} s of the record.before of "
                    f"{self.settings.before:g} s: raise it, or record compressed images",
                )

    def _end_due(self) -> None:
        now = self._clock()
        for camera, event in list(self._events.items()):
            if event.failed or now >= event.until:
                self._end(camera)

    def _end(self, camera: str) -> None:
        self._queue.append((self._events.pop(camera), None))
        self._rest[camera] = self._clock() + self.settings.pause
        self._changed.notify()

    # -- the writing thread ------------------------------------------------------------------------

    def _work(self) -> None:
        assert self._writer is not None  # else the thread is not started
        self._writer.settle_leftovers()
        while (task := self._next()) is not None:
            self._writer.carry_out(*task)

    def _next(self) -> tuple[Event, Kept | None] | None:
        """The next message, or end of a recording; None when all is done after `close`."""
        with self._changed:
            while True:
                self._end_due()
                if self._queue:
                    event, item = self._queue.popleft()
                    if item is not None:
                        self._queued_bytes -= item.size
                    return event, item
                if self._closed:
                    return None
                self._changed.wait(TICK if self._events else None)

    def _fault(self, kind: str, text: str) -> None:
        if self._writer is not None:
            self._writer.fault(kind, text)
