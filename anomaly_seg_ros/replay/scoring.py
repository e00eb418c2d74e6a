"""The numbers of an evaluation, frame by frame: scores and masks held against anomaly labels."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anomaly_seg_ros.detector import Detection
from anomaly_seg_ros.metrics import ExactScores, FalseRegions, FrameResult, ScoreHistogram
from anomaly_seg_ros.metrics.base import ANOMALY, KNOWN, VOID
from anomaly_seg_ros.replay.drawing import Painter, outline_truth
from anomaly_seg_ros.replay.evaluation_plots import Curves, ScoreSpread, draw_plots
from anomaly_seg_ros.replay.evaluation_report import FrameScores

MIN_REGION_AREA = 200  # camera pixels: smaller false regions are not counted
EXAMPLES = 3  # best and worst frames that are drawn
PIXEL_SCORES = ("ap", "auroc", "fpr95", "ap_error", "auroc_error", "fpr95_error")
NOT_LOOKED_AT = float(np.finfo(np.float32).min)  # below every score


@dataclass(frozen=True)
class MaskRule:
    """How the masks were made that are scored; None: not known."""

    name: str | None = None  # of the operating point
    threshold: float | None = None
    focus: str | None = None
    region: str = ""  # of interest: where the mask may be set; the scores are taken everywhere


@dataclass(order=True)
class _Example:
    """An overlay worth looking at; the heap keeps the greatest ranks."""

    rank: float
    order: int
    name: str = field(compare=False)
    overlay: np.ndarray = field(compare=False)


class Scoring:
    """Adds up the frames of a recording. Memory is bounded but for `rows` and exact scores.

    display: the score range that the distribution is drawn over. exact keeps every labelled score,
    4 bytes each, in place of a histogram with stated errors. painter: draws the best and worst
    frames. keep_rows: only the last so many frames are kept for frames.csv.
    """

    def __init__(
        self,
        display: tuple[float, float],
        *,
        exact: bool = False,
        painter: Painter | None = None,
        keep_rows: int | None = None,
    ) -> None:
        self.frames = 0
        self.rows: deque[FrameScores] = deque(maxlen=keep_rows)
        self._filled = 0  # labelled pixels where the network did not look
        self._painter = painter
        self._total = ScoreHistogram()
        self._exact = ExactScores() if exact else None
        self._regions = FalseRegions(min_area=MIN_REGION_AREA)
        self._spread = ScoreSpread(display)
        self._confusion = np.zeros(4, np.int64)  # mask over label: tp, fp, fn, tn
        self._best: list[_Example] = []
        self._worst: list[_Example] = []

    def add(
        self, name: str, found: Detection, label: np.ndarray, image: np.ndarray | None = None
    ) -> None:
        """Count one frame.

        found: with score and mask (labels too, for overlays). label: uint8 [H, W], 0 known, 1
        anomaly, 255 void. image: uint8 [H, W, 3] RGB, for overlays. Raises MetricError when label,
        score and mask do not fit together; nothing is counted then.
        """
        score, mask = found.score, found.mask
        assert score is not None and mask is not None
        unseen = np.isnan(score)
        filled = 0
        if unseen.any() and label.shape == score.shape:
            filled = int(np.count_nonzero(unseen & (label != VOID)))
            score = np.where(unseen, np.float32(NOT_LOOKED_AT), score)
        result = FrameResult(score=score, label=label, predicted=None, truth=None)
        histogram = ScoreHistogram()
        histogram.update(result)
        regions = FalseRegions(min_area=MIN_REGION_AREA)
        regions.update(mask, label)
        self._total.merge(histogram)
        self._regions.merge(regions)
        if self._exact is not None:
            self._exact.update(result)
        self.frames += 1
        self._filled += filled
        hit, anomaly, known = mask > 0, label == ANOMALY, label == KNOWN
        counts = [(hit & anomaly), (hit & known), (~hit & anomaly), (~hit & known)]
        tp, fp, fn, tn = (int(np.count_nonzero(part)) for part in counts)
        self._confusion += (tp, fp, fn, tn)
        looked = ~unseen
        self._spread.add(score[known & looked], score[anomaly & looked])
        seen = score[(label != VOID) & looked]
        row = FrameScores(
            name=name,
            ap=histogram.compute().ap if tp + fn and fp + tn else None,
            anomaly_pixels=tp + fn,
            known_pixels=fp + tn,
            max_score=float(seen.max()) if seen.size else None,
            false_regions=regions.regions,
            found=tp / (tp + fn) if tp + fn else None,
        )
        self.rows.append(row)
        if self._painter is not None and image is not None:
            self._keep(self._painter, image, found, label, row)

    def _keep(
        self,
        painter: Painter,
        image: np.ndarray,
        found: Detection,
        label: np.ndarray,
        row: FrameScores,
    ) -> None:
        """Rank by AP; frames without an anomaly only by their false regions, as the worst."""
        overlay: np.ndarray | None = None
        ranks = [(self._worst, row.false_regions - (2.0 if row.ap is None else row.ap))]
        if row.ap is not None:
            ranks = [(self._best, row.ap), (self._worst, -row.ap)]
        for heap, rank in ranks:
            if len(heap) == EXAMPLES and rank <= heap[0].rank:
                continue
            if overlay is None:
                overlay = outline_truth(painter.overlay(image, found), label)
            example = _Example(rank, -self.frames, row.name, overlay)
            (heapq.heappush if len(heap) < EXAMPLES else heapq.heapreplace)(heap, example)

    def examples(self) -> dict[str, list[tuple[str, np.ndarray]]]:
        """best and worst: (frame name, overlay), most extreme first."""
        return {
            kind: [(entry.name, entry.overlay) for entry in sorted(heap, reverse=True)]
            for kind, heap in (("best", self._best), ("worst", self._worst))
        }

    def warnings(self) -> list[str]:
        """What the numbers leave out or fill in."""
        if not self._filled:
            return []
        return [
            f"{self._filled} labelled pixels lie where the network does not look: they count as the"
            " lowest score"
        ]

    def plots(self) -> str:
        """Score distribution, and the curves where there are known and anomalous pixels: SVG."""
        both = self._total.known.any() and self._total.anomalous.any()
        return draw_plots(self._spread, Curves.of(self._total) if both else None)

    def results(self, rule: MaskRule) -> dict[str, Any]:
        """The numbers as results.json states them: fractions, None where not defined."""
        tp, fp, fn, tn = (int(value) for value in self._confusion)
        scores = (self._exact or self._total).compute() if tp + fn and fp + tn else None
        reason = None
        if scores is None:
            reason = "no pixel is labelled " + ("anomaly (1)" if not tp + fn else "known (0)")
        false = self._regions.regions
        return {
            "frames": self.frames,
            **{name: getattr(scores, name) if scores else None for name in PIXEL_SCORES},
            "reason_for_null": reason,
            "positives": tp + fn,
            "negatives": fp + tn,
            "at_operating_point": {
                "name": rule.name,
                "threshold": rule.threshold,
                "focus": rule.focus,
                "region": rule.region or None,
                "recall": tp / (tp + fn) if tp + fn else None,
                "precision": tp / (tp + fp) if tp + fp else None,
                "false_positive_rate": fp / (fp + tn) if fp + tn else None,
                "false_regions": false,
                "false_regions_per_frame": false / self.frames if self.frames else None,
                "false_region_min_pixels": MIN_REGION_AREA,
            },
        }
