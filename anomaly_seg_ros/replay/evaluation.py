"""How well a bundle finds the anomalies of a labelled recording."""

from __future__ import annotations

import heapq
import time
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anomaly_seg_ros import __version__
from anomaly_seg_ros.detector import Detection, Detector
from anomaly_seg_ros.errors import DetectorError, EncodingError, ReplayError
from anomaly_seg_ros.metrics import ExactScores, FalseRegions, FrameResult, ScoreHistogram
from anomaly_seg_ros.replay.detection import bundle_hash
from anomaly_seg_ros.replay.detection_run import percentiles
from anomaly_seg_ros.replay.drawing import Painter, outline_truth
from anomaly_seg_ros.replay.evaluation_plots import Curves, ScoreSpread, draw_plots
from anomaly_seg_ros.replay.evaluation_report import FrameScores, write_report
from anomaly_seg_ros.replay.labels import LabelMap, LabelSource
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.sources import BadFrame, Frame, Source

MIN_REGION_AREA = 200  # camera pixels: smaller false regions are not counted
EXAMPLES = 3  # best and worst frames that are drawn
PIXEL_SCORES = ("ap", "auroc", "fpr95", "ap_error", "auroc_error", "fpr95_error")
NOT_LOOKED_AT = float(np.finfo(np.float32).min)  # below every score


@dataclass(frozen=True)
class EvaluateOptions:
    """limit stops after so many frames; resize_labels fits labels of another size (nearest).

    exact keeps every labelled score, 4 bytes each, in place of a histogram with stated errors.
    """

    limit: int | None = None
    resize_labels: bool = False
    exact: bool = False
    label_map: LabelMap = field(default_factory=LabelMap)
    region: str = ""  # of interest: where the mask may be set; the scores are taken everywhere


def evaluate(
    source: Source,
    labels: LabelSource,
    detector: Detector,
    out: Path,
    options: EvaluateOptions = EvaluateOptions(),
    *,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Score every labelled frame at camera size; write results and return what results.json holds.

    Frames or labels without a partner and unreadable ones are listed, not counted. Raises
    ReplayError when nothing pairs, or a label has other values or another size than its frame.
    """
    run = _Evaluation(source, labels, detector, options)
    run.frames(progress)
    results = run.results()
    if not run.rows:
        raise ReplayError(_nothing(results, source, labels))
    curves = Curves.of(run.total) if results["ap"] is not None else None
    write_report(out, results, run.rows, draw_plots(run.spread, curves), run.examples())
    return results


def _nothing(results: dict[str, Any], source: Source, labels: LabelSource) -> str:
    def some(names: list[str]) -> str:
        return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") or "none"

    bad = results["bad_frames"]
    return (
        f"{source.describe().path}: no frame has a label. Rule: {labels.rule}. Frames without label"
        f" ({len(results['unpaired_frames'])}): {some(results['unpaired_frames'])}; labels without"
        f" frame ({len(results['unpaired_labels'])}): {some(results['unpaired_labels'])}"
        + (f"; unreadable ({len(bad)}): {bad[0]['reason']}" if bad else "")
        + "."
    )


@dataclass(order=True)
class _Example:
    """An overlay worth looking at; the heap keeps the greatest ranks."""

    rank: float
    order: int
    name: str = field(compare=False)
    overlay: np.ndarray = field(compare=False)


class _Evaluation:
    def __init__(
        self, source: Source, labels: LabelSource, detector: Detector, options: EvaluateOptions
    ) -> None:
        self.source, self.labels, self.detector, self.options = source, labels, detector, options
        self.painter = Painter(detector.bundle)
        self.total = ScoreHistogram()
        self.exact = ExactScores() if options.exact else None
        self.regions = FalseRegions(min_area=MIN_REGION_AREA)
        self.spread = ScoreSpread(detector.bundle.score_display)
        self.rows: list[FrameScores] = []
        self.bad: list[BadFrame] = []
        self.unpaired_frames: list[str] = []
        self.used: set[Hashable] = set()
        self.seconds: list[float] = []
        self.resized = self.filled = 0
        self.confusion = np.zeros(4, np.int64)  # mask over label: tp, fp, fn, tn
        self.best: list[_Example] = []
        self.worst: list[_Example] = []
        self.stopped = False

    def frames(self, progress: Progress) -> None:
        total = len(self.source)
        if self.options.limit and total:
            total = min(total, self.options.limit)
        with progress("frames", total, 0) as advance:
            for number, frame in enumerate(self.source):
                if number == self.options.limit:
                    self.stopped = True
                    break
                self._take(frame)
                advance()

    def _take(self, frame: Frame | BadFrame) -> None:
        key = self.labels.find(frame)
        if isinstance(frame, BadFrame):
            self.bad.append(frame)
            self.used.add(key)
            return
        if key is None:
            self.unpaired_frames.append(frame.name)
            return
        self.used.add(key)
        try:
            stored = self.labels.read(key)
            begin = time.perf_counter()
            found = self.detector.detect([frame.image], ("labels", "score", "mask"))[0]
        except (EncodingError, DetectorError) as error:
            self.bad.append(BadFrame(frame.index, frame.name, str(error)))
            return
        self.seconds.append(time.perf_counter() - begin)
        label = self.options.label_map.apply(stored, self.labels.name(key))
        self._score(frame, found, self._fitted(label, frame, key))

    def _fitted(self, label: np.ndarray, frame: Frame, key: Hashable) -> np.ndarray:
        size = frame.image.shape[:2]
        if label.shape == size:
            return label
        if not self.options.resize_labels:
            raise ReplayError(
                f"frame {frame.name} has {size[1]} x {size[0]} pixels, its label"
                f" {self.labels.name(key)} {label.shape[1]} x {label.shape[0]}; expected the same"
                " size. If the label shows the same view, add --resize-labels."
            )
        self.resized += 1
        return cv2.resize(label, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)

    def _score(self, frame: Frame, found: Detection, label: np.ndarray) -> None:
        score, mask = found.score, found.mask
        assert score is not None and mask is not None
        unseen = np.isnan(score)
        if unseen.any():
            self.filled += int(np.count_nonzero(unseen & (label != 255)))
            score = np.where(unseen, np.float32(NOT_LOOKED_AT), score)
        result = FrameResult(score=score, label=label, predicted=None, truth=None)
        histogram = ScoreHistogram()
        histogram.update(result)
        self.total.merge(histogram)
        if self.exact is not None:
            self.exact.update(result)
        before = self.regions.regions
        self.regions.update(mask, label)
        hit, anomaly, known = mask > 0, label == 1, label == 0
        counts = [(hit & anomaly), (hit & known), (~hit & anomaly), (~hit & known)]
        tp, fp, fn, tn = (int(np.count_nonzero(part)) for part in counts)
        self.confusion += (tp, fp, fn, tn)
        looked = ~unseen
        self.spread.add(score[known & looked], score[anomaly & looked])
        seen = score[(label != 255) & looked]
        row = FrameScores(
            name=frame.name,
            ap=histogram.compute().ap if tp + fn and fp + tn else None,
            anomaly_pixels=tp + fn,
            known_pixels=fp + tn,
            max_score=float(seen.max()) if seen.size else None,
            false_regions=self.regions.regions - before,
            found=tp / (tp + fn) if tp + fn else None,
        )
        self.rows.append(row)
        self._keep(frame, found, label, row)

    def _keep(self, frame: Frame, found: Detection, label: np.ndarray, row: FrameScores) -> None:
        """Rank by AP; frames without an anomaly only by their false regions, as the worst."""
        overlay: np.ndarray | None = None
        ranks = [(self.worst, row.false_regions - (2.0 if row.ap is None else row.ap))]
        if row.ap is not None:
            ranks = [(self.best, row.ap), (self.worst, -row.ap)]
        for heap, rank in ranks:
            if len(heap) == EXAMPLES and rank <= heap[0].rank:
                continue
            if overlay is None:
                overlay = outline_truth(self.painter.overlay(frame.image, found), label)
            example = _Example(rank, -len(self.rows), frame.name, overlay)
            (heapq.heappush if len(heap) < EXAMPLES else heapq.heapreplace)(heap, example)

    def examples(self) -> dict[str, list[tuple[str, np.ndarray]]]:
        """best and worst: (frame name, overlay), most extreme first."""
        return {
            kind: [(entry.name, entry.overlay) for entry in sorted(heap, reverse=True)]
            for kind, heap in (("best", self.best), ("worst", self.worst))
        }

    def results(self) -> dict[str, Any]:
        tp, fp, fn, tn = (int(value) for value in self.confusion)
        point, bundle = self.detector.operating_point, self.detector.bundle
        scores = (self.exact or self.total).compute() if tp + fn and fp + tn else None
        reason = None
        if scores is None:
            reason = "no pixel is labelled " + ("anomaly (1)" if not tp + fn else "known (0)")
        warnings = [*self.source.warnings, *self.labels.warnings]
        if self.resized:
            warnings.append(f"{self.resized} labels were resized (nearest) to their frames")
        if self.filled:
            warnings.append(
                f"{self.filled} labelled pixels lie where the network does not look (fit"
                f" {bundle.input.fit}): they count as the lowest score"
            )
        if self.stopped:
            warnings.append(f"stopped after {self.options.limit} frames, as asked")
        unused = [] if self.stopped else [k for k in self.labels.all() if k not in self.used]
        return {
            "version": __version__,
            "frames": len(self.rows),
            **{name: getattr(scores, name) if scores else None for name in PIXEL_SCORES},
            "reason_for_null": reason,
            "positives": tp + fn,
            "negatives": fp + tn,
            "at_operating_point": {
                "name": point.name,
                "threshold": float(self.detector.threshold),
                "focus": point.focus,
                "region": self.options.region or None,
                "recall": tp / (tp + fn) if tp + fn else None,
                "precision": tp / (tp + fp) if tp + fp else None,
                "false_positive_rate": fp / (fp + tn) if fp + tn else None,
                "false_regions": self.regions.regions,
                "false_regions_per_frame": (
                    self.regions.regions / len(self.rows) if self.rows else None
                ),
                "false_region_min_pixels": MIN_REGION_AREA,
            },
            "unpaired_frames": self.unpaired_frames,
            "unpaired_labels": [self.labels.name(key) for key in unused],
            "bad_frames": [asdict(frame) for frame in self.bad],
            "warnings": warnings,
            "input": asdict(self.source.describe()),
            "pairing": self.labels.rule,
            "label_map": self.options.label_map.describe(),
            "bundle": bundle.name,
            "bundle_hash": bundle_hash(bundle.folder),
            "runner": asdict(self.detector.runner.describe()),
            "seconds": percentiles(self.seconds) if self.seconds else None,
        }
