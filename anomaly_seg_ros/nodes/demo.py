"""The demo: drawn roads through the real detector process, with numbers and pictures at the end."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.imaging.encodings import message_to_map
from anomaly_seg_ros.metrics.base import FrameResult
from anomaly_seg_ros.metrics.pixel import ScoreHistogram
from anomaly_seg_ros.metrics.regions import FalseRegions
from anomaly_seg_ros.nodes.camera_stand_in import CameraStandIn
from anomaly_seg_ros.nodes.demo_files import DemoFiles, Moment
from anomaly_seg_ros.nodes.environment import private_ros_environment
from anomaly_seg_ros.nodes.node_process import detector_process
from anomaly_seg_ros.nodes.statistics import Spread, spread
from anomaly_seg_ros.scenes import RoadSequence, SceneFrame

SIZE = (480, 640)  # H, W
DRIVE_FRAMES = 50  # frames of one road; memory holds one drive
FRAMES_PER_SECOND = 15.0  # of the drawn camera
OUTPUTS = ("anomaly_mask", "anomaly_score", "segmentation", "overlay")
MASK = OUTPUTS[0]


@dataclass(frozen=True)
class DemoResults:
    """The numbers of a demo. Metrics are fractions; the spread is in milliseconds."""

    bundle: str
    engine: str
    frames: int
    frames_with_unknown: int
    rate: float
    camera_to_mask: Spread
    ap: float | None  # None when the roads of this run show no unknown object
    auroc: float | None
    fpr95: float | None
    false_regions_per_100_frames: float
    threshold: float


def run_demo(args: argparse.Namespace) -> int:
    """Replay, measure, write and tell. Raises AnomalySegError."""
    if not args.rate > 0:
        raise NodeError(f"--rate is {args.rate}; expected more than 0")
    if args.seed < 0:
        raise NodeError(f"--seed is {args.seed}; expected 0 or more")
    bundle = Bundle.open(args.bundle or DEFAULT_BUNDLE)  # a fault is told here, not in a log
    with tempfile.TemporaryDirectory(prefix="anomaly_seg_demo_") as scratch:
        os.environ.update(private_ros_environment(Path(scratch)))
        with DemoFiles(args.out, Path(scratch), args.rate) as files:
            results = _replay(args, bundle, Path(scratch), files)
            files.finish(json.dumps(asdict(results), indent=1) + "\n")
    print(summary(results))
    print("\nLook here:")
    for path, what in files.listing():
        print(f"  {path!s:<44} {what}")
    return 0


def _replay(
    args: argparse.Namespace, bundle: Bundle, scratch: Path, files: DemoFiles
) -> DemoResults:
    parameters = {"bundle": str(args.bundle or DEFAULT_BUNDLE), "threads": args.threads}
    histogram, regions = ScoreHistogram(), FalseRegions()
    latencies: list[float] = []
    streaming = 0.0
    with_unknown = 0
    with (
        detector_process(parameters, {}, scratch / "detector.log") as process,
        CameraStandIn(OUTPUTS, process.check) as camera,
        tqdm(total=args.frames, unit="frame", desc="starting the detector") as bar,
    ):
        camera.wait_until_active()
        for drive in _drives(args.seed, args.frames, bar):
            if not latencies:  # the first answer comes when all topics have found each other
                camera.ask(camera.message(drive[0].image))
            bar.set_description("driving")
            start = time.perf_counter()
            moments = []
            for number, frame in enumerate(drive):
                camera.spin_until(lambda: False, start + number / args.rate)
                message = camera.message(frame.image)
                _, answer = camera.ask(message)
                latencies.append(answer[MASK][1])
                moments.append(Moment(frame, message, {k: m for k, (m, _) in answer.items()}))
                bar.set_postfix(latency=f"{1e3 * answer[MASK][1]:.0f} ms", refresh=False)
                bar.update()
            streaming += max(time.perf_counter() - start, len(drive) / args.rate)
            bar.set_description("scoring")
            for moment in moments:
                result = _frame_result(moment)
                histogram.update(result)
                regions.update(message_to_map(moment.answers[MASK]), result.label)
                with_unknown += bool((result.label == 1).any())
                files.add(moment)
        values = camera.fresh_diagnostics()
        labels = json.loads(camera.labels or "{}")
    scores = histogram.compute() if with_unknown else None
    return DemoResults(
        bundle=bundle.name,
        engine=f"{values['backend']} {values['engine version']}, {values['device']}, "
        f"{values['threads']} threads",
        frames=len(latencies),
        frames_with_unknown=with_unknown,
        rate=len(latencies) / streaming,
        camera_to_mask=_spread(latencies),
        ap=scores.ap if scores else None,
        auroc=scores.auroc if scores else None,
        fpr95=scores.fpr95 if scores else None,
        false_regions_per_100_frames=regions.compute().per_100_frames,
        threshold=labels["threshold"],
    )


def _drives(seed: int, frames: int, bar: Any) -> Iterator[list[SceneFrame]]:
    """Roads of DRIVE_FRAMES frames each, one seed after the other."""
    for number, first in enumerate(range(0, frames, DRIVE_FRAMES)):
        bar.set_description(f"drawing road {number + 1}")
        road = RoadSequence(seed + number, SIZE, FRAMES_PER_SECOND)
        drive = []
        for index in range(min(DRIVE_FRAMES, frames - first)):
            drive.append(road.frame(index))
            bar.refresh()
        yield drive


def _frame_result(moment: Moment) -> FrameResult:
    """The node's score against the truth; pixels it did not look at count as its lowest score."""
    score = message_to_map(moment.answers["anomaly_score"])
    unseen = np.isnan(score)
    if unseen.any():
        score = np.where(unseen, np.float32(np.nanmin(score)), score)
    return FrameResult(score, moment.frame.anomaly, None, None)


def _spread(seconds: Sequence[float]) -> Spread:
    value = spread(seconds)
    assert value is not None  # --frames is at least 1
    return value


def summary(results: DemoResults) -> str:
    """The numbers for people."""
    way = results.camera_to_mask
    metrics = "no unknown object in these frames: ask for more --frames or another --seed"
    if results.ap is not None and results.auroc is not None and results.fpr95 is not None:
        metrics = (
            f"unknown objects in {results.frames_with_unknown} frames, pixel by pixel: "
            f"AP {100 * results.ap:.1f} %, AUROC {100 * results.auroc:.1f} %, "
            f"FPR95 {100 * results.fpr95:.1f} %"
        )
    return "\n".join(
        [
            "",
            f"{results.bundle} on {results.engine}",
            f"  {results.frames} camera images answered at {results.rate:.1f} Hz; "
            f"camera to mask {way.p50:.0f} ms median, {way.p95:.0f} ms p95",
            f"  {metrics}",
            f"  at threshold {results.threshold:.3f}: "
            f"{results.false_regions_per_100_frames:.0f} false regions per 100 frames",
        ]
    )
