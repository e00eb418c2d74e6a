"""Engines that are built while the node waits: told while it lasts."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from anomaly_seg_ros.backends import BuildStep, BuildWatch, prepare_engines
from anomaly_seg_ros.bundle import Bundle

LOG_PERIOD, SHOW_PERIOD = 5.0, 1.0  # seconds between two lines, between two diagnostics
PACKAGE_LOG = logging.getLogger("anomaly_seg_ros")


class RosLog(logging.Handler):
    """Passes what the package tells Python's logging on to a node's logger, from INFO upwards."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.INFO)
        self._logger = logger
        PACKAGE_LOG.addHandler(self)
        if not PACKAGE_LOG.isEnabledFor(logging.INFO):
            PACKAGE_LOG.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # One line for each level: rclpy ties a level to the line that it is called from.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)

    def close(self) -> None:
        PACKAGE_LOG.removeHandler(self)
        super().close()


class EngineProgress:
    """Follows the building of engines: `text` for diagnostics, a log line now and then.

    `show` is called about once a second while something is built, since no timer of the node fires
    then. A build ends when `alive` no longer holds. Thread-safe.
    """

    def __init__(
        self, log: Callable[[str], object], show: Callable[[], object], alive: Callable[[], bool]
    ) -> None:
        self.text = ""  # empty while nothing is built
        self._log = log
        self._show = show
        self._alive = alive
        self._logged = self._shown = -math.inf
        self._what = ""
        self._lock = threading.Lock()
        self._watch = BuildWatch(self._told, lambda: not alive())

    def build(self, bundle: Bundle, given: Mapping[str, Any]) -> None:
        """Build the engines that the parameters ask for. Raises BackendError, BuildCancelled."""
        self._what = ""
        try:
            prepare_engines(
                bundle,
                given["backend"],
                given["device"] or None,
                given["precision"],
                self._watch,
            )
        finally:
            self.text = ""

    def _told(self, step: BuildStep) -> None:
        if not self._alive():
            return
        now = time.perf_counter()
        with self._lock:
            self.text = f"building the engine of {step.what}: {step.done:.0%}"
            is_new = step.what != self._what
            log = is_new or now - self._logged >= LOG_PERIOD
            show = is_new or now - self._shown >= SHOW_PERIOD
            self._what = step.what
            self._logged, self._shown = (
                now if log else self._logged,
                now if show else self._shown,
            )
        if log:
            self._log(f"{self.text} ({step.phase})")
        if show:
            try:
                self._show()
            except RuntimeError:  # rclpy's own errors: ROS may end in the middle of it
                if self._alive():
                    raise
