"""`python -m training benchmark`: methods, checkpoints and bundles on the public datasets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from anomaly_seg_ros.replay.progress import progress_bar
from training.baselines import BASELINES
from training.benchmark.contenders import OWN, ContenderSpec
from training.benchmark.machine import cores
from training.benchmark.markdown_tables import markdown_headline
from training.benchmark.operating_point import RISKS, Calibration
from training.benchmark.predictions import STORED_SCORES
from training.benchmark.protocols import PROTOCOLS
from training.benchmark.report import write_report
from training.benchmark.results import BenchmarkError
from training.benchmark.run import BenchmarkOptions, benchmark, write_submissions
from training.benchmark.scored_frames import FILTERS, EvaluationSize
from training.data.catalogue import ANOMALY_SETS

EXAMPLES = """examples:
  python -m training benchmark --bundle street_obsnet_lite --dataset procedural_anomalies \\
      --out runs/first                                      needs no data at all
  python -m training benchmark --bundle street_obsnet_lite --method own,max_softmax,entropy \\
      --dataset road_anomaly21,road_obstacle21 --data ../data --size 384 --out runs/smiyc
  python -m training benchmark --checkpoint runs/joint/final.ckpt --method own,odin,knn \\
      --dataset camvid_pasted/test --data ../data --protocol pooled,error_detection --out runs/odin
  python -m training benchmark --python my_package.my_model:make --dataset fishyscapes_static \\
      --data ../data --out runs/mine
  python -m training benchmark --bundle street_obsnet_lite --dataset fishyscapes_static \\
      --data ../data --calibrate camvid_pasted/val --risk false_alarms=0.01 --out runs/calibrated
  python -m training benchmark --list
A run that was stopped goes on with the same command; other protocols or datasets with the same
--out reuse the predictions. Datasets: NAME, NAME/SPLIT, or folder:PATH (images/ and labels/).
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `benchmark`."""
    parser = subparsers.add_parser(
        "benchmark",
        help="methods, checkpoints and bundles on the public datasets, into a report",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    who = parser.add_argument_group("who competes")
    who.add_argument("--bundle", action="append", default=[], help="shipped name or folder")
    who.add_argument("--checkpoint", action="append", default=[], help="file of `training fit`")
    who.add_argument(
        "--python", action="append", default=[], metavar="MODULE:CALLABLE", help="a model of yours"
    )
    who.add_argument(
        "--method",
        default=OWN,
        help="comma list: own (the score they were made with) and baselines, see --list",
    )
    who.add_argument(
        "--member", action="append", default=[], help="further checkpoint of an ensemble"
    )
    who.add_argument(
        "--operating-point", default="default", help="comma list, of bundles, for their masks"
    )
    who.add_argument("--device", default="", help="of the networks, for example cuda:0")
    who.add_argument("--precision", default="fp32", help="of bundles (default: %(default)s)")
    who.add_argument(
        "--threads", type=int, default=None, help="per worker (default: cores/workers)"
    )
    who.add_argument("--fit-set", default="cityscapes256", help="what baselines are fitted on")
    who.add_argument("--fit-frames", type=int, default=200, help="how many of it, evenly spread")
    what = parser.add_argument_group("on what")
    what.add_argument("--dataset", default="", help="comma list, see --list")
    what.add_argument("--data", type=Path, default=Path("data"), help="folder of the datasets")
    what.add_argument(
        "--protocol", default="", help="comma list (default: each dataset's own), see --list"
    )
    what.add_argument(
        "--size", default="native", help="native, rows (384) or columns (x1024) to compare at"
    )
    what.add_argument(
        "--filter", choices=FILTERS, default="area", help="how images shrink (default: %(default)s)"
    )
    what.add_argument("--limit", type=int, default=None, help="first frames of each dataset only")
    what.add_argument(
        "--strict", action="store_true", help="stop at a damaged frame instead of leaving it out"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--out", type=Path, help="predictions and report go here")
    how.add_argument("--title", default="Road-anomaly benchmark", help="of the report")
    how.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    how.add_argument("--ray", metavar="ADDRESS", help="Ray cluster, or local (--workers of them)")
    how.add_argument("--repeats", type=int, default=1000, help="resamples of intervals, 0 for none")
    how.add_argument("--seed", type=int, default=0)
    how.add_argument("--stored", choices=STORED_SCORES, default="float32", help="scores on disk")
    how.add_argument("--pictures", type=int, default=3, help="best and worst frames to draw")
    how.add_argument("--calibrate", metavar="DATASET", help="frames to choose a threshold on")
    how.add_argument(
        "--risk",
        default="false_alarms=0.01",
        help=f"KIND=ALPHA to control there: {', '.join(RISKS)} (default: %(default)s)",
    )
    how.add_argument("--latency", type=float, help="milliseconds a frame takes, for streaming")
    how.add_argument(
        "--submission",
        type=Path,
        metavar="DIR",
        help="write the scores in the upload format of SegmentMeIfYouCan too",
    )
    how.add_argument("--list", action="store_true", help="datasets, methods and protocols")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure, write the report, print the tables; returns 0."""
    if args.list:
        print(catalogue())
        return 0
    options = options_of(args)
    results = benchmark(options, progress=progress_bar)
    page = write_report(results, args.out)
    print(markdown_headline(results))
    if args.submission:
        for submission in write_submissions(options, args.submission):
            print(f"for upload: {submission.folder}, {submission.frames} frames")
            print("".join(f"  {note}\n" for note in submission.notes), end="")
    for warning in results.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"all figures: {page}, results.md, results.json, results.csv")
    return 0


def options_of(args: argparse.Namespace) -> BenchmarkOptions:
    """Raises BenchmarkError for what is missing or does not fit together."""
    if args.out is None or not args.dataset:
        raise BenchmarkError("--dataset and --out are needed; --list names the datasets")
    if args.workers < 1:
        raise BenchmarkError(f"--workers {args.workers}: expected 1 or more")
    return BenchmarkOptions(
        contenders=_contenders(args),
        datasets=tuple(_parts(args.dataset)),
        root=args.data,
        out=args.out,
        protocols=tuple(_parts(args.protocol)),
        size=EvaluationSize.parse(args.size, args.filter),
        workers=args.workers,
        ray=args.ray,
        repeats=args.repeats,
        seed=args.seed,
        stored=args.stored,
        pictures=args.pictures,
        fit_set=args.fit_set,
        fit_frames=args.fit_frames,
        limit=args.limit,
        strict=args.strict,
        calibration=Calibration.parse(args.calibrate, args.risk) if args.calibrate else None,
        latency=None if args.latency is None else args.latency / 1000,
        title=args.title,
        command="python -m training " + " ".join(sys.argv[1:]),
    )


def _contenders(args: argparse.Namespace) -> tuple[ContenderSpec, ...]:
    threads = args.threads or max(1, cores() // args.workers)
    specs = []
    for kind, source in (
        *(("bundle", source) for source in args.bundle),
        *(("checkpoint", source) for source in args.checkpoint),
    ):
        for method in _parts(args.method):
            needs = BASELINES[method].needs if method in BASELINES else ()
            points = _parts(args.operating_point) if (kind, method) == ("bundle", OWN) else ()
            specs += [
                ContenderSpec(
                    kind,
                    source,
                    method,
                    device=args.device,
                    precision=args.precision,
                    threads=threads,
                    operating_point=point,
                    others=tuple(args.member) if "several checkpoints" in needs else (),
                    seed=args.seed,
                )
                for point in points or ("default",)
            ]
    specs += [ContenderSpec("python", source, threads=threads) for source in args.python]
    return tuple(specs)


def catalogue() -> str:
    """Datasets, methods and protocols, for people."""
    lines = ["datasets (the first split is meant where none is named):"]
    lines += [
        f"  {name:32s} {entry.title} [{', '.join(entry.splits)}]"
        for name, entry in ANOMALY_SETS.items()
    ]
    lines += ["", "methods:", f"  {OWN:32s} the score that a bundle or checkpoint was made with"]
    lines += [
        f"  {name:32s} {recipe.about} (needs {', '.join(recipe.needs)})"
        for name, recipe in BASELINES.items()
    ]
    lines += ["", "protocols:"]
    lines += [f"  {name:32s} {protocol.title}" for name, protocol in PROTOCOLS.items()]
    return "\n".join(lines)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
