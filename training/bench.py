"""`python -m training bench`: engines of a shipped model on this CPU, torch eager the first."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from anomaly_seg_ros.backends import Runner
from anomaly_seg_ros.backends.engine_cache import EngineCache
from anomaly_seg_ros.backends.torch_backend import TorchBackend
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle
from anomaly_seg_ros.cli.options import positive_int
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.engine_bench import EngineReport, EngineTimes, measure_engines
from anomaly_seg_ros.replay.progress import progress_bar
from anomaly_seg_ros.scenes import RoadSequence
from training.bundle_networks import bundle_stages
from training.data.catalogue import open_dataset
from training.precision.frames import MEASURED_SET
from training.precision.parity import Parity, Reference
from training.torch_programs.eager import EagerRunner
from training.torch_programs.programs import make_programs

CPU = torch.device("cpu")
ONNX_RUNTIME = "onnxruntime-cpu"
SEED, IMAGES, FRAME_STEP = 7, 4, 30  # of the drawn road that is measured on
WARMUP = 5
EXAMPLES = """examples:
  python -m training bench
  python -m training bench --threads 1 --frames 50
  python -m training bench --bundle runs/with_int8 --data ../data --every 2
Engines take turns every few frames of one run, and each ratio is the median of neighbouring turns.
With --data, labels, score and AP are compared with ONNX Runtime's fp32 graphs, at camera size.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `bench`."""
    parser = subparsers.add_parser(
        "bench",
        help="torch eager, torch programs and ONNX Runtime in one run",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bundle", default=DEFAULT_BUNDLE, help="shipped name, or folder of the same networks"
    )
    parser.add_argument("--threads", type=positive_int, default=2)
    parser.add_argument(
        "--frames", type=positive_int, default=60, help="of each, in turns (default: 60)"
    )
    parser.add_argument("--data", type=Path, help="folder that holds CamVid and the cut-outs")
    parser.add_argument(
        "--every",
        type=positive_int,
        default=4,
        help="compare on each n-th frame of CamVid val (default: 4)",
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Print the table; returns 0."""
    bundle = Bundle.open(args.bundle)
    pasted = None if args.data is None else open_dataset(MEASURED_SET, args.data)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        engines = open_engines(bundle, EngineCache(Path(name)), args.threads)
        for detector in engines.values():
            stack.enter_context(detector)
        road = RoadSequence(seed=SEED)
        report = measure_engines(
            engines,
            [road.frame(index * FRAME_STEP).image for index in range(IMAGES)],
            ("labels", "score"),
            frames=args.frames,
            warmup=WARMUP,
            progress=progress_bar,
        )
        parities: dict[str, Parity] = {}
        if pasted is not None:
            reference = Reference(bundle, pasted, every=args.every, real=True, threads=args.threads)
            parities = {name: reference.judge(detector) for name, detector in engines.items()}
    print("\n".join(lines(bundle, args.threads, report, parities)))
    return 0


def open_engines(bundle: Bundle, cache: EngineCache, threads: int) -> dict[str, Detector]:
    """Every way to run the bundle on this CPU, by name, torch eager first.

    cache: where programs of the torch backend are put. threads: of each, set for all of torch.
    Raises BundleError for a bundle whose torch networks are not known, BackendError.
    """
    torch.set_num_threads(threads)
    wide = [stage.to(memory_format=torch.channels_last) for stage in bundle_stages(bundle)]
    make_programs(bundle, cache, device=CPU, precision="fp32")
    runners: dict[str, Runner] = {
        "torch eager": EagerRunner(bundle_stages(bundle), CPU),
        "torch eager, channels last": EagerRunner(wide, CPU),
        "torch backend": TorchBackend(lambda: cache).load(bundle, "cpu", threads=threads),
    }
    engines = {}
    for name, runner in runners.items():
        engines[name] = Detector(bundle, "onnxruntime", device="cpu", threads=threads)
        engines[name].close()
        engines[name].runner = runner
    for precision in cpu_precisions(bundle):
        engines[f"onnxruntime {precision}"] = Detector(
            bundle, "onnxruntime", device="cpu", precision=precision, threads=threads
        )
    return engines


def cpu_precisions(bundle: Bundle) -> list[str]:
    """The precisions that every stage has a graph of for ONNX Runtime on CPUs, in the bundle's
    order. fp16 is none: a CPU computes it in fp32 and rounds."""
    of_stages = [
        [file.precision for file in stage.files if file.target in ("any", ONNX_RUNTIME)]
        for stage in bundle.stages
    ]
    shared = set[str].intersection(*map(set, of_stages)) - {"fp16"}
    return [name for name in dict.fromkeys(of_stages[0]) if name in shared]


def lines(
    bundle: Bundle, threads: int, report: EngineReport, parities: Mapping[str, Parity]
) -> list[str]:
    """The machine, the table for terminals and Markdown, and the stages where they are told."""
    spec = bundle.input
    told = [
        *report.before.lines(),
        f"{bundle.name}, {spec.height}x{spec.width}, {threads} thread{'s' if threads > 1 else ''}, "
        f"{report.frames} frames of each",
    ]
    if parities:
        first = next(iter(parities.values()))
        told.append(f"compared with onnxruntime fp32 on {first.frames} frames of {first.data}")
    told += [
        "| | p50 ms | x torch eager (80 % of turns) | CPU ms | label agreement | score error "
        "| AP |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    told += [_row(engine, parities.get(engine.name)) for engine in report.engines]
    return [*told, *_stage_lines(report.engines, [stage.name for stage in bundle.stages])]


def _row(engine: EngineTimes, parity: Parity | None) -> str:
    """ratio: how many times as fast as the first engine."""
    ratio = engine.ratio
    faster = f"{1 / ratio.median:.2f} ({1 / ratio.high:.2f}-{1 / ratio.low:.2f})"
    seen = "- | - | -"
    if parity is not None:
        seen = f"{parity.label_agreement:.4f} | {parity.score_mean_error:.2g} | {parity.ap:.4f}"
    p50 = engine.steps["run"].p50
    return f"| {engine.name} | {p50:.1f} | {faster} | {engine.cpu:.1f} | {seen} |"


def _stage_lines(engines: Sequence[EngineTimes], stages: Sequence[str]) -> list[str]:
    return [
        f"{engine.name}: "
        + ", ".join(f"{stage} {engine.steps[stage].p50:.1f} ms" for stage in stages)
        for engine in engines
        if all(stage in engine.steps for stage in stages)
    ]
