"""`anomaly-seg soak`: thousands of frames and every fault through the real detector process.

The camera is a process of its own and numbers its images; this process reads the masks. What is
finished is on disk at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle
from anomaly_seg_ros.errors import AnomalySegError, NodeError
from anomaly_seg_ros.machine import this_machine
from anomaly_seg_ros.nodes.environment import private_ros_environment
from anomaly_seg_ros.nodes.soak.cases import CASES
from anomaly_seg_ros.nodes.soak.faults import run_case
from anomaly_seg_ros.nodes.soak.latency import LARGE, latency_rows, measure_bare, measure_latency
from anomaly_seg_ros.nodes.soak.results import Check, Part, SoakReport
from anomaly_seg_ros.nodes.soak.rig import Setup
from anomaly_seg_ros.nodes.soak.stream import measure_rate, soak_stream
from anomaly_seg_ros.nodes.soak.table import table
from anomaly_seg_ros.replay.writers import write_atomically
from anomaly_seg_ros.scenes import RoadSequence

STREAMS = {"stream_1x": 1.0, "stream_5x": 5.0}  # times the rate that the machine can serve
PICTURES, PICTURE_STEP = 8, 15  # a few seconds of a drive: what is seen hardly changes the time
SEED = 7
PROCESSES = 4  # with shared memory for images: detector, reader, source and the one before it

Task = tuple[str, str, Callable[[], Part]]  # name, title, what gives the part


def run_soak(args: argparse.Namespace) -> int:
    """Run, write and print; 1 when a verdict fails. Raises AnomalySegError."""
    bundle = Bundle.open(args.bundle or DEFAULT_BUNDLE)
    rows = latency_rows([args.size, LARGE])
    known = [*STREAMS, *(row.name for row in rows), *(case.name for case in CASES)]
    chosen = [name for name in known if not args.only or _asked(name, args.only)]
    unknown = [only for only in args.only if not any(_asked(name, [only]) for name in known)]
    if unknown:
        raise NodeError(f"--only {unknown[0]}: no such part; expected one of {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="anomaly_seg_soak_") as scratch:
        os.environ.update(private_ros_environment(Path(scratch), PROCESSES))
        report = _soak(args, bundle, Path(scratch), chosen)
    print(table(report))
    print(f"\n{args.out} holds every number")
    return 1 if report.failed else 0


def _asked(name: str, only: Sequence[str]) -> bool:
    """Whether a part is one of those, by its name or the beginning of it."""
    return any(name == text or name.startswith(f"{text}_") for text in only)


def _soak(
    args: argparse.Namespace, bundle: Bundle, scratch: Path, chosen: Sequence[str]
) -> SoakReport:
    report = SoakReport(
        bundle=bundle.name,
        engine="",
        machine=tuple(this_machine().lines()),
        frames=args.frames,
        quick=args.quick,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )

    def save() -> None:
        write_atomically(args.out, (json.dumps(report.as_json(), indent=1) + "\n").encode())

    setup = _prepare(args, bundle, scratch, chosen, report)
    save()
    if any(name in STREAMS for name in chosen):
        report.rate = measure_rate(setup)
        save()
    tasks = [task for task in _tasks(setup, report) if task[0] in chosen]
    with tqdm(total=len(tasks), desc="soak", unit="part", file=sys.stderr) as bar:
        for name, title, measure in tasks:
            bar.set_description(title)
            report.parts.append(_survive(name, title, measure))
            bar.write(f"{title:<44}{report.parts[-1].verdict}", file=sys.stderr)
            bar.update()
            save()
    report.finished = True
    save()
    return report


def _prepare(
    args: argparse.Namespace,
    bundle: Bundle,
    scratch: Path,
    chosen: Sequence[str],
    report: SoakReport,
) -> Setup:
    """Draw the pictures of each size once, and measure the bare detector on them."""
    sizes = [args.size]
    large = f"latency_{LARGE[1]}x{LARGE[0]}"
    if LARGE not in sizes and any(name.startswith(large) for name in chosen):
        sizes.append(LARGE)
    images, bare = {}, {}
    for size in tqdm(sizes, desc="bare detector", unit="size", leave=False, file=sys.stderr):
        road = RoadSequence(SEED, size)
        pictures = np.stack([road.frame(i * PICTURE_STEP).image for i in range(PICTURES)])
        images[size] = scratch / f"pictures_{size[1]}x{size[0]}.npy"
        np.save(images[size], pictures)
        bare[size], report.engine = measure_bare(bundle, args.threads, pictures, args.quick)
        report.bare[f"{size[1]}x{size[0]}"] = bare[size]
    return Setup(
        bundle=bundle,
        scratch=scratch,
        threads=args.threads,
        size=args.size,
        images=images,
        bare=bare,
        quick=args.quick,
    )


def _tasks(setup: Setup, report: SoakReport) -> Iterator[Task]:
    """Every part in its order."""
    rate = report.rate or setup.bare_rate
    for name, factor in STREAMS.items():
        title = f"{report.frames} images at {factor:g}x the rate"
        measure = partial(soak_stream, setup, name, title, factor * rate, report.frames)
        yield name, title, measure
    for row in latency_rows([setup.size, LARGE]):
        yield row.name, row.title, partial(measure_latency, setup, row)
    for case in CASES:
        yield case.name, case.title, partial(run_case, setup, case)


def _survive(name: str, title: str, measure: Callable[[], Part]) -> Part:
    """The part; a node that dies or falls silent is a part that failed, and the others follow."""
    start = time.perf_counter()
    try:
        return measure()
    except AnomalySegError as error:
        check = Check("the part ran to its end", False, str(error))
        return Part(name, title, time.perf_counter() - start, (check,))
