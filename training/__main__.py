"""`python -m training`: train, export and measure the methods."""

from __future__ import annotations

import argparse
import sys

from anomaly_seg_ros.errors import AnomalySegError
from training import (
    bench,
    bench_metrics,
    bench_observer,
    fit,
    import_weights,
    prepare,
    release,
)
from training.benchmark import command as benchmark
from training.precision import command as add_precision
from training.torch_programs import command as torch_program
from training.torch_programs import gpu_report


def main() -> int:
    """Run one verb; 2 and one line on stderr for a mistake of the user."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    subparsers = parser.add_subparsers(required=True, metavar="VERB")
    for verb in (
        prepare,
        fit,
        release,
        import_weights,
        benchmark,
        bench,
        bench_metrics,
        bench_observer,
        add_precision,
        torch_program,
        gpu_report,
    ):
        verb.add_parser(subparsers)
    args = parser.parse_args()
    try:
        return int(args.handler(args))
    except AnomalySegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
