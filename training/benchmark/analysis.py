"""What every run is looked at for, by any protocol: curves, spread, sizes, classes, frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from anomaly_seg_ros.metrics import ANOMALY, KNOWN, VOID, FrameResult, ScoreHistogram
from anomaly_seg_ros.metrics.score_bins import lower_edges
from anomaly_seg_ros.replay.evaluation_plots import Curves as CurvePoints
from training.benchmark.accumulators import Pooled
from training.benchmark.results import Breakdown, Column, Curves, FrameRow, Spread
from training.benchmark.scored_frames import ScoredFrame, classes_of

FRAME_BITS = 16  # of histograms that only rank frames, sizes and classes
# Objects by the square root of their pixels at the evaluated size.
SIZES = ((0, 16, "under 16 px"), (16, 32, "16 to 32 px"), (32, 96, "32 to 96 px"))
SIZE_NAMES = (*(name for _, _, name in SIZES), "96 px and more")
SPREAD_BINS = 60
SIZE_COLUMNS = (
    Column("objects", "objects", "", 1, 0),
    Column("auroc", "AUROC"),
    Column("fpr95", "FPR95", "low"),
)
CLASS_COLUMNS = (
    Column("share", "share of known pixels", ""),
    Column("false", "marked at TPR 95", "low"),
)


@dataclass
class Analysis:
    """A streaming accumulator of all that; bounded memory but for one row per frame."""

    pooled: Pooled = field(default_factory=Pooled)
    objects: list[int] = field(default_factory=lambda: [0] * len(SIZE_NAMES))
    by_size: list[ScoreHistogram] = field(
        default_factory=lambda: [ScoreHistogram(FRAME_BITS) for _ in SIZE_NAMES]
    )
    by_class: dict[int, ScoreHistogram] = field(default_factory=dict)
    rows: list[FrameRow] = field(default_factory=list)
    void: int = 0
    seconds: list[dict[str, float]] = field(default_factory=list)

    def update(self, frame: ScoredFrame, name: str, seconds: dict[str, float]) -> None:
        """Add a frame and what it cost."""
        own = ScoreHistogram()
        own.update(frame)
        self.pooled.histogram.merge(own)
        self.pooled.intervals.update(frame)
        known, anomalous = int(own.known.sum()), int(own.anomalous.sum())
        self.void += frame.label.size - known - anomalous
        scores = own.compute() if known and anomalous else None
        self.rows.append(
            FrameRow(
                name=name,
                ap=scores.ap if scores else None,
                fpr95=scores.fpr95 if scores else None,
                anomaly_pixels=anomalous,
                known_pixels=known,
                seconds=seconds.get("total", 0.0),
            )
        )
        self.seconds.append(dict(seconds))
        if anomalous:
            self._sizes(frame)
        classes = classes_of(frame)
        if classes is not None:
            for class_id in np.unique(classes):
                if class_id != VOID:
                    inside = np.where(classes == class_id, KNOWN, VOID).astype(np.uint8)
                    histogram = self.by_class.setdefault(int(class_id), ScoreHistogram(FRAME_BITS))
                    histogram.update(FrameResult(frame.score, inside))

    def _sizes(self, frame: ScoredFrame) -> None:
        anomaly = (frame.label == ANOMALY).astype(np.uint8)
        _, regions, stats, _ = cv2.connectedComponentsWithStats(anomaly, connectivity=8)
        sides = np.sqrt(stats[:, cv2.CC_STAT_AREA])
        place = np.searchsorted([upper for _, upper, _ in SIZES], sides, side="right")
        place[0] = len(SIZE_NAMES)  # the background
        bins = place[regions]
        for number in np.unique(place[1:]):
            self.objects[number] += int(np.count_nonzero(place[1:] == number))
            inside = np.where(bins == number, ANOMALY, VOID).astype(np.uint8)
            self.by_size[number].update(FrameResult(frame.score, inside))

    def merge(self, other: Analysis) -> None:
        """Add what another worker saw of later frames."""
        self.pooled.merge(other.pooled)
        self.objects = [a + b for a, b in zip(self.objects, other.objects, strict=True)]
        for mine, theirs in zip(self.by_size, other.by_size, strict=True):
            mine.merge(theirs)
        for class_id, histogram in other.by_class.items():
            self.by_class.setdefault(class_id, ScoreHistogram(FRAME_BITS)).merge(histogram)
        self.rows += other.rows
        self.void += other.void
        self.seconds += other.seconds

    @property
    def has_both(self) -> bool:
        """Whether there are known and anomalous pixels."""
        return bool(self.total.known.sum() and self.total.anomalous.sum())

    @property
    def total(self) -> ScoreHistogram:
        """All pixels by score."""
        return self.pooled.histogram

    @property
    def pixels(self) -> dict[str, int]:
        """How many pixels of each kind were scored."""
        known, anomaly = int(self.total.known.sum()), int(self.total.anomalous.sum())
        return {"known": known, "anomaly": anomaly, "void": self.void}

    def curves(self) -> Curves | None:
        """A few hundred points of PR and ROC; None without both kinds of pixels."""
        if not self.has_both:
            return None
        points = CurvePoints.of(self.total)
        return Curves(
            points.recall.tolist(), points.precision.tolist(), points.false_positive_rate.tolist()
        )

    def spread(self) -> Spread | None:
        """Scores in equal bins between the extremes that all but one in a thousand keep."""
        counts = self.total.known + self.total.anomalous
        if not counts.any():
            return None
        values = bin_values(self.total)
        order = np.cumsum(counts) / counts.sum()
        low, high = (float(values[np.searchsorted(order, q)]) for q in (0.001, 0.999))
        if not high > low:
            high = low + 1.0
        edges = np.linspace(low, high, SPREAD_BINS + 1)
        place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, SPREAD_BINS - 1)
        return Spread(
            edges.tolist(),
            *(
                np.bincount(place, weights=kind, minlength=SPREAD_BINS).astype(int).tolist()
                for kind in (self.total.known, self.total.anomalous)
            ),
        )

    def breakdowns(self, class_names: tuple[str, ...], kind: str) -> list[Breakdown]:
        """How objects of each size are found, and which known pixels are marked, by class.

        kind: "class", or "predicted class" where true ones are not known.
        """
        if not self.has_both:
            return []
        total = _coarse(self.total)
        threshold = _bin_at_recall(total, 0.95)
        sizes = []
        for name, count, histogram in zip(SIZE_NAMES, self.objects, self.by_size, strict=True):
            if count:
                scores = _with_known(histogram, total).compute()
                row = {"part": name, "objects": count, "auroc": scores.auroc}
                sizes.append(row | {"fpr95": scores.fpr95})
        classes = []
        all_known = sum(int(histogram.known.sum()) for histogram in self.by_class.values())
        for class_id, histogram in sorted(self.by_class.items()):
            counted = int(histogram.known.sum())
            above = int(histogram.known[max(0, threshold - histogram.first) :].sum())
            name = class_names[class_id] if class_id < len(class_names) else f"class {class_id}"
            classes.append({"part": name, "share": counted / all_known, "false": above / counted})
        made = [Breakdown("size", sizes, SIZE_COLUMNS)]
        return [*made, Breakdown(kind, classes, CLASS_COLUMNS)] if classes else made

    def cost(self) -> dict[str, float]:
        """Seconds per frame: median and 95th percentile of the whole, median of each part."""
        totals = [entry["total"] for entry in self.seconds if "total" in entry]
        if not totals:
            return {}
        parts = {name for entry in self.seconds for name in entry} - {"total"}
        medians = {
            name: float(np.median([entry.get(name, 0.0) for entry in self.seconds]))
            for name in sorted(parts)
        }
        whole = {"median": float(np.median(totals)), "p95": float(np.quantile(totals, 0.95))}
        return whole | medians


def bin_values(histogram: ScoreHistogram) -> np.ndarray:
    """The lowest score of each bin of a histogram, float32 [n]."""
    places = np.arange(histogram.first, histogram.first + histogram.known.size, dtype=np.int64)
    return lower_edges(places, histogram.bits)


def _coarse(histogram: ScoreHistogram) -> ScoreHistogram:
    """The same counts in bins of FRAME_BITS: a bin is the leading bits of its scores."""
    shift = histogram.bits - FRAME_BITS
    coarse = ScoreHistogram(FRAME_BITS)
    if histogram.known.size:
        places = np.arange(histogram.first, histogram.first + histogram.known.size) >> shift
        coarse.first = int(places[0])
        where = places - coarse.first
        size = int(where[-1]) + 1
        coarse.known = np.bincount(where, weights=histogram.known, minlength=size).astype(np.int64)
        coarse.anomalous = np.bincount(where, weights=histogram.anomalous, minlength=size).astype(
            np.int64
        )
    return coarse


def _with_known(positives: ScoreHistogram, total: ScoreHistogram) -> ScoreHistogram:
    """The positives of one histogram against the known pixels of the whole."""
    joined = ScoreHistogram(FRAME_BITS)
    joined.merge(positives)
    everything = ScoreHistogram(FRAME_BITS)
    everything.first, everything.known = total.first, total.known
    everything.anomalous = np.zeros_like(total.known)
    joined.merge(everything)
    return joined


def _bin_at_recall(histogram: ScoreHistogram, recall: float) -> int:
    """The highest bin from which on `recall` of the anomalous pixels lie."""
    found = np.cumsum(histogram.anomalous[::-1]) / histogram.anomalous.sum()
    return histogram.first + histogram.known.size - 1 - int(np.argmax(found >= recall))
