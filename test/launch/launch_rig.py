"""`ros2 launch` as a process of a test, and a stand-in for RViz."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

INDEX = Path("share/ament_index/resource_index/packages")
PATIENCE = 200.0  # seconds


def ros2_launch(file: str, *arguments: str) -> list[str]:
    """The command line of `ros2 launch`; file: one of this package, or a path."""
    start = "import sys; from ros2cli.cli import main; sys.exit(main())"
    package = [] if "/" in file else ["anomaly_seg_ros"]
    return [sys.executable, "-c", start, "launch", *package, file, *arguments]


def launch(environment: dict[str, str], file: str, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a launch that ends by itself."""
    done = subprocess.run(
        ros2_launch(file, *arguments),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout


class Launched:
    """A launch that runs until the block is left; then comes Ctrl-C.

    A terminal sends SIGINT to launch and to its nodes, which get a second one from launch.
    """

    def __init__(self, environment: dict[str, str], folder: Path, *arguments: str) -> None:
        """arguments: as for `ros2_launch`; folder: where the log is written."""
        self._log = folder / "launch.log"
        with self._log.open("w") as stream:
            self.process = subprocess.Popen(
                ros2_launch(*arguments),
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own
            )

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGINT)
                self.process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing is left of it
                os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def text(self) -> str:
        """What launch and its nodes have said so far."""
        return self._log.read_text()

    def node_ids(self) -> list[int]:
        """Process ids of the nodes that were started."""
        return [
            int(number) for number in re.findall(r"process started with pid \[(\d+)\]", self.text)
        ]

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"no {what}\n{self.text}"
            assert self.process.poll() is None, f"ended before {what}\n{self.text}"
            time.sleep(0.05)


def is_running(process_id: int) -> bool:
    """False too for one that has ended and that nobody waits for (Linux)."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def with_rviz_stand_in(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """RViz itself is C++; a stand-in in its place writes its arguments to folder/called."""
    index = folder / INDEX
    stand_in = folder / "lib" / "rviz2" / "rviz2"
    for place in (index, stand_in.parent):
        place.mkdir(parents=True)
    (index / "rviz2").touch()
    called = folder / "called"
    stand_in.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {called}.part\nmv {called}.part {called}\n'
    )
    stand_in.chmod(0o755)
    prefixes = os.pathsep.join((str(folder), environment["AMENT_PREFIX_PATH"]))
    return {**environment, "AMENT_PREFIX_PATH": prefixes}


def rviz_call(folder: Path) -> tuple[Path, dict[str, str]]:
    """The configuration and the remappings that the stand-in was called with."""
    arguments = (folder / "called").read_text().splitlines()
    config = Path(arguments[arguments.index("--display-config") + 1])
    return config, dict(argument.split(":=") for argument in arguments if ":=/" in argument)
