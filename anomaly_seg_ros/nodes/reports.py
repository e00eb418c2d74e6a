"""Faults that repeat: each is counted, its kind is told once and then rarely."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

REPEAT_SECONDS = 60.0
MAX_KINDS = 40
OTHER = "other faults"

_VALUES = re.compile(
    r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\b(?:[0-9a-f]{2} )+[0-9a-f]{2}\b|-?\b\d[\d.]*\b"
)


def kind_of(error: BaseException) -> str:
    """What stays the same when a fault repeats with other numbers: its message without values.

    >>> kind_of(ValueError("rgb8 image of 4 x 3 pixels has step 9; expected at least 12"))
    'rgb8 image of _ x _ pixels has step _'
    """
    first = re.split(r"[;\n]", str(error).strip(), maxsplit=1)[0]
    return _VALUES.sub("_", first)[:120].strip() or type(error).__name__


class FaultReports:
    """Counts faults by kind and passes the first of each kind on; repeats once a minute.

    Thread-safe. Memory is bounded: beyond MAX_KINDS kinds everything counts as "other faults".
    """

    def __init__(self, tell: Callable[[str], object], repeat: float = REPEAT_SECONDS) -> None:
        self._tell = tell
        self._repeat = repeat
        self._counts: dict[str, int] = {}
        self._told: dict[str, tuple[float, int]] = {}  # kind -> when, and the count at that time
        self._lock = threading.Lock()

    def add(self, kind: str, message: str) -> None:
        """Count one fault of this kind; tell it when it is the first, or again after a while."""
        now = time.perf_counter()
        with self._lock:
            if kind not in self._counts and len(self._counts) >= MAX_KINDS:
                kind = OTHER
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            told_at, told_count = self._told.get(kind, (float("-inf"), 0))
            if now - told_at < self._repeat:
                return
            self._told[kind] = (now, count)
        if told_count:
            message += f" ({count - told_count} more like this since the last report)"
        self._tell(message)

    def counts(self) -> dict[str, int]:
        """Faults by kind since the start or the last reset."""
        with self._lock:
            return dict(self._counts)

    def reset(self) -> None:
        """Forget the counts, not what was told."""
        with self._lock:
            self._counts.clear()
