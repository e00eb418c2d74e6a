"""`anomaly-seg bench`: how fast the bare engine is, and the whole node."""

from __future__ import annotations

import argparse
import importlib
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.cli.options import add_runner_options, add_size_option, positive_int
from anomaly_seg_ros.errors import AnomalySegError

if TYPE_CHECKING:
    from anomaly_seg_ros.engine_name import EngineName

EPILOG = """examples:
  anomaly-seg bench engine                 fit, stages and finish in this process
  anomaly-seg bench node                   camera message in to mask message out, over DDS
  anomaly-seg bench node --cameras 3       one process for three cameras against three processes
"""
ENGINE_EPILOG = """Frames of a drawn road go through the Detector one at a time, as fast as it
can. Printed are wall-clock percentiles of each step, CPU time per frame and memory; upload and
download where the backend moves tensors to a device and can tell.

Several engines, named BACKEND[:PRECISION][@DEVICE], take turns every few frames, so that what
disturbs the machine disturbs all of them; each gets its ratio to the first.

examples:
  anomaly-seg bench engine --threads 1
  anomaly-seg bench engine --bundle ./my_bundle --size 1080x1920 --json engine.json
  anomaly-seg bench engine --bundle ./my_bundle --engines onnxruntime:fp32,onnxruntime:int8
"""

SEED = 7
IMAGES, FRAME_STEP = 8, 15  # a few seconds of the drive: what is seen hardly changes the time


class LateParser(argparse.ArgumentParser):
    """A parser that gets its options when it is used: the node's module is slow to import."""

    late_module: str | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.late_module is not None:
            importlib.import_module(self.late_module).add_arguments(self)
            self.late_module = None
        return super().parse_known_args(args, namespace)


def add_parser(subparsers: Any) -> None:
    """Add the verb `bench` with `engine` and `node`."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the engine or the whole node",
        description="Measure the engine or the whole node on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(
        title="verbs", metavar="VERB", required=True, parser_class=LateParser
    )
    engine = verbs.add_parser(
        "engine",
        help="fit, stages and finish in this process",
        description="Measure the detector without ROS.",
        epilog=ENGINE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_runner_options(engine)
    engine.add_argument(
        "--engines",
        default=None,
        metavar="LIST",
        help="comma-separated BACKEND[:PRECISION][@DEVICE], in the place of --backend, --device and"
        " --precision",
    )
    engine.add_argument(
        "--per-stage",
        action="store_true",
        help="times of every stage, also where a backend runs all of them as one piece; its total"
        " is then slower",
    )
    engine.add_argument(
        "--wanted",
        default="labels,score,mask",
        metavar="LIST",
        help="comma-separated outputs (default: %(default)s)",
    )
    engine.add_argument(
        "--frames", type=positive_int, default=200, metavar="N", help="measured (default: 200)"
    )
    engine.add_argument(
        "--warmup", type=positive_int, default=10, metavar="N", help="not measured (default: 10)"
    )
    add_size_option(engine)
    engine.add_argument("--json", type=Path, default=None, metavar="FILE", help="numbers as JSON")
    engine.set_defaults(handler=run_engine)
    node = verbs.add_parser(
        "node",
        help="camera message in to mask message out, in another process, over DDS",
        description="Measure the real node: a camera process, the detector process, a reader.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    node.late_module = "anomaly_seg_ros.nodes.bench"
    node.set_defaults(handler=run_node)


def run_engine(args: argparse.Namespace) -> int:
    """Measure the engine and print the table. Raises AnomalySegError."""
    from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle
    from anomaly_seg_ros.detector import Detector
    from anomaly_seg_ros.engine_bench import measure_engines, report_lines
    from anomaly_seg_ros.replay.progress import progress_bar
    from anomaly_seg_ros.scenes import RoadSequence

    bundle = Bundle.open(args.bundle or DEFAULT_BUNDLE)
    with ExitStack() as stack:
        detectors = {
            str(name): stack.enter_context(
                Detector(
                    bundle,
                    name.backend,
                    args.operating_point,
                    device=name.device,
                    precision=name.precision,
                    threads=args.threads,
                )
            )
            for name in _engines(args)
        }
        for detector in detectors.values():
            detector.runner.profiling = args.per_stage
        road = RoadSequence(seed=SEED, size=args.size)
        images = [road.frame(index * FRAME_STEP).image for index in range(IMAGES)]
        report = measure_engines(
            detectors,
            images,
            tuple(name.strip() for name in args.wanted.split(",")),
            frames=args.frames,
            warmup=args.warmup,
            progress=progress_bar,
        )
    print("\n".join(report_lines(report)))
    if args.json is not None:
        _write(args.json, json.dumps(report.as_json(), indent=1) + "\n")
    return 0


def _engines(args: argparse.Namespace) -> list[EngineName]:
    """The engines that are asked for, each once."""
    from anomaly_seg_ros.engine_name import EngineName, parse_engine

    if args.engines is None:
        return [EngineName(args.backend, args.precision, args.device)]
    if (args.backend, args.precision, args.device) != ("auto", "fp32", None):
        raise AnomalySegError(
            "--engines beside --backend, --device or --precision: name all of it in --engines, "
            "such as onnxruntime:int8@cpu"
        )
    return list(dict.fromkeys(parse_engine(text) for text in args.engines.split(",")))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AnomalySegError(f"cannot write {path}: {error.strerror}") from error


def run_node(args: argparse.Namespace) -> int:
    """Measure the node and print. Raises AnomalySegError."""
    from anomaly_seg_ros.nodes.bench import run_node_bench

    return run_node_bench(args)
