"""`anomaly-seg calibrate`: thresholds of a bundle for one's own camera and roads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.cli.options import (
    add_runner_options,
    add_source_options,
    open_detector,
    positive_int,
    region_identity,
)

if TYPE_CHECKING:
    from anomaly_seg_ros.replay.calibration import Calibration

AROUND = 4  # thresholds shown on either side of the chosen one
LISTED = 10  # unreadable frames shown
EPILOG = """The recording must show no anomaly: every region that is found counts as a false one. Of
scenes:SEED the drive without unknown objects is taken. The drive is read once.

points that are added to the bundle:
  NAME        the lowest threshold with at most --false-regions on this drive, and a share of frames
              with a false region of at most that rate on new frames of the same kind, on average
              over drives (conformal risk control). Needs 1 / rate - 1 frames or more: 99 for 1/100.
              Neighbouring frames resemble each other: a long drive or --every shows more.
  NAME_fpr01, NAME_fpr05   1 % and 5 % of the score's pixels of this drive pass, anywhere in the
              picture; measured, not guaranteed.
The focus, where --focus does not say it, and the smallest region of the mask are those of
--operating-point. The bundle's reference quantiles, which the node's drift monitor compares with,
become those of this drive. Points that the bundle has stay as they are.

examples:
  anomaly-seg calibrate normal_drive/ --out my_bundle
  anomaly-seg calibrate drive.mcap --out my_bundle --false-regions 2/min --region roi.png
  anomaly-seg calibrate drive.mp4 --bundle my_bundle --in-place --name rain --every 5
  anomaly-seg calibrate scenes:7:300 --out my_bundle --false-regions 1/200 --focus everywhere
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `calibrate`."""
    parser = subparsers.add_parser(
        "calibrate",
        help="choose a bundle's thresholds on a drive without anomalies",
        description="Choose the thresholds of a bundle on a recorded drive without anomalies.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_options(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="BUNDLE", help="new folder for the copy")
    target.add_argument(
        "--in-place", action="store_true", help="change the bundle itself; never a shipped one"
    )
    parser.add_argument("--name", default="calibrated", help="of the point (default: %(default)s)")
    parser.add_argument(
        "--false-regions",
        default="1/100",
        metavar="RATE",
        help='let through, "1/100" per frames or "2/min" by the stamps (default: %(default)s)',
    )
    parser.add_argument(
        "--min-region",
        type=positive_int,
        default=200,
        metavar="PIXELS",
        help="of the camera, from which a region counts (default: %(default)s)",
    )
    parser.add_argument(
        "--thresholds",
        nargs=3,
        type=float,
        default=None,
        metavar=("LOW", "HIGH", "STEP"),
        help="to try, fewer are quicker (default: 30 to 98 %% of the bundle's display range, in"
        " steps of 2 %%)",
    )
    group = parser.add_argument_group("detector")
    add_runner_options(group)
    group.add_argument(
        "--focus",
        choices=("everywhere", "road"),
        default=None,
        help="where the mask looks (default: as the operating point says)",
    )
    group.add_argument(
        "--region",
        type=Path,
        default=None,
        metavar="PNG",
        help="gray picture of the camera's size: regions count where it is not 0",
    )
    parser.add_argument(
        "--every", type=positive_int, default=1, metavar="N", help="take each N-th frame"
    )
    parser.add_argument(
        "--limit", type=positive_int, default=None, metavar="N", help="stop after N frames"
    )
    parser.set_defaults(
        handler=run, threshold=None, class_map=None, interrupted="nothing was written."
    )


def run(args: argparse.Namespace) -> int:
    from anomaly_seg_ros.replay.calibration import (
        AllowedRate,
        CalibrateOptions,
        calibrate,
        target,
        write_calibrated,
    )
    from anomaly_seg_ros.replay.progress import progress_bar
    from anomaly_seg_ros.replay.sources import open_source
    from anomaly_seg_ros.replay.video import quiet_decoders

    rate = AllowedRate.parse(args.false_regions)
    quiet_decoders()
    with open_source(args.input, topic=args.topic) as source, open_detector(args) as detector:
        target(detector.bundle, args.out)  # told before the drive is read
        options = CalibrateOptions(
            rate=rate,
            name=args.name,
            min_region=args.min_region,
            thresholds=tuple(args.thresholds) if args.thresholds else None,
            every=args.every,
            limit=args.limit,
            region=region_identity(args.region),
        )
        found = calibrate(source, detector, options, progress=progress_bar)
        written = write_calibrated(detector.bundle, found, args.out)
        warnings = list(source.warnings)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    _print_bad(found)
    print("\n".join(_table(found)))
    print(f"bundle: {written.folder}")
    print(f"use it: --bundle {written.folder} --operating-point {args.name}")
    return 0


def _print_bad(found: Calibration) -> None:
    for bad in found.bad_frames[:LISTED]:
        print(f"unreadable: {bad.name}: {bad.reason}", file=sys.stderr)
    if len(found.bad_frames) > LISTED:
        print(f"... and {len(found.bad_frames) - LISTED} more", file=sys.stderr)


def _table(found: Calibration) -> list[str]:
    """The curve around the chosen threshold, and the points."""
    curve, chosen = found.curve, found.chosen
    lines = [
        f"{curve.frames} frames, {len(found.bad_frames)} unreadable",
        "  threshold   false regions/100 frames   frames with one   mask pixels",
    ]
    first = max(0, chosen - AROUND)
    for k in range(first, min(curve.thresholds.size, chosen + AROUND + 1)):
        lines.append(
            f"{'>' if k == chosen else ' '} {curve.thresholds[k]:9.6g}"
            f"   {100 * curve.regions[k] / curve.frames:24.2f}"
            f"   {curve.frames_with_regions[k] / curve.frames:15.2%}"
            f"   {curve.pixels[k]:11.4%}"
        )
    if found.frames_per_second:
        minute = 60 * found.frames_per_second * curve.regions[chosen] / curve.frames
        lines.append(
            f"at {found.frames_per_second:.3g} frames/s: {minute:.2f} false regions a minute"
        )
    if chosen == 0:
        lines.append("the lowest threshold tried is enough already: lower ones by --thresholds")
    for point in found.points:
        lines.append(f"{point.name}: {point.threshold:g}, {point.focus}: {point.rule}")
    return lines
