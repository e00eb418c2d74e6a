"""What a replay tells beside the accuracy: the numbers of each mode, and the report they are in.

The report is that of an evaluation (results.json, results.md, ...) with a part `replay`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.replay.comparison import Difference
from anomaly_seg_ros.replay.evaluation_report import summary_lines, write_report
from anomaly_seg_ros.replay.latency_plots import draw_latency
from anomaly_seg_ros.replay.scoring import MaskRule, Scoring


@dataclass(frozen=True)
class Times:
    """Percentiles and the longest, in milliseconds."""

    p50: float
    p95: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Times | None:
        """Of durations in seconds; None of nothing."""
        values = 1e3 * np.fromiter(seconds, np.float64)
        if not values.size:
            return None
        return cls(*(round(float(np.percentile(values, part)), 3) for part in (50, 95, 99, 100)))

    def __str__(self) -> str:
        return (
            f"p50 {self.p50:.1f} ms, p95 {self.p95:.1f} ms, p99 {self.p99:.1f} ms, longest"
            f" {self.longest:.1f} ms"
        )


@dataclass(frozen=True)
class InProcess:
    """The detector in this process: no transport, no loss, the same result each time."""

    mode: str
    frames: int
    frames_with_anomaly: int
    detect_ms: Times | None

    def rows(self) -> list[tuple[str, str]]:
        return [
            ("frames", f"{self.frames}, {self.frames_with_anomaly} with an anomaly"),
            ("detector, a frame", _text(self.detect_ms)),
        ]


@dataclass(frozen=True)
class LockStep:
    """Frame by frame through the node, against the detector in this process."""

    mode: str
    sent: int
    answered: int
    missing: Sequence[str]  # frames that got no answer in time
    equal: int  # frames whose labels, score and mask are the same bit for bit
    different: Sequence[str]
    different_maps: Mapping[str, int]
    first_difference: Difference | None
    round_trip_ms: Times | None  # sent to the last of the three maps received

    @property
    def passed(self) -> bool:
        return self.equal == self.sent

    def rows(self) -> list[tuple[str, str]]:
        share = f" ({100 * self.equal / self.sent:.4g} %)" if self.sent else ""
        rows = [
            ("frames sent / answered", f"{self.sent} / {self.answered}"),
            ("equal to in-process, bit for bit", f"{self.equal} of {self.sent}{share}"),
        ]
        if self.different:
            maps = ", ".join(f"{name} {count}" for name, count in self.different_maps.items())
            rows.append(("different", f"{len(self.different)} frames ({maps})"))
        first = self.first_difference
        if first is not None:
            place = (
                "" if first.row is None else f", first at row {first.row}, column {first.column}"
            )
            rows.append(
                (
                    "first difference",
                    f"frame {first.frame}, {first.map}: {first.pixels} pixels{place}: in process"
                    f" {first.in_process}, node {first.node}",
                )
            )
        return [*rows, ("round trip", _text(self.round_trip_ms))]


@dataclass(frozen=True)
class RealTime:
    """At the recording's pace through the node; nothing waits."""

    mode: str
    rate_asked: float | None  # None: as recorded
    rate_sent: float
    rate_masks: float
    sent: int
    sent_late: int  # more than half a period behind their time
    received: int  # by the node
    masks: int  # that came back
    dropped: Mapping[str, int]  # by the node, by cause
    lost_to_node: int  # sent and never received by the node
    lost_from_node: int  # masks that the node published and that never came back
    frames_without_mask: Sequence[str]
    latency_ms: Times | None  # sent to mask received
    input_age_ms: Mapping[str, float]  # stamp to arrival in the node, p50 and p95 in milliseconds
    output_age_ms: Mapping[str, float]  # stamp to mask published
    newest_mask_age_ms: Times | None  # how old the newest mask is when the next one takes its place

    def rows(self) -> list[tuple[str, str]]:
        asked = "as recorded" if self.rate_asked is None else f"{self.rate_asked:g} Hz"
        drops = [f"{count} {cause}" for cause, count in self.dropped.items() if count]
        drops += [f"{self.lost_to_node} lost on the way to the node"] if self.lost_to_node else []
        drops += [f"{self.lost_from_node} masks lost on the way"] if self.lost_from_node else []
        late = f", {self.sent_late} of them late" if self.sent_late else ""
        return [
            (
                "rate",
                f"asked {asked}, sent {self.rate_sent:.2f} Hz, masks {self.rate_masks:.2f} Hz",
            ),
            ("frames sent", f"{self.sent}{late}"),
            ("received by the node", str(self.received)),
            ("masks", str(self.masks)),
            ("frames without mask", f"{len(self.frames_without_mask)}: {', '.join(drops) or '-'}"),
            ("latency, send to mask", _text(self.latency_ms)),
            ("age, stamp to arrival in the node", _ages(self.input_age_ms)),
            ("age, stamp to mask published", _ages(self.output_age_ms)),
            ("age of the newest mask when replaced", _text(self.newest_mask_age_ms)),
        ]


@dataclass(frozen=True)
class Latencies:
    """For the plot: when each frame was sent and how long its mask took, NaN without a mask."""

    sent: np.ndarray  # float64 [n], seconds since the start
    milliseconds: np.ndarray  # float64 [n]


@dataclass(frozen=True)
class Played:
    """A recording that was played: the numbers of the mode, how the masks were made and by what.

    runner: the fields of a RunnerInfo.
    """

    run: InProcess | LockStep | RealTime
    rule: MaskRule
    runner: Mapping[str, object]
    latencies: Latencies | None = None


def write_replay_report(
    out: Path, results: dict[str, Any], played: Played, scoring: Scoring | None
) -> list[str]:
    """Write the report below `out`; the lines for the screen.

    results: subject, warnings and bad frames, and with labels the results of the evaluation; it
    gets the part `replay`. scoring: None without labels.
    """
    results["replay"] = asdict(played.run)
    plots = {}
    if scoring is not None:
        plots["curves.svg"] = scoring.plots()
    if played.latencies is not None:
        plots["latency.svg"] = draw_latency(played.latencies.sent, played.latencies.milliseconds)
    rows = played.run.rows()
    write_report(
        out,
        results,
        scoring.rows if scoring is not None else (),
        plots,
        scoring.examples() if scoring is not None else {},
        title=f"{played.run.mode} replay of ",
        table=rows,
    )
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return lines + (summary_lines(results) if scoring is not None else [])


def _text(times: Times | None) -> str:
    return "-" if times is None else str(times)


def _ages(ages: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {value:.1f} ms" for part, value in ages.items()) or "-"
