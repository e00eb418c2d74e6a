"""`anomaly-seg doctor`: what is installed here, what can run, what is wrong and the mend."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

EPILOG = """marks:
  [ ok ]   works
  [ -- ]   not there; only some uses need it
  [warn]   works, but not as it should
  [FAIL]   what everybody needs does not work

Every library is imported in a process of its own, so one that crashes is a finding. Exit code: 0
nothing failed, 1 something did.

examples:
  anomaly-seg doctor
  anomaly-seg doctor --json > doctor.json        to send with a question
"""
EXIT_FAILED = 1


def add_parser(subparsers: Any) -> None:
    """Add the verb `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="what is installed, what can run, what is wrong",
        description="Look for what keeps the detector from running on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON in the place of the page")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Print the page or JSON; 0 or EXIT_FAILED."""
    from anomaly_seg_ros.doctor import FAIL, examine, look_around, page_json, page_lines

    areas = examine(look_around())
    if args.json:
        print(json.dumps(page_json(areas), indent=1))
    else:
        colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n".join(page_lines(areas, colours=colours)))
    failed = any(finding.mark == FAIL for found in areas.values() for finding in found)
    return EXIT_FAILED if failed else 0
