"""Messages of several topics that belong to one frame: those of the same stamp."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

Parts = Mapping[str, tuple[int, Any]]  # topic -> (number in the order of arrival, message)


class StampPairs:
    """Collects one message of each topic by stamp, in bounded memory.

    Each topic must come in the order of the frames, as camera and detector send: what a frame
    before a whole one still lacks will never come, and it counts as unpaired. So does the oldest
    when more than `depth` wait.
    """

    def __init__(self, topics: Sequence[str], depth: int) -> None:
        self.unpaired: Counter[str] = Counter()  # "without TOPIC, TOPIC" -> frames
        self._topics = tuple(topics)
        self._depth = depth
        self._numbers = itertools.count()
        self._waiting: dict[Hashable, dict[str, tuple[int, Any]]] = {}

    @property
    def waiting(self) -> int:
        """Frames that are not whole yet."""
        return len(self._waiting)

    def add(self, topic: str, stamp: Hashable, message: Any) -> dict[str, Any] | None:
        """The messages of the frame by topic when this one makes it whole, else None."""
        parts = self._waiting.setdefault(stamp, {})
        parts[topic] = next(self._numbers), message
        if len(parts) == len(self._topics):
            del self._waiting[stamp]
            for other in [key for key, its in self._waiting.items() if _is_before(its, parts)]:
                self._give_up(other)
            return {name: message for name, (_, message) in parts.items()}
        if len(self._waiting) > self._depth:
            self._give_up(next(iter(self._waiting)))
        return None

    def reset(self) -> None:
        """Forget what waits and what was counted."""
        self._waiting.clear()
        self.unpaired.clear()

    def _give_up(self, stamp: Hashable) -> None:
        parts = self._waiting.pop(stamp)
        missing = [topic for topic in self._topics if topic not in parts]
        self.unpaired["without " + ", ".join(missing)] += 1


def _is_before(parts: Parts, whole: Parts) -> bool:
    """Whether one topic brought this frame before the whole one."""
    return any(number < whole[topic][0] for topic, (number, _) in parts.items())
