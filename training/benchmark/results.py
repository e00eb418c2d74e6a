"""What a benchmark measured, as data: the report, the CSV and the JSON are drawn from these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from anomaly_seg_ros.errors import AnomalySegError


class BenchmarkError(AnomalySegError):
    """Benchmark results, predictions or files that do not fit what is to be made of them."""


@dataclass(frozen=True)
class Figure:
    """One number. value None: not defined here, `reason` says why.

    low, high: 95 % bootstrap interval over frames where it was computed. error: how far the exact
    value may be away (histograms), 0 where exact.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    error: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Column:
    """A figure of a protocol. scale: 100 shows fractions as percent; better: high, low or ""."""

    key: str
    title: str
    better: str = "high"
    scale: float = 100.0
    digits: int = 2


@dataclass(frozen=True)
class PublishedRow:
    """What somebody else reported: fractions by column key, and where it stands."""

    method: str
    figures: dict[str, float]
    source: str
    data: str  # what exactly was scored, e.g. "RoadAnomaly21 test (100 frames)"
    note: str = ""  # a remark that tells the row apart, e.g. "trained with OoD data"


@dataclass(frozen=True)
class Table:
    """One dataset by one protocol: a row of figures per contender."""

    dataset: str
    protocol: str
    title: str
    note: str  # how the protocol counts, in one or two sentences
    columns: tuple[Column, ...]
    rows: dict[str, dict[str, Figure]]  # contender -> column key -> figure
    published: tuple[PublishedRow, ...] = ()


@dataclass(frozen=True)
class Curves:
    """Points of one contender on one dataset from the highest threshold down, fractions [n]."""

    recall: list[float]
    precision: list[float]
    false_positive_rate: list[float]


@dataclass(frozen=True)
class Spread:
    """Score histogram of one contender on one dataset: counts per bin of known and anomalous."""

    edges: list[float]  # [n + 1]
    known: list[int]  # [n]
    anomalous: list[int]  # [n]


@dataclass(frozen=True)
class Breakdown:
    """How one contender does on parts of the data: `kind` is "class" or "size"."""

    kind: str
    rows: list[dict[str, Any]]  # each: part (text), and figures by the names in `columns`
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class FrameRow:
    """One frame of one contender."""

    name: str
    ap: float | None
    fpr95: float | None
    anomaly_pixels: int
    known_pixels: int
    seconds: float


@dataclass(frozen=True)
class Picture:
    """A frame worth looking at; file is relative to the report's folder."""

    kind: str  # best or worst
    frame: str
    caption: str
    file: str


@dataclass(frozen=True)
class Run:
    """One contender on one dataset."""

    contender: str
    dataset: str
    frames: int
    excluded: list[tuple[str, str]]  # frame, reason
    cost: dict[str, float]  # seconds per frame: "median", "p95", and the median of each part
    curves: Curves | None
    spread: Spread | None
    breakdowns: list[Breakdown] = field(default_factory=list)
    rows: list[FrameRow] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class DatasetInfo:
    """What was scored."""

    name: str  # with the split: "road_anomaly21/validation"
    title: str
    frames: int
    pixels: dict[str, int]  # known, anomaly, void
    source: str

    @property
    def label(self) -> str:
        """Title with the split: "RoadAnomaly21 validation"."""
        split = "" if self.name.startswith("folder:") else self.name.partition("/")[2]
        full = "validation" if split == "val" else split
        words = [full if word == split else word for word in self.title.split()]
        return " ".join(words if full in words or not full else [*words, full])

    @property
    def scored(self) -> str:
        """What exactly was scored, in the words of PublishedRow.data."""
        return f"{self.label} ({self.frames} frames)"


@dataclass(frozen=True)
class BenchmarkResults:
    """Everything one benchmark run found out."""

    title: str
    version: str
    command: str
    date: str  # ISO
    machine: dict[str, str]  # processor, cores, python, torch, onnxruntime
    settings: dict[str, Any]  # evaluation size, worker count, bootstrap repeats, seed ...
    contenders: dict[str, dict[str, str]]  # name -> what it is: method, bundle hash, parameters
    datasets: list[DatasetInfo]
    tables: list[Table]
    runs: list[Run]
    warnings: list[str] = field(default_factory=list)
