"""A node of ours as a process of its own, started, watched and ended by a demo, bench or test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.environment import PARENT_VARIABLE

STOP_PATIENCE = 15.0  # seconds after SIGINT before the process is killed
LAST_LINES = 25


class NodeProcess:
    """Runs `python -m MODULE ARGUMENTS`; its output goes to a log file.

    A context manager: the process is gone when the block is left, however that happens.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        """environment: variables added to those of this process. Raises NodeError."""
        package_root = str(Path(__file__).resolve().parents[2])
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.module = module
        self.log = log
        try:
            with log.open("wb") as stream:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", module, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env={
                        **os.environ,
                        **environment,
                        "PYTHONPATH": os.pathsep.join(paths),
                        PARENT_VARIABLE: str(os.getpid()),
                    },
                    start_new_session=True,  # a Ctrl-C of the terminal reaches us; we end it
                )
        except OSError as error:
            raise NodeError(f"cannot start {module}: {error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Raise NodeError with the last lines of its log when the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise NodeError(
                f"{self.module} ended with status {status}. Its last lines:\n{self.last_lines()}"
            )

    def last_lines(self, count: int = LAST_LINES) -> str:
        """The end of the log, indented."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(f"  | {line}" for line in text.splitlines()[-count:])

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        if self.is_running:
            self._process.send_signal(signal.SIGINT)

    def wait(self, patience: float = STOP_PATIENCE) -> int:
        """The exit status; the process is killed when it does not end in time."""
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def stop(self) -> int:
        """End the process as Ctrl-C does and return its exit status."""
        self.interrupt()
        return self.wait()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def detector_process(
    parameters: Mapping[str, object],
    environment: Mapping[str, str],
    log: Path | None = None,
    remap: str = "image:=/camera/image",
) -> NodeProcess:
    """The detector node with these parameters, its input remapped."""
    arguments = ["--ros-args", "-r", remap]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={_yaml(value)}"]
    if log is None:
        log = Path(tempfile.mkdtemp(prefix="anomaly_seg_")) / "detector.log"
    return NodeProcess("anomaly_seg_ros.nodes.detector_node", arguments, environment, log)


def _yaml(value: object) -> str:
    """A parameter value as the command line of ROS takes it; strings keep their type."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)
