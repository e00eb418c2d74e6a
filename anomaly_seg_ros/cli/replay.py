"""`anomaly-seg replay`: a recording through the detector or the real node, with a report."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.cli.options import (
    add_detector_options,
    add_label_options,
    add_source_options,
    evaluate_options,
    label_topics,
    open_bundle,
    open_detector,
    positive_int,
)
from anomaly_seg_ros.errors import AnomalySegError

if TYPE_CHECKING:
    from anomaly_seg_ros.replay.evaluation import Evaluation
    from anomaly_seg_ros.replay.replay_report import Played
    from anomaly_seg_ros.replay.sources import Source

EXIT_DIFFERENT = 1
PATIENCE = 20.0  # seconds for one frame in lock-step
EPILOG = """modes (--mode):
  in-process  the detector in this process: no ROS, no loss, the same result each time
  lock-step   through the real node in its own process, each frame after the answer to the one
              before; labels, score and mask are compared bit for bit with those of in-process
  real-time   through the real node at the recorded rate (or --rate), nothing waits: latency, age
              and frames without a mask by cause

With --labels the report has the accuracy as `anomaly-seg evaluate` measures it; in lock-step and
real-time that of the node's own scores and masks.

what is written below --out:
  results.json, results.md   the numbers; `replay` holds those of the mode
  latency.svg                real-time: latency over time and its distribution
  frames.csv, curves.svg, examples/   with labels, as of `anomaly-seg evaluate`

exit status: 0 done, 1 lock-step found a difference or a frame without an answer, 2 an error

examples:
  anomaly-seg replay drive.mcap --mode lock-step --out replay
  anomaly-seg replay drive.mcap --mode real-time --rate 30 --out replay
  anomaly-seg replay scenes:7:60 --labels scenes --mode lock-step --out replay
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `replay`."""
    parser = subparsers.add_parser(
        "replay",
        help="play a recording through the real node and report equality, latency, accuracy",
        description="Play a recording through the detector or the real node and write a report.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_options(parser)
    parser.add_argument(
        "--mode",
        choices=("in-process", "lock-step", "real-time"),
        required=True,
        help="see below",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results go here")
    add_label_options(parser, required=False)
    add_detector_options(parser)
    parser.add_argument(
        "--rate",
        type=float,
        default=None,
        metavar="HZ",
        help="images per second with real-time (default: as recorded)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=None,
        metavar="S",
        help=f"seconds that lock-step waits for one frame (default: {PATIENCE:g})",
    )
    parser.add_argument(
        "--limit", type=positive_int, default=None, metavar="N", help="stop after N frames"
    )
    parser.set_defaults(handler=run, interrupted="no report was written.")


def run(args: argparse.Namespace) -> int:
    """Play, write the report and print it; 0 or EXIT_DIFFERENT. Raises AnomalySegError."""
    from anomaly_seg_ros import __version__
    from anomaly_seg_ros.replay.evaluation import Evaluation, subject
    from anomaly_seg_ros.replay.evaluation_report import problem_lines
    from anomaly_seg_ros.replay.labels import open_labels
    from anomaly_seg_ros.replay.replay_report import LockStep, write_replay_report
    from anomaly_seg_ros.replay.sources import open_source
    from anomaly_seg_ros.replay.video import quiet_decoders

    _check(args)
    quiet_decoders()
    options = evaluate_options(args)
    bundle = open_bundle(args)
    with ExitStack() as stack:
        source = stack.enter_context(
            open_source(args.input, topic=args.topic, not_topics=label_topics(args))
        )
        labels = None
        if args.labels:
            labels = open_labels(args.labels, source, pairing=args.pair, suffix=args.label_suffix)
            stack.callback(labels.close)
        evaluation = Evaluation(source, labels, bundle, options)
        played = _play(args, source, evaluation)
        evaluation.require_frames()
        results = {
            "version": __version__,
            **evaluation.results(played.rule),
            **subject(source, bundle, played.runner),
        }
        scoring = evaluation.scoring if labels is not None else None
        lines = write_replay_report(args.out, results, played, scoring)
    for line in problem_lines(results):
        print(line, file=sys.stderr)
    print("\n".join(lines))
    print(f"results: {args.out}")
    different = isinstance(played.run, LockStep) and not played.run.passed
    return EXIT_DIFFERENT if different else 0


def _check(args: argparse.Namespace) -> None:
    for name, mode, least in (("rate", "real-time", 0.1), ("patience", "lock-step", 0.1)):
        value = getattr(args, name)
        if value is None:
            continue
        if args.mode != mode:
            raise AnomalySegError(f"--{name} is for --mode {mode}: leave it out with {args.mode}")
        if not value >= least:
            raise AnomalySegError(f"--{name} is {value:g}; expected at least {least:g}")


def _play(args: argparse.Namespace, source: Source, evaluation: Evaluation) -> Played:
    from anomaly_seg_ros.nodes.environment import require_ros
    from anomaly_seg_ros.replay.in_process import play_in_process
    from anomaly_seg_ros.replay.progress import progress_bar

    region = str(args.region or "")
    parameters: dict[str, object] = {}
    if args.mode != "in-process":
        require_ros()
        parameters = node_parameters(args)  # an error comes before anything is loaded
    if args.mode == "real-time":
        from anomaly_seg_ros.nodes.real_time import play_in_real_time

        return play_in_real_time(
            source,
            parameters,
            evaluation,
            args.out,
            rate=args.rate,
            region=region,
            progress=progress_bar,
        )
    with open_detector(args) as detector:
        if args.mode == "in-process":
            return play_in_process(detector, evaluation, region, progress_bar)
        from anomaly_seg_ros.nodes.lock_step import play_in_lock_step

        return play_in_lock_step(
            source,
            detector,
            parameters,
            evaluation,
            patience=PATIENCE if args.patience is None else args.patience,
            region=region,
            progress=progress_bar,
        )


def node_parameters(args: argparse.Namespace) -> dict[str, object]:
    """The parameters that give the node the detector of open_detector. Raises AnomalySegError."""
    from anomaly_seg_ros.bundle import DEFAULT_BUNDLE
    from anomaly_seg_ros.nodes.detector_parameters import DETECTOR_PARAMETERS

    given = {
        "bundle": args.bundle or DEFAULT_BUNDLE,
        "backend": args.backend,
        "device": args.device,
        "precision": args.precision,
        "threads": args.threads,
        "operating_point": args.operating_point,
        "threshold": args.threshold,
        "focus": args.focus,
        "class_map": _absolute(args.class_map),
        "region": _absolute(args.region),
    }
    given = {name: value for name, value in given.items() if value is not None}
    unknown = given.keys() - {parameter.name for parameter in DETECTOR_PARAMETERS}
    if unknown:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(unknown))
        raise AnomalySegError(
            f"the detector node has no parameter for {options}: leave it out, or use --mode"
            " in-process"
        )
    return given


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().resolve())
