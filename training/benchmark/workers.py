"""Who does the work: this process, several of them, or the machines of a Ray cluster.

All give the results of the same function on the same tasks in the order of the tasks, so a figure
never depends on how many worked on it.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from anomaly_seg_ros.errors import AnomalySegError

Task = TypeVar("Task")
Done = TypeVar("Done")
LOCAL_RAY = "local"  # as address: a cluster of this machine alone
RAY_AHEAD = 4  # tasks submitted per worker, so that none waits


class WorkersError(AnomalySegError):
    """Workers that cannot be had."""


class Workers:
    """In this process, one task after another."""

    count = 1

    def map(self, function: Callable[[Task], Done], tasks: Sequence[Task]) -> Iterator[Done]:
        """Results of `function` in the order of `tasks`."""
        return map(function, tasks)


class Processes(Workers):
    """Processes of this machine. Functions and tasks travel by pickle between our own processes."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self.pool, self.count = pool, count

    def map(self, function: Callable[[Task], Done], tasks: Sequence[Task]) -> Iterator[Done]:
        return self.pool.map(function, tasks)


class RayCluster(Workers):
    """Ray workers; every machine sees this checkout, the data and the output at the same paths."""

    def __init__(self, ray: Any, count: int) -> None:
        self.ray, self.count = ray, count

    def map(self, function: Callable[[Task], Done], tasks: Sequence[Task]) -> Iterator[Done]:
        remote = self.ray.remote(function)
        waiting: deque[Any] = deque()
        for task in tasks:
            waiting.append(remote.remote(task))
            if len(waiting) >= RAY_AHEAD * self.count:
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def _result(self, reference: Any) -> Any:
        """Arrays come read-only out of Ray's store; accumulators go on counting in theirs."""
        return copy.deepcopy(self.ray.get(reference))


@contextmanager
def open_workers(count: int, ray_address: str | None = None) -> Iterator[Workers]:
    """`count` processes, or the cluster at `ray_address` ("local": `count` workers started here).

    Raises WorkersError where ray is not installed or no cluster answers.
    """
    if ray_address is not None:
        with _ray_cluster(count, ray_address) as cluster:
            yield cluster
    elif count == 1:
        yield Workers()
    else:
        # Not forked: runtimes of the networks have threads that do not survive a fork.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(count, mp_context=context)
        try:
            yield Processes(pool, count)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _ray_cluster(count: int, address: str) -> Iterator[RayCluster]:
    try:
        import ray
    except ImportError as error:
        raise WorkersError("--ray needs Ray: pip install 'ray>=2.9'") from error
    # Workers import the same modules as this process, wherever it was started from.
    paths = {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])}
    options: dict[str, Any] = {"address": address, "runtime_env": {"env_vars": paths}}
    if address == LOCAL_RAY:
        options |= {"num_cpus": count, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, configure_logging=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorkersError(
            f"no Ray cluster at {address!r} ({error}): start one with `ray start --head`, or use "
            f"--ray {LOCAL_RAY}"
        ) from error
    try:
        yield RayCluster(ray, max(1, int(ray.cluster_resources().get("CPU", count))))
    finally:
        ray.shutdown()
