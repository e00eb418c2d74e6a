"""`anomaly-seg`: try, measure and replay road-anomaly detectors from the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from anomaly_seg_ros import __version__
from anomaly_seg_ros.cli import (
    bench,
    bundle,
    calibrate,
    demo,
    detect,
    doctor,
    engine,
    evaluate,
    parity,
    replay,
    soak,
)
from anomaly_seg_ros.errors import AnomalySegError

# Each module has add_parser(subparsers), which sets the default `handler` to run(args) -> int.
# They import what they compute with inside run, so that --help is quick and needs no ROS.
VERBS = (detect, evaluate, replay, calibrate, demo, bench, soak, parity, engine, doctor, bundle)

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

# The package itself does not bring OpenCV, so that it never gets beside another one.
NO_OPENCV = (
    "this Python has no OpenCV (cv2): pip install opencv-python-headless, or python3-opencv of "
    "the system's packages"
)
DESCRIPTION = "Find unknown objects on the road in camera images."
EPILOG = """examples:
  anomaly-seg demo                                      a drawn road through the real ROS 2 node
  anomaly-seg detect drive.mp4 --out results            overlays, scores and a video of a recording
  anomaly-seg evaluate images --labels labels --out scores
  anomaly-seg VERB --help                               options and examples of a verb
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="anomaly-seg",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"anomaly_seg_ros {__version__}")
    subparsers = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in VERBS:
        module.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 2 an error that was explained, 130 Ctrl-C."""
    args = build_parser().parse_args(arguments)
    try:
        return int(args.handler(args))
    except AnomalySegError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        print(f"error: {NO_OPENCV}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        note = getattr(args, "interrupted", "")
        print(f"\ninterrupted{': ' + note if note else ''}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (| head): not an error, but stdout cannot be flushed either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
