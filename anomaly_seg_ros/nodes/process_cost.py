"""What this process costs: CPU seconds by kind of work, resident memory. Linux; elsewhere None."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TASKS = Path("/proc/self/task")
_PER_THREAD = 6  # CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED of linux/posix-timers.h


def thread_ids() -> frozenset[int]:
    """Ids of all threads of this process, native ones of the engine and of DDS included."""
    try:
        return frozenset(int(entry.name) for entry in _TASKS.iterdir())
    except OSError:
        return frozenset()


def cpu_seconds(thread: int) -> float:
    """CPU time of one thread of this process; 0.0 when it has ended.

    The clock id is built the way pthread_getcpuclockid does it, which Python offers only for
    threads of its own.
    """
    try:
        return time.clock_gettime((~thread << 3) | _PER_THREAD)
    except OSError:
        return 0.0


def resident_megabytes() -> float | None:
    """Resident memory of this process in 1e6 bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds per frame. Their sum is all that the process used."""

    engine: float  # Runner.run: its calls in the worker and the threads of its pools
    own: float  # conversion, fitting, thresholds, messages: the worker outside engine and publish
    transport: float  # publish calls, and all other threads: DDS, the executor's deserialisation


class CostLedger:
    """Splits the CPU time of the process since `reset` into engine, own work and transport.

    The worker thread adds what it measured around Runner.run and publish; everything else follows
    from the CPU clocks of the threads.
    """

    def __init__(self, engine_threads: frozenset[int], worker: int) -> None:
        self._engine_threads = engine_threads
        self._worker = worker
        self.reset()

    def reset(self) -> None:
        """Start counting at zero."""
        self._process_start = time.process_time()
        self._pool_start = self._pools()
        self._worker_start = cpu_seconds(self._worker)
        self.run_seconds = 0.0
        self.publish_seconds = 0.0
        self.frames = 0

    def add(self, run_seconds: float, publish_seconds: float) -> None:
        """One frame: CPU seconds of the worker thread inside Runner.run and inside publish."""
        self.run_seconds += run_seconds
        self.publish_seconds += publish_seconds
        self.frames += 1

    def per_frame(self) -> Cost | None:
        """Milliseconds per frame since the reset; None before the first frame."""
        if not self.frames:
            return None
        worker = cpu_seconds(self._worker) - self._worker_start
        pools = self._pools() - self._pool_start
        total = time.process_time() - self._process_start
        scale = 1e3 / self.frames
        return Cost(
            engine=(self.run_seconds + pools) * scale,
            own=(worker - self.run_seconds - self.publish_seconds) * scale,
            transport=(total - worker - pools + self.publish_seconds) * scale,
        )

    def _pools(self) -> float:
        return sum(cpu_seconds(thread) for thread in self._engine_threads)
