"""Reaching TensorRT: is it there, which version, and its log lines in Python's logging.

Every name used of `tensorrt` exists in 10.3 and in 11.x: networks are strongly typed, which 10
needs to be told and 11 always does.
"""

from __future__ import annotations

import importlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from anomaly_seg_ros.errors import BackendError

OLDEST, TOO_NEW = (10, 3), (12, 0)
KEPT_LINES = 12  # of the log, to be shown with an error

log = logging.getLogger(__name__)


def load_tensorrt() -> Any:
    """The module `tensorrt`. Raises BackendError with the mend when it cannot be used."""
    try:
        trt = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        if error.name == "tensorrt":
            raise BackendError(
                "TensorRT is not installed: pip install 'anomaly_seg_ros[tensorrt]', or on a "
                "Jetson the tensorrt package of JetPack"
            ) from error
        raise _broken(error) from error
    except (ImportError, OSError, RuntimeError) as error:  # its libraries are loaded on import
        raise _broken(error) from error
    version = str(trt.__version__)
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if not OLDEST <= parts < TOO_NEW:
        raise BackendError(
            f"TensorRT {version} is installed; expected 10.3 or newer, below 12: install one of "
            "these versions"
        )
    return trt


class LogLines:
    """TensorRT's messages: passed on to Python's logging, the last ones kept for errors.

    `logger` is the ILogger; this object must live as long as anything made with it.
    """

    def __init__(self, trt: Any) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        keep = self._lines.append
        levels = {
            trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
            trt.ILogger.Severity.ERROR: logging.ERROR,
            trt.ILogger.Severity.WARNING: logging.WARNING,
            trt.ILogger.Severity.INFO: logging.DEBUG,
            trt.ILogger.Severity.VERBOSE: logging.DEBUG,
        }

        class Bridge(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                level = levels.get(severity, logging.DEBUG)
                if level > logging.DEBUG:
                    keep(msg.strip())
                log.log(level, "%s", msg.strip())

        self.logger = Bridge()

    def made(self, what: str, mend: str, make: Callable[..., Any], *arguments: Any) -> Any:
        """What TensorRT makes. Raises BackendError where it gives nothing: it failed."""
        try:
            thing = make(*arguments)
        except TypeError as error:  # its constructors: "factory function returned nullptr"
            raise self.error(f"{what} ({error})", mend) from error
        if thing is None:
            raise self.error(what, mend)
        return thing

    def error(self, what: str, mend: str) -> BackendError:
        """An error with what TensorRT said since the last one."""
        said = "".join(f"\n  | {line}" for line in self._lines)
        self._lines.clear()
        return BackendError(f"{what}: {mend}" + (f"; TensorRT said:{said}" if said else ""))


def _broken(error: Exception) -> BackendError:
    return BackendError(
        f"TensorRT is installed but cannot be loaded ({error}): install the libraries of the same "
        "version again (pip install --force-reinstall tensorrt)"
    )
