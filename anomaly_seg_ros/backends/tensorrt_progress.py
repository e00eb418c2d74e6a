"""How far a TensorRT build is: nested phases as its progress monitor reports them."""

from __future__ import annotations

import threading
from typing import Any

from anomaly_seg_ros.backends.build_watch import BuildStep, BuildWatch


class Phases:
    """Phases with steps, inside one another; thread-safe, as builders report from many threads."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str | None, int, int]] = {}  # name -> parent, steps, done
        self._reached = 0.0
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._open[name] = (parent, max(1, steps), 0)

    def step(self, name: str, number: int) -> None:
        """Step `number` (from 0) of a phase is complete."""
        with self._lock:
            if name in self._open:
                parent, steps, done = self._open[name]
                self._open[name] = (parent, steps, max(done, number + 1))

    def finish(self, name: str) -> None:
        with self._lock:
            self._open.pop(name, None)

    def done(self) -> float:
        """0..1 of everything, never less than before: steps of unknown length count alike."""
        with self._lock:
            roots = [name for name, (parent, _, _) in self._open.items() if parent is None]
            now = max((self._share(name) for name in roots), default=self._reached)
            self._reached = max(self._reached, min(1.0, now))
            return self._reached

    def _share(self, name: str) -> float:
        _, steps, done = self._open[name]
        inner = sum(self._share(child) for child, (p, _, _) in self._open.items() if p == name)
        return min(1.0, (done + min(1.0, inner)) / steps)


class Monitor:
    """Joins TensorRT's IProgressMonitor (`monitor`) to a BuildWatch.

    TensorRT calls it from C++, where an exception would end the process: what the watch raises is
    kept in `raised` and stops the build.
    """

    def __init__(self, trt: Any, what: str, watch: BuildWatch) -> None:
        self.raised: BaseException | None = None
        phases = Phases()

        def go_on(phase: str) -> bool:
            if self.raised is None:
                try:
                    watch.told(BuildStep(what, phase, phases.done()))
                    watch.check(what)
                except BaseException as error:  # see above
                    self.raised = error
            return self.raised is None

        class Bridge(trt.IProgressMonitor):
            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)

            def phase_start(
                self, phase_name: str, parent_phase: str | None, num_steps: int
            ) -> None:
                phases.start(phase_name, parent_phase, num_steps)
                go_on(phase_name)

            def step_complete(self, phase_name: str, step: int) -> bool:
                phases.step(phase_name, step)
                return go_on(phase_name)

            def phase_finish(self, phase_name: str) -> None:
                phases.finish(phase_name)

        self.monitor = Bridge()
