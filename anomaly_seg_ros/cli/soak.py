"""`anomaly-seg soak`: prove the ROS 2 node over thousands of frames and through faults."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anomaly_seg_ros.cli.options import add_size_option, positive_int

DEFAULT_OUT = Path("build/soak.json")
EPILOG = """The detector runs as a process of its own, a camera as another one. Measured are memory,
age and losses of every frame at 1x and 5x the rate that this machine can serve, latencies against
the bare detector, and what faults do to the node. Half an hour with the shipped default on two
cores. Exit code 1 when a verdict fails; what is finished stands in --out at any time.

examples:
  anomaly-seg soak --out build/soak.json
  anomaly-seg soak --quick
  anomaly-seg soak --only stream --frames 1000
  anomaly-seg soak --only source_killed --only latency_640x480
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `soak`."""
    parser = subparsers.add_parser(
        "soak",
        help="prove the node over thousands of frames and through faults",
        description="Prove the ROS 2 node over thousands of frames and through faults.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--frames",
        type=positive_int,
        default=None,
        metavar="N",
        help="of each stream (default: 10000, with --quick 300)",
    )
    parser.add_argument("--quick", action="store_true", help="every part in its shortest form")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="this part, or all whose names begin so; may be given several times",
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument(
        "--bundle", default=None, metavar="NAME", help="shipped bundle or folder (default: shipped)"
    )
    add_size_option(parser)
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="CPU threads of the engine"
    )
    parser.set_defaults(handler=run)


FRAMES, QUICK_FRAMES = 10_000, 300


def run(args: argparse.Namespace) -> int:
    """Run the soak; 1 when a verdict fails. Raises AnomalySegError."""
    from anomaly_seg_ros.nodes.environment import require_ros

    require_ros()
    from anomaly_seg_ros.nodes.soak.soak import run_soak

    args.frames = args.frames or (QUICK_FRAMES if args.quick else FRAMES)
    args.interrupted = f"{args.out} holds what was finished"
    return run_soak(args)
