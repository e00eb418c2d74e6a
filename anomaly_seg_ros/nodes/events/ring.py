"""The last seconds of one camera's messages, in memory.

Messages with image data are kept as they are: they exist anyway, and serializing one takes
milliseconds (1.5 ms at 640 x 480, up to 20 ms at 1920 x 1080, on a busy machine) that would be
spent on every image although few are ever written. Everything else is small and is serialized at
once, which tells its size.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from anomaly_seg_ros.replay.sources import RawMessage

IMAGE_OVERHEAD = 512  # bytes of an image message beside its data, about


@dataclass(frozen=True)
class Kept:
    """A message to record: a ROS message with image data, or a serialized one."""

    topic: str
    message: Any
    stamp: int  # nanoseconds, the log time in the bag
    arrival: float  # seconds of the recorder's clock
    size: int  # bytes, about


def kept(topic: str, message: Any, stamp: int, arrival: float) -> Kept:
    """A message made ready to be kept. Raises what ROS raises for a message it cannot serialize."""
    if isinstance(message, RawMessage):
        return Kept(topic, message, stamp, arrival, len(message.cdr))
    if hasattr(message, "format") or hasattr(message, "encoding"):  # CompressedImage, Image
        size = memoryview(message.data).nbytes + IMAGE_OVERHEAD
        return Kept(topic, message, stamp, arrival, size)
    raw = serialized(message)
    return Kept(topic, raw, stamp, arrival, len(raw.cdr))


def serialized(message: Any) -> RawMessage:
    """The bytes of a ROS message, as a bag stores them."""
    if isinstance(message, RawMessage):
        return message
    from rclpy.serialization import serialize_message

    kind = type(message)
    package = kind.__module__.partition(".")[0]
    return RawMessage(f"{package}/msg/{kind.__name__}", serialize_message(message))


class Ring:
    """Messages that arrived within the last `seconds`. The caller bounds the bytes."""

    def __init__(self, seconds: float) -> None:
        self.bytes = 0
        self._seconds = seconds
        self._items: deque[Kept] = deque()

    def add(self, item: Kept) -> None:
        """Keep a message, and forget what is too old by its arrival."""
        self._items.append(item)
        self.bytes += item.size
        self.forget_before(item.arrival - self._seconds)

    def forget_before(self, arrival: float) -> None:
        """Drop what arrived earlier."""
        while self._items and self._items[0].arrival < arrival:
            self.drop_oldest()

    def drop_oldest(self) -> Kept:
        """Drop and return the oldest message. Raises IndexError where there is none."""
        item = self._items.popleft()
        self.bytes -= item.size
        return item

    @property
    def oldest(self) -> float | None:
        """Arrival of the oldest message."""
        return self._items[0].arrival if self._items else None

    def take(self, now: float) -> list[Kept]:
        """All messages of the last seconds; the ring is empty then."""
        self.forget_before(now - self._seconds)
        items = list(self._items)
        self._items.clear()
        self.bytes = 0
        return items
