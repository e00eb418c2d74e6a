"""`anomaly-seg demo`: a drawn road with unknown objects through the real ROS 2 node."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anomaly_seg_ros.cli.options import positive_int

DEFAULT_OUT = Path("anomaly_seg_demo")
DEFAULT_FRAMES = 150
EPILOG = """The detector runs as a process of its own, on a private ROS domain: camera images go in
and masks come out over DDS, as on a vehicle. What is left below --out:
  contact_sheet.png   moments of the drives on one page
  overlays/           the same moments at full size
  overlay.mp4         all frames as a film
  bag/                camera images, masks and truth as a ROS 2 bag
  results.json        rate, latency and metrics

examples:
  anomaly-seg demo
  anomaly-seg demo --out /tmp/demo --frames 60 --seed 3
  anomaly-seg demo --bundle my_bundle/
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="replay a drawn road with unknown objects through the real node",
        description="Replay a drawn road with unknown objects through the real ROS 2 node.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--frames", type=positive_int, default=DEFAULT_FRAMES, metavar="N", help="default: 150"
    )
    parser.add_argument("--seed", type=int, default=7, help="another seed, other roads")
    parser.add_argument(
        "--rate", type=float, default=15.0, metavar="HZ", help="images per second (default: 15)"
    )
    parser.add_argument(
        "--bundle", default=None, metavar="NAME", help="shipped bundle or folder (default: shipped)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="CPU threads of the engine"
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; raises AnomalySegError."""
    from anomaly_seg_ros.nodes.environment import require_ros

    require_ros()
    from anomaly_seg_ros.nodes.demo import run_demo
    from anomaly_seg_ros.replay.video import quiet_decoders

    quiet_decoders()
    return run_demo(args)
