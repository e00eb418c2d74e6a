"""The engine of the node: a bundle opened as its parameters ask, warm and watched."""

from __future__ import annotations

import ctypes
import threading
import time
import types
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.backends.base import Runner, RunnerInfo, RunResult
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.drift import WatchedRunner
from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.nodes.engine_setup import EngineProgress
from anomaly_seg_ros.nodes.process_cost import thread_ids
from anomaly_seg_ros.nodes.settings import settings_from

REST = 0.005  # seconds that the executor stands still between two looks at an opening


class MeteredRunner(Runner):
    """A runner that adds up the CPU time its caller's thread spends in `run`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.cpu_seconds = 0.0

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        start = time.thread_time()
        try:
            return self._runner.run(image, wanted)
        finally:
            self.cpu_seconds += time.thread_time() - start

    def warmup(self, runs: int = 2) -> float:
        return self._runner.warmup(runs)

    def describe(self) -> RunnerInfo:
        return self._runner.describe()

    def close(self) -> None:
        self._runner.close()


@dataclass(frozen=True, eq=False)
class Engine:
    """A detector, the meters between it and its backend, and the backend's threads.

    source: the shipped name or folder that its bundle was asked for by.
    """

    source: str
    detector: Detector
    meter: MeteredRunner
    watched: WatchedRunner
    threads: frozenset[int]

    @property
    def bundle(self) -> Bundle:
        return self.detector.bundle

    def describe(self) -> RunnerInfo:
        """What runs it, on what."""
        return self.detector.runner.describe()

    def close(self) -> None:
        """Free the backend's memory, and give it back to the system."""
        self.detector.close()
        # The C library keeps what a thread freed for that thread: 30 MB more with each reload.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
        if trim is not None:
            trim(0)


def open_engine(
    given: Mapping[str, Any], progress: EngineProgress, log: Callable[[str], object], what: str
) -> Engine:
    """Open the bundle and load, or build, what runs it; run it warm.

    given: the node's parameters by name. progress: of engines that have to be built. what: the step
    it is part of, for the log. Raises AnomalySegError.
    """
    start = time.perf_counter()
    log(f"{what} 1/3: opening bundle {given['bundle']}")
    bundle = Bundle.open(given["bundle"])
    if given["class_map"]:
        bundle = bundle.with_classes(given["class_map"])
    settings = settings_from(given, bundle)
    log(f"{what} 2/3: loading {bundle.method} on backend {given['backend']}")
    before = thread_ids()
    if given["build_engines"]:
        progress.build(bundle, given)
    detector = Detector(
        bundle,
        backend=given["backend"],
        operating_point=settings.operating_point,
        threshold=settings.threshold,
        focus=settings.focus,
        region=Path(given["region"]) if given["region"] else None,
        device=given["device"] or None,
        precision=given["precision"],
        threads=given["threads"] or None,
    )
    try:
        info = detector.runner.describe()
        log(f"{what} 3/3: warming up {info.backend} {info.device} {info.precision}")
        per_frame = detector.warmup()
    except BaseException:
        detector.close()
        raise
    threads = thread_ids() - before
    meter = MeteredRunner(detector.runner)
    watched = detector.runner = WatchedRunner(meter)
    log(
        f"{what.removesuffix('e')}ed in {time.perf_counter() - start:.1f} s: {bundle.name} on "
        f"{info.backend} "
        f"{info.version}, {info.device}, {info.precision}, {info.threads} threads, "
        f"{1e3 * per_frame:.0f} ms per frame" + (f" ({info.note})" if info.note else "")
    )
    return Engine(given["bundle"], detector, meter, watched, threads)


class Opening:
    """An engine that a thread opens while another one serves."""

    def __init__(
        self, given: Mapping[str, Any], log: Callable[[str], object], alive: Callable[[], bool]
    ) -> None:
        """As `open_engine`; alive: whether ROS still runs, without which no engine is built."""
        self.engine: Engine | None = None  # when it is finished
        self.fault = ""  # why there is none then
        self._given, self._log = given, log
        self._progress = EngineProgress(log, lambda: None, alive)
        self._thread = threading.Thread(target=self._open, name="engine_opening", daemon=True)
        self._thread.start()

    async def finished(self) -> None:
        """Wait, in a callback of an executor that goes on with its other work.

        rclpy asks waiting callbacks again and again; the short rest leaves the engine its cores.
        """
        while self._thread.is_alive():
            self._thread.join(REST)
            await _turn()

    def _open(self) -> None:
        try:
            self.engine = open_engine(self._given, self._progress, self._log, "reload")
        except AnomalySegError as error:
            self.fault = str(error)
        except Exception as error:  # a backend may raise anything; the old engine serves on
            self.fault = f"{type(error).__name__}: {error}"


@types.coroutine
def _turn() -> Generator[None]:
    """Let the executor do something else."""
    yield
