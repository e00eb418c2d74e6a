"""What a soak found: checks, the parts they belong to, and the report that is kept as JSON.

Importable without ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from anomaly_seg_ros.engine_bench import Percentiles

OK, FAILED, NOT_OFFERED = "ok", "FAILED", "not offered"


@dataclass(frozen=True)
class Check:
    """One thing that must hold. `found` states what was found and what was expected.

    timing: it depends on how fast the machine is and on who else computes there.
    """

    what: str
    holds: bool
    found: str
    timing: bool = False


@dataclass(frozen=True)
class Footprint:
    """What a process holds. Megabytes of 1e6 bytes."""

    resident: float  # shared memory of the transport included
    private: float  # anonymous memory: what the process allocated itself
    threads: int
    descriptors: int


@dataclass(frozen=True)
class StreamNumbers:
    """A stream from a second process through the node. Times in milliseconds, rates in 1/s."""

    rate_asked: float
    rate_sent: float
    rate_masks: float
    published: int  # by the source, by sequence numbers
    received: int  # by the node
    processed: int  # masks that the node published
    dropped: Mapping[str, int]  # by the node, by cause
    skipped: Mapping[str, int]  # not looked at and no loss, by cause
    lost_before: int  # between source and node
    masks: int  # that the reader got, each under a sequence number of the source
    lost_behind: int  # between node and reader
    age: Percentiles | None  # stamp to mask at the reader, after the warm-up
    inference: float  # the worker's time per frame, mean of the last frames
    transport: float  # source to node (p95) and node to reader (median)
    age_limit: float
    warm: Footprint | None
    end: Footprint
    memory_growth: float | None  # of `resident`, 0.01 = 1 %


@dataclass(frozen=True)
class LatencyNumbers:
    """Send to mask for one kind of camera, in milliseconds."""

    size: tuple[int, int]  # height, width
    transport: str  # raw | compressed
    cameras: int
    rate: float  # of each camera
    sent: int
    masks: int
    send_to_mask: Percentiles | None
    bare: Percentiles  # Detector.detect alone in a process, on one image of this size
    ratio: float | None  # medians: send_to_mask / bare


@dataclass(frozen=True)
class FaultNumbers:
    """The node before a fault and after it. What the case measured besides stands in `measured`."""

    before: Footprint
    after: Footprint
    reported: tuple[str, ...]  # what /diagnostics said in the course of it
    measured: Mapping[str, float]


Numbers = StreamNumbers | LatencyNumbers | FaultNumbers


@dataclass(frozen=True)
class Part:
    """One part of the soak. Without checks and with `not_offered` the node cannot do this yet."""

    name: str
    title: str
    seconds: float
    checks: tuple[Check, ...] = ()
    numbers: Numbers | None = None
    not_offered: str = ""

    @property
    def verdict(self) -> str:
        """ok, FAILED or not offered."""
        if self.not_offered:
            return NOT_OFFERED
        return OK if all(check.holds for check in self.checks) else FAILED

    @property
    def reasons(self) -> list[str]:
        """Why it failed: the checks that do not hold."""
        return [
            f"{check.what}: {check.found}{' (timing)' * check.timing}"
            for check in self.checks
            if not check.holds
        ]


@dataclass
class SoakReport:
    """All of it, in the order it was measured."""

    bundle: str
    engine: str
    machine: tuple[str, ...]
    frames: int  # of each stream
    quick: bool
    started: str  # UTC
    bare: dict[str, Percentiles] = field(default_factory=dict)  # WIDTHxHEIGHT -> ms
    rate: float | None = None  # frames/s that the machine can serve, measured before the streams
    parts: list[Part] = field(default_factory=list)
    finished: bool = False  # False in the file of a run that was stopped

    @property
    def failed(self) -> list[Part]:
        return [part for part in self.parts if part.verdict == FAILED]

    def as_json(self) -> dict[str, Any]:
        parts = [{"verdict": part.verdict, **asdict(part)} for part in self.parts]
        return {**asdict(self), "parts": parts, "failed": [part.name for part in self.failed]}
