"""`anomaly-seg detect`: the detector over a recording, results into a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.cli.options import (
    add_detector_options,
    add_source_options,
    open_detector,
    positive_int,
    region_identity,
)

if TYPE_CHECKING:
    from anomaly_seg_ros.replay.sources import Source

SAVE_HELP = "overlay, panels, video, score, mask, labels, synthesis, bag"
EPILOG = """what is written below --out, by --save:
  overlay    overlays/NAME.png   camera image with classes, anomaly heat and outlines
  panels     panels/NAME.png     camera image, classes, synthesis (if any) and score side by side
  video      overlay.mp4         the overlays as a film
  score      scores/NAME.png     anomaly score, 16 bit; scores/format.json says how to read it
  mask       masks/NAME.png      255 = anomaly, 0 = not
  labels     labels/NAME.png     class ids of the bundle, 255 = not looked at
  synthesis  synthesis/NAME.png  resynthesised image, of bundles that make one
  bag        result_bag/         ROS 2 bag: camera images unchanged, with /detector/segmentation,
                                 /detector/anomaly_mask, /detector/anomaly_score and, where the
                                 bundle makes it, /detector/synthesis
  report.json                    settings, frames done, frames not read and why, times
NAME is the image's file name, or the frame number (000123) of a video or bag.

A run that was stopped loses nothing: the same command again does what is missing.

examples:
  anomaly-seg detect photos/ --out results
  anomaly-seg detect drive.mp4 --out results --save video,score --every 3
  anomaly-seg detect my_bag/ --topic /camera/image_raw --out results --save bag
  anomaly-seg detect scenes:7:60 --out results --operating-point fpr01
  anomaly-seg detect photos/ --out results --bundle street_resynthesis_lite --save panels,synthesis
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `detect`."""
    parser = subparsers.add_parser(
        "detect",
        help="run the detector over images, a video or a bag and keep the results",
        description="Run the detector over a recording and keep overlays, scores, masks or a bag.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results go here")
    parser.add_argument(
        "--save",
        type=_names,
        default=None,
        metavar="LIST",
        help=f"comma-separated, of {SAVE_HELP} (default: overlay,score,mask; and video where the"
        " recording has a frame rate)",
    )
    add_detector_options(parser)
    parser.add_argument(
        "--every", type=positive_int, default=1, metavar="N", help="take each N-th frame"
    )
    parser.add_argument(
        "--limit", type=positive_int, default=None, metavar="N", help="stop after N frames"
    )
    parser.add_argument(
        "--score-format",
        choices=("png16", "npz"),
        default="png16",
        help="16-bit PNG over a range, or exact float32 (default: %(default)s)",
    )
    parser.add_argument(
        "--score-range",
        nargs=2,
        type=float,
        default=None,
        metavar=("LOW", "HIGH"),
        help="range of the 16-bit PNG (default: the bundle's display range)",
    )
    parser.add_argument(
        "--fps", type=float, default=None, help="of the video (default: the recording's rate)"
    )
    parser.add_argument(
        "--bag-storage",
        choices=("mcap", "sqlite3"),
        default="mcap",
        help="of the result bag (default: %(default)s, compressed)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="delete the results of an earlier run in --out"
    )
    parser.set_defaults(
        handler=run,
        interrupted="what is finished is kept; the same command again does the rest.",
    )


def run(args: argparse.Namespace) -> int:
    from anomaly_seg_ros.errors import ReplayError
    from anomaly_seg_ros.replay.detection import replay
    from anomaly_seg_ros.replay.detection_run import DetectOptions
    from anomaly_seg_ros.replay.progress import progress_bar
    from anomaly_seg_ros.replay.sources import open_source
    from anomaly_seg_ros.replay.video import quiet_decoders
    from anomaly_seg_ros.replay.writers import ScoreFormat

    if args.fps is not None and not 0.1 <= args.fps <= 1000:
        raise ReplayError(f"--fps {args.fps:g}: expected 0.1 to 1000")
    quiet_decoders()
    with open_source(args.input, topic=args.topic) as source, open_detector(args) as detector:
        low, high = args.score_range or detector.bundle.score_display
        options = DetectOptions(
            save=args.save or default_save(source),
            score=ScoreFormat(args.score_format, low, high),
            every=args.every,
            limit=args.limit,
            fps=args.fps,
            storage=args.bag_storage,
        )
        report = replay(
            source,
            detector,
            args.out,
            options,
            region=region_identity(args.region),
            overwrite=args.overwrite,
            progress=progress_bar,
        )
    _print_summary(report, args.out)
    return 0


def default_save(source: Source) -> frozenset[str]:
    """A video of still images is only made when it is asked for."""
    still = source.describe().kind == "images"
    return frozenset({"overlay", "score", "mask"} | (set() if still else {"video"}))


def _print_summary(report: dict[str, Any], out: Path) -> None:
    for warning in report["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    for bad in report["bad_frames"][:10]:
        print(f"unreadable: {bad['name']}: {bad['reason']}", file=sys.stderr)
    if len(report["bad_frames"]) > 10:
        print(f"... and {len(report['bad_frames']) - 10} more, see report.json", file=sys.stderr)
    times = report["seconds"].get("detect", {})
    runner = report["runner"]
    print(
        f"{report['frames']} frames done, {len(report['bad_frames'])} unreadable,"
        f" {report['frames_with_anomaly']} with an anomaly"
    )
    if times:
        print(
            f"detector: p50 {times['p50'] * 1e3:.1f} ms, p95 {times['p95'] * 1e3:.1f} ms a frame"
            f" ({runner['backend']}, {runner['device']}, {runner['precision']})"
        )
    print(f"results: {out}")


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())
