"""What a vehicle knows at each moment: results come late, and the world has moved on.

After Li et al., Towards Streaming Perception (ECCV 2020): at the time of each frame the newest
finished result is held against that frame's labels, so that accuracy and latency become one figure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics.base import VOID, FrameResult

Policy = Literal["latest", "all"]


def schedule(
    times: Sequence[float], seconds: float | Sequence[float], policy: Policy = "latest"
) -> list[int | None]:
    """For each frame the number of the frame whose result is in force at its time; None before the
    first result.

    times: when each frame arrives, rising. seconds: how long a detection takes, one value or one
    for each frame. One worker takes a frame when it is free: with `latest` a newer frame replaces
    the one that waits, with `all` frames queue. What happens at one instant happens in this order:
    a result is finished, the worker takes what waits, the frame arrives; a result finished at the
    time of a frame is in force then. Raises MetricError for other times, seconds or policies.
    """
    durations = [seconds] * len(times) if isinstance(seconds, (int, float)) else list(seconds)
    _check(times, durations, policy)
    waiting: deque[int] = deque()
    finished: deque[tuple[float, int]] = deque()  # (when, frame) of results to come into force
    free = -np.inf
    newest: int | None = None
    in_force: list[int | None] = []
    for number, now in enumerate(times):
        while waiting and free <= now:
            free += durations[waiting[0]]
            finished.append((free, waiting.popleft()))
        if free <= now:
            free = now + durations[number]
            finished.append((free, number))
        else:
            if policy == "latest":
                waiting.clear()
            waiting.append(number)
        while finished and finished[0][0] <= now:
            newest = finished.popleft()[1]
        in_force.append(newest)
    return in_force


def as_seen(
    frames: Iterable[FrameResult], in_force: Sequence[int | None], lowest: float = -np.inf
) -> Iterator[FrameResult]:
    """The frames as the vehicle sees them, for any accumulator: score and predicted classes of the
    result in force, label and true classes of now.

    in_force: from `schedule`. lowest: the score where no result is in force yet, below all others;
    nothing is predicted there (255). Only the results that are still needed are kept. Raises
    MetricError when the numbers of frames differ or a frame's result would come from later frames
    or from before the result of the frame before.
    """
    needed = {number for number in in_force if number is not None}
    kept: dict[int, FrameResult] = {}
    oldest = count = 0
    for number, now in enumerate(frames):
        count = number + 1
        if count > len(in_force):
            break
        if number in needed:
            kept[number] = now
        source = in_force[number]
        if source is None:
            nothing = None if now.predicted is None else np.full_like(now.predicted, VOID)
            yield FrameResult(np.full_like(now.score, lowest), now.label, nothing, now.truth)
            continue
        if not oldest <= source <= number:
            raise MetricError(
                f"frame {number} is held against the result of frame {source}; expected one from "
                f"{oldest} to {number}"
            )
        for passed in range(oldest, source):
            kept.pop(passed, None)
        oldest = source
        yield FrameResult(kept[source].score, now.label, kept[source].predicted, now.truth)
    if count != len(in_force):
        raise MetricError(
            f"{count} frames or more for a schedule of {len(in_force)}; expected as many"
        )


def _check(times: Sequence[float], durations: Sequence[float], policy: str) -> None:
    if policy not in ("latest", "all"):
        raise MetricError(f"policy {policy!r}; expected 'latest' or 'all'")
    if len(durations) != len(times):
        raise MetricError(f"seconds of {len(durations)} frames; expected one value or {len(times)}")
    if not np.isfinite([*times, *durations]).all() or min(durations, default=0) < 0:
        raise MetricError("times and seconds of a schedule are not all finite, or some seconds < 0")
    late = np.flatnonzero(np.diff(np.asarray(times, np.float64)) <= 0)
    if late.size:
        raise MetricError(
            f"frame {late[0] + 1} arrives at {times[late[0] + 1]}, not after the one before at "
            f"{times[late[0]]}; expected rising times"
        )
