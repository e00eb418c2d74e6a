"""How fast bundles are beside each other: runs in turn, so that a busy machine slows all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.backends import Runner

WARMUP = 3


@dataclass(frozen=True)
class Cost:
    """Medians of one run of all stages, in milliseconds."""

    wall: float
    cpu: float  # of all threads of the process; tells more where others use the machine


def in_turn(runners: Mapping[str, Runner], image: np.ndarray, runs: int) -> dict[str, Cost]:
    """Run each runner once, then again, `runs` times after a warm-up: labels and score of `image`,
    uint8 [1, H, W, 3]."""
    wall: dict[str, list[float]] = {name: [] for name in runners}
    cpu: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(WARMUP + runs):
        for name, runner in runners.items():
            begin, busy = time.perf_counter(), time.process_time()
            runner.run(image, ("labels", "score"))
            if turn >= WARMUP:
                wall[name].append(time.perf_counter() - begin)
                cpu[name].append(time.process_time() - busy)
    return {
        name: Cost(1e3 * statistics.median(wall[name]), 1e3 * statistics.median(cpu[name]))
        for name in runners
    }
