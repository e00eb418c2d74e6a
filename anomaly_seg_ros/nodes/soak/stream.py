"""The long part of a soak: thousands of numbered images, and what became of every one of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tqdm import tqdm

from anomaly_seg_ros.engine_bench import percentiles
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.bench import STRAGGLERS
from anomaly_seg_ros.nodes.soak.results import Check, Footprint, Part, StreamNumbers
from anomaly_seg_ros.nodes.soak.rig import Arrival, Rig, Setup
from anomaly_seg_ros.nodes.soak.source import SourceOrder, SourceReport, read_report, start_source
from anomaly_seg_ros.nodes.statistics import DROP_CAUSES, SKIP_CAUSES

FLOOD = 1.3  # times the rate of the bare detector: more than the node can serve
RATE_FRAMES, QUICK_RATE_FRAMES = 300, 60
WARM_SHARE, WARM_FRAMES = 0.05, 500  # of the images; at most so many
SOURCE_PATIENCE = 120.0  # seconds beyond what the source should need
SAMPLE_SECONDS = 0.2  # between two looks at the process
MEMORY_GROWTH_LIMIT = 0.05
INFERENCES = 2  # of which a mask may be old: the image waits for the one before it, then its own
RATE_KEPT = 0.9  # of the rate asked: a slower source asks less of the node than it should
WORK = ("decode", "fit", "run", "finish", "publish")  # what the worker does with one image


def measure_rate(setup: Setup) -> float:
    """Frames per second that the node serves when it gets more than it can take."""
    frames = QUICK_RATE_FRAMES if setup.quick else RATE_FRAMES
    with Rig(setup, "rate") as rig:
        rig.wait_until_active()
        order = rig.order(FLOOD * setup.bare_rate, frames)
        stream(rig, order, "measuring the rate")
        moments = [arrival.moment for arrival in rig.reader.of(order.run)]
        if len(moments) < 2:
            raise NodeError(
                f"{len(moments)} masks came back of {frames} images; the node's last lines:\n"
                + rig.process.last_lines()
            )
    return (len(moments) - 1) / (moments[-1] - moments[0])


def soak_stream(setup: Setup, name: str, title: str, rate: float, frames: int) -> Part:
    """Send `frames` images at this rate and account for each. Raises NodeError."""
    start = time.perf_counter()
    with Rig(setup, name) as rig:
        rig.wait_until_active()
        rig.camera.reset_statistics()
        order = rig.order(rate, frames)
        done = stream(rig, order, title)
        counts = rig.counts()
        arrivals = rig.reader.of(order.run)
        numbers = _numbers(rate, done, arrivals, counts, rig.camera.diagnostics)
        checks = [*stream_checks(numbers, arrivals), _ends_well(rig)]
    return Part(name, title, time.perf_counter() - start, tuple(checks), numbers)


@dataclass(frozen=True)
class Streamed:
    """A source that has sent everything."""

    report: SourceReport
    warm: Footprint | None  # of the node after the warm-up; None when no mask came after it
    end: Footprint


def stream(rig: Rig, order: SourceOrder, title: str) -> Streamed:
    """Run a source to its end, with a progress bar. Raises NodeError."""
    warm: Footprint | None = None
    looked = 0.0
    with (
        start_source(order, rig.folder) as source,
        tqdm(total=order.count, desc=title, unit="image", leave=False, file=sys.stderr) as bar,
    ):

        def ended() -> bool:
            nonlocal warm, looked
            now = time.perf_counter()
            if now - looked < SAMPLE_SECONDS:
                return False
            looked = now
            newest = rig.reader.newest.get(order.run, -1)
            bar.update(newest + 1 - bar.n)
            if warm is None and newest >= warm_frames(order.count):
                warm = rig.footprint()
            if source.is_running or read_report(order) is not None:
                return read_report(order) is not None
            raise NodeError(f"the source ended early. Its last lines:\n{source.last_lines()}")

        patience = SOURCE_PATIENCE + 3 * order.count / order.rate
        rig.wait(ended, f"the end of source {order.run}", patience)
        report = read_report(order)
        assert report is not None  # this is what was waited for
        rig.spin(STRAGGLERS)
    return Streamed(report, warm, rig.footprint())


def warm_frames(frames: int) -> int:
    """How many images of a stream are the warm-up: memory and age count from then on."""
    return min(WARM_FRAMES, round(WARM_SHARE * frames))


def _numbers(
    rate: float,
    done: Streamed,
    arrivals: Sequence[Arrival],
    counts: Mapping[str, int],
    values: Mapping[str, str],
) -> StreamNumbers:
    report, warm, end = done.report, done.warm, done.end
    ages = [a.age for a in arrivals if a.number >= warm_frames(report.sent)]
    age = percentiles(ages) if ages else None
    moments = [arrival.moment for arrival in arrivals]
    inference = sum(float(values.get(f"{step} ms", 0.0)) for step in WORK)
    behind = age.p50 - float(values.get("output age p50 ms", age.p50)) if age else 0.0
    transport = float(values.get("input age p95 ms", 0.0)) + max(0.0, behind)
    return StreamNumbers(
        rate_asked=rate,
        rate_sent=report.rate,
        rate_masks=(len(moments) - 1) / (moments[-1] - moments[0]) if len(moments) > 1 else 0.0,
        published=report.sent,
        received=counts["received"],
        processed=counts["finished"],
        dropped={cause: counts[cause] for cause in DROP_CAUSES},
        skipped={cause: counts[cause] for cause in SKIP_CAUSES},
        lost_before=report.sent - counts["received"],
        masks=len(arrivals),
        lost_behind=counts["finished"] - len(arrivals),
        age=age,
        inference=inference,
        transport=transport,
        age_limit=INFERENCES * inference + transport,
        warm=warm,
        end=end,
        memory_growth=end.resident / warm.resident - 1 if warm else None,
    )


def stream_checks(numbers: StreamNumbers, arrivals: Sequence[Arrival]) -> list[Check]:
    """What must hold of a stream whose masks arrived at the reader so."""
    seen = [arrival.number for arrival in arrivals]
    inside = numbers.processed + sum(numbers.dropped.values()) + sum(numbers.skipped.values())
    total = numbers.lost_before + inside
    unknown = sum(not 0 <= number < numbers.published for number in seen)
    twice = len(seen) - len(set(seen))
    backwards = sum(b < a for a, b in pairwise(seen))
    growth, warm, end = numbers.memory_growth, numbers.warm, numbers.end
    return [
        Check(
            "every image is accounted for",
            numbers.received == inside and numbers.lost_before >= 0 and numbers.lost_behind >= 0,
            f"published {numbers.published} = processed {numbers.processed} + dropped "
            f"{sum(numbers.dropped.values())} + skipped {sum(numbers.skipped.values())} + lost in "
            f"transport {numbers.lost_before}"
            + (f"; the sum is {total}" if total != numbers.published else "")
            + f"; masks at the reader {numbers.masks}, lost on their way {numbers.lost_behind}",
        ),
        Check(
            "every mask belongs to one image, in order",
            bool(seen) and not (unknown or twice or backwards),
            f"{len(seen)} masks: {unknown} of images never sent, {twice} twice, {backwards} out of "
            "order",
        ),
        Check(
            "memory",
            growth is not None and growth < MEMORY_GROWTH_LIMIT,
            "no mask came back after the warm-up"
            if growth is None or warm is None
            else f"{warm.resident:.0f} MB after the warm-up, {end.resident:.0f} MB at the end: "
            f"{growth:+.1%}, limit {MEMORY_GROWTH_LIMIT:.0%}",
        ),
        Check(
            "threads and descriptors",
            warm is not None
            and end.threads <= warm.threads
            and end.descriptors <= warm.descriptors,
            "no mask came back after the warm-up"
            if warm is None
            else f"{warm.threads} and {warm.descriptors} after the warm-up, {end.threads} and "
            f"{end.descriptors} at the end",
        ),
        Check(
            "age of the newest mask, p99",
            numbers.age is not None and numbers.age.p99 < numbers.age_limit,
            f"{numbers.age.p99:.1f} ms, limit {numbers.age_limit:.1f} = {INFERENCES} x inference "
            f"{numbers.inference:.1f} + transport {numbers.transport:.1f}"
            if numbers.age
            else "no mask came back after the warm-up",
            timing=True,
        ),
        Check(
            "the source kept its rate",
            numbers.rate_sent >= RATE_KEPT * numbers.rate_asked,
            f"{numbers.rate_sent:.1f} of {numbers.rate_asked:.1f} images/s",
            timing=True,
        ),
    ]


def _ends_well(rig: Rig) -> Check:
    status = rig.process.stop()
    return Check("SIGINT ends the node", status == 0, f"exit status {status}, expected 0")
