"""How a node process of ours lives and ends: one executor, quiet on Ctrl-C, exit status 0."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TypeVar

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.nodes.environment import PARENT_VARIABLE

PR_SET_PDEATHSIG = 1  # linux/prctl.h

AnyNode = TypeVar("AnyNode", bound=Node)


def run_node(
    make: Callable[[], AnyNode],
    usage: str,
    args: Sequence[str] | None = None,
    status: Callable[[AnyNode], int] = lambda node: 0,
) -> int:
    """Spin the node that `make` builds until SIGINT, SIGTERM or a shutdown of ROS.

    Returns what `status` says of the node then (0), or 2 when the node cannot be built. A second
    SIGINT while ending changes nothing: a terminal and `ros2 launch` both send one for the same
    Ctrl-C.
    """
    arguments = list(sys.argv if args is None else args)
    own = arguments[: arguments.index("--ros-args")] if "--ros-args" in arguments else arguments
    if {"-h", "--help"} & set(own):
        print(usage)
        return 0
    # rclpy chains its handlers to these: the signal ends spinning, and Python raises nothing.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, _ignore)
    end_with_parent()
    rclpy.init(args=arguments)
    node: AnyNode | None = None
    try:
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while executor.context.ok():
            executor.spin_once()
    except (ParameterException, AnomalySegError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception:
        # The usual end: a signal shut ROS down while we waited (ExternalShutdownException) or in
        # the middle of a callback, where any call into ROS raises its own error.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # until the interpreter is gone
    return status(node) if node is not None else 0


def end_with_parent() -> None:
    """Get SIGINT when the process that started us ends, where it asked for that (Linux only).

    A demo or bench that is killed leaves no detector behind.
    """
    if not os.environ.get(PARENT_VARIABLE) or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != int(os.environ[PARENT_VARIABLE]):  # it ended before we could ask
        raise SystemExit(0)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Leave the work to rclpy's own handler."""
