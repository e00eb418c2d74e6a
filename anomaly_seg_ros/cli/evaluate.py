"""`anomaly-seg evaluate`: how well a bundle finds the anomalies of labelled recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from anomaly_seg_ros.cli.options import (
    add_detector_options,
    add_label_options,
    add_source_options,
    evaluate_options,
    label_topics,
    open_detector,
    positive_int,
)

EPILOG = """labels:
  single-channel 8-bit pictures or mono8 messages: 0 known, 1 anomaly, 255 void (not scored);
  other values are an error unless --map says what they mean.

which label belongs to which frame (--pair):
  stem     images: image and label have the same file stem (a --label-suffix may follow it)
  number   bag, video: the label's file stem is the frame number; frames count from 0 (from 1
           where no label is 0 and one would lie just past the end)
  order    bag, video: n-th label in natural order = n-th frame
  stamp    bag: the label's file stem is the image's header stamp in nanoseconds
  auto     stem for images; else stamp or number where all stems are such numbers, else order
  With a label topic, messages of equal header stamp belong together.
  Frames and labels without a partner are listed in the results and on the screen.

what is written below --out:
  results.json  frames, ap, auroc, fpr95 as fractions with error bounds, recall, precision and
                false regions at the operating point, and everything that did not pair
  results.md, frames.csv, curves.svg, examples/ (overlays of the best and worst frames)

examples:
  anomaly-seg evaluate images/ --labels labels/ --out scores
  anomaly-seg evaluate my_bag/ --labels /labels --out scores --bundle street_obsnet_lite
  anomaly-seg evaluate drive.mp4 --labels labels/ --pair number --out scores
  anomaly-seg evaluate camvid/ --labels ids/ --map "11:255,12:1,*:0" --out scores
  anomaly-seg evaluate scenes:7:60 --labels scenes --out scores
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `evaluate`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure AP, AUROC, FPR95 and false alarms on labelled recordings",
        description="Measure how well a bundle finds the labelled anomalies of a recording.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_options(parser)
    add_label_options(parser, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results go here")
    add_detector_options(parser)
    parser.add_argument(
        "--limit", type=positive_int, default=None, metavar="N", help="stop after N frames"
    )
    parser.set_defaults(handler=run, interrupted="nothing was written.")


def run(args: argparse.Namespace) -> int:
    from anomaly_seg_ros.replay.evaluation import evaluate
    from anomaly_seg_ros.replay.evaluation_report import problem_lines, summary_lines
    from anomaly_seg_ros.replay.labels import open_labels
    from anomaly_seg_ros.replay.progress import progress_bar
    from anomaly_seg_ros.replay.sources import open_source
    from anomaly_seg_ros.replay.video import quiet_decoders

    quiet_decoders()
    options = evaluate_options(args)
    with open_source(args.input, topic=args.topic, not_topics=label_topics(args)) as source:
        labels = open_labels(args.labels, source, pairing=args.pair, suffix=args.label_suffix)
        try:
            with open_detector(args) as detector:
                results = evaluate(
                    source, labels, detector, args.out, options, progress=progress_bar
                )
        finally:
            labels.close()
    for line in problem_lines(results):
        print(line, file=sys.stderr)
    print("\n".join(summary_lines(results)))
    print(f"results: {args.out}")
    return 0
