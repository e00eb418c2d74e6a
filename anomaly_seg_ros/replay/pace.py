"""When the next image of a recording is due."""

from __future__ import annotations

import time

DEFAULT_RATE = 10.0  # images per second, for recordings that have no times
LONGEST_GAP = 5.0  # seconds waited at most between two frames of a recording


class Pace:
    """By a fixed rate, the recording's times or its frame rate.

    `behind`: seconds that the last image came after its time.
    """

    def __init__(self, frames_per_second: float | None) -> None:
        self.behind = 0.0
        self._period = 1.0 / (frames_per_second or DEFAULT_RATE)
        self._due: float | None = None
        self._stamp: int | None = None

    def delay(self, rate: float, stamp_ns: int | None) -> float:
        """Seconds to wait for the next image; rate 0: as recorded. A late image moves all later
        ones.
        """
        now = time.perf_counter()
        due = now
        if self._due is not None:
            gap = self._period
            if rate > 0:
                gap = 1.0 / rate
            elif stamp_ns is not None and self._stamp is not None:
                gap = min(max((stamp_ns - self._stamp) * 1e-9, 0.0), LONGEST_GAP)
            due = self._due + gap
        self.behind = max(0.0, now - due)
        self._due = max(due, now)
        self._stamp = stamp_ns
        return self._due - now
