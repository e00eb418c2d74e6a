"""What happened to the frames: rates, losses by cause, latencies, time per stage."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

RATE_WINDOW = 5.0  # seconds
LATENCY_WINDOW = 1000  # frames
PLAUSIBLE_AGE = 3600.0  # seconds; beyond, camera and node do not share a clock

# Causes of loss; they stand as keys in the diagnostics.
REPLACED = "replaced by newer"
STALE = "stale"
MALFORMED = "malformed"
FAILED = "failed"
QUEUE_FULL = "queue full"
STOPPED = "stopped"
DROP_CAUSES = (REPLACED, STALE, MALFORMED, FAILED, QUEUE_FULL, STOPPED)
# Reasons for not looking at a frame that are no loss.
DISABLED = "disabled"
UNWATCHED = "nobody subscribed"
SKIP_CAUSES = (DISABLED, UNWATCHED)


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile, in milliseconds."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Snapshot:
    """The statistics at one moment; spreads are None before the first value."""

    received: int
    finished: int
    dropped: Mapping[str, int]
    skipped: Mapping[str, int]
    input_rate: float  # frames per second over the last RATE_WINDOW seconds
    output_rate: float
    silence: float  # seconds since the last frame, or since the start
    latency: Spread | None  # arrival in the callback to masks published
    input_age: Spread | None  # stamp to arrival, by the node's clock
    output_age: Spread | None  # stamp to masks published
    stages: Mapping[str, float] = field(default_factory=dict)  # mean milliseconds
    anomaly_fraction: float | None = None  # of the last mask, 0..1
    last_stamp: float | None = None
    jumps: int = 0  # times that stamps went back


class FrameStatistics:
    """Counts and windows, thread-safe: the callback and the worker add, the diagnostics read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_arrival = time.perf_counter()
        self.reset()

    def reset(self) -> None:
        """Forget everything but when the last frame came."""
        with self._lock:
            self._start = time.perf_counter()
            self._received = 0
            self._finished = 0
            self._dropped: Counter[str] = Counter()
            self._skipped: Counter[str] = Counter()
            self._arrivals: deque[float] = deque(maxlen=LATENCY_WINDOW)
            self._departures: deque[float] = deque(maxlen=LATENCY_WINDOW)
            self._latencies: deque[float] = deque(maxlen=LATENCY_WINDOW)
            self._input_ages: deque[float] = deque(maxlen=LATENCY_WINDOW)
            self._output_ages: deque[float] = deque(maxlen=LATENCY_WINDOW)
            self._stages: dict[str, deque[float]] = {}
            self._anomaly_fraction: float | None = None
            self._last_stamp: float | None = None
            self._jumps = 0

    def restart_silence(self) -> None:
        """Count silence from now on: the subscription is new."""
        self._last_arrival = time.perf_counter()

    def received(self, stamp: float, age: float) -> None:
        """A message arrived, stamped `stamp` s, `age` s ago by the node's clock."""
        now = time.perf_counter()
        with self._lock:
            self._received += 1
            self._last_arrival = now
            self._last_stamp = stamp
            self._arrivals.append(now)
            if 0 <= age < PLAUSIBLE_AGE:
                self._input_ages.append(age)

    def jumped(self) -> None:
        """The stamps of the images went back."""
        with self._lock:
            self._jumps += 1

    def dropped(self, cause: str, count: int = 1) -> None:
        """`count` frames were lost for this cause."""
        if count:
            with self._lock:
                self._dropped[cause] += count

    def skipped(self, cause: str) -> None:
        """One frame was not looked at, and nobody wanted it."""
        with self._lock:
            self._skipped[cause] += 1

    def finished(
        self,
        latency: float,
        age: float,
        seconds: Mapping[str, float],
        anomaly_fraction: float | None,
    ) -> None:
        """The masks of one frame were published; all times in seconds."""
        with self._lock:
            self._finished += 1
            self._departures.append(time.perf_counter())
            self._latencies.append(latency)
            if 0 <= age < PLAUSIBLE_AGE:
                self._output_ages.append(age)
            for name, value in seconds.items():
                self._stages.setdefault(name, deque(maxlen=LATENCY_WINDOW)).append(value)
            if anomaly_fraction is not None:
                self._anomaly_fraction = anomaly_fraction

    def snapshot(self) -> Snapshot:
        """Everything at this moment."""
        now = time.perf_counter()
        with self._lock:
            window = max(1e-3, min(RATE_WINDOW, now - self._start))
            return Snapshot(
                received=self._received,
                finished=self._finished,
                dropped={cause: self._dropped[cause] for cause in DROP_CAUSES},
                skipped={cause: self._skipped[cause] for cause in SKIP_CAUSES},
                input_rate=_count_since(self._arrivals, now - window) / window,
                output_rate=_count_since(self._departures, now - window) / window,
                silence=now - self._last_arrival,
                latency=spread(self._latencies),
                input_age=spread(self._input_ages),
                output_age=spread(self._output_ages),
                stages={name: 1e3 * float(np.mean(v)) for name, v in self._stages.items()},
                anomaly_fraction=self._anomaly_fraction,
                last_stamp=self._last_stamp,
                jumps=self._jumps,
            )


def spread(seconds: Iterable[float]) -> Spread | None:
    """Median and 95th percentile of durations in seconds, as milliseconds; None of nothing."""
    values = np.fromiter(seconds, np.float64)
    if not values.size:
        return None
    p50, p95 = 1e3 * np.percentile(values, (50, 95))
    return Spread(float(p50), float(p95))


def _count_since(times: deque[float], start: float) -> int:
    return sum(1 for moment in times if moment >= start)
