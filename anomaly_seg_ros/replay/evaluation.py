"""How well a bundle finds the anomalies of a labelled recording."""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anomaly_seg_ros import __version__
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import MAPS, Detection, Detector
from anomaly_seg_ros.errors import DetectorError, EncodingError, ReplayError
from anomaly_seg_ros.replay.detection import bundle_hash
from anomaly_seg_ros.replay.detection_run import percentiles
from anomaly_seg_ros.replay.drawing import Painter
from anomaly_seg_ros.replay.evaluation_report import write_report
from anomaly_seg_ros.replay.labels import LabelMap, LabelSource
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.scoring import MaskRule, Scoring
from anomaly_seg_ros.replay.sources import BadFrame, Frame, Source


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
    run = Evaluation(source, labels, detector.bundle, options)
    seconds = []
    for item in detected(detector, run, progress, only_labelled=True):
        assert item.label is not None
        seconds.append(item.seconds)
        run.score(item.frame, item.found, item.label)
    run.require_frames()
    results = {
        "version": __version__,
        **run.results(mask_rule(detector, options.region)),
        **subject(source, detector.bundle, asdict(detector.runner.describe())),
        "seconds": percentiles(seconds),
    }
    write_report(
        out,
        results,
        run.scoring.rows,
        {"curves.svg": run.scoring.plots()},
        run.scoring.examples(),
    )
    return results


@dataclass(frozen=True)
class Detected:
    """A frame, its label (uint8 [H, W], None where it has none), what the detector found and how
    long it took.
    """

    frame: Frame
    label: np.ndarray | None
    found: Detection
    seconds: float


def detected(
    detector: Detector,
    evaluation: Evaluation,
    progress: Progress = no_progress,
    *,
    only_labelled: bool = False,
) -> Iterator[Detected]:
    """Run the detector over the frames of an evaluation, labels, score and mask wanted.

    Frames that fail are noted in the evaluation and left out.
    """
    for frame in evaluation.frames(progress):
        label = evaluation.label_of(frame)
        if only_labelled and label is None:
            continue
        begin = time.perf_counter()
        try:
            found = detector.detect([frame.image], MAPS)[0]
        except (EncodingError, DetectorError) as error:
            evaluation.failed(frame, str(error))
            continue
        yield Detected(frame, label, found, time.perf_counter() - begin)


def subject(source: Source, bundle: Bundle, runner: Mapping[str, object]) -> dict[str, Any]:
    """What was run on what, for results.json. runner: the fields of a RunnerInfo."""
    return {
        "input": asdict(source.describe()),
        "bundle": bundle.name,
        "bundle_hash": bundle_hash(bundle.folder),
        "runner": dict(runner),
    }


def mask_rule(detector: Detector, region: str = "") -> MaskRule:
    """What a detector makes its masks by."""
    point = detector.operating_point
    return MaskRule(point.name, float(detector.threshold), point.focus, region)


class Evaluation:
    """Finds the label of each frame of a recording and scores what was found there.

    labels None: frames are noted, and there is nothing to score.
    """

    def __init__(
        self, source: Source, labels: LabelSource | None, bundle: Bundle, options: EvaluateOptions
    ) -> None:
        self._source, self._labels, self._options = source, labels, options
        painter = Painter(bundle)
        self.scoring = Scoring(painter.display, exact=options.exact, painter=painter)
        self._bad: list[BadFrame] = []
        self._unpaired_frames: list[str] = []
        self._used: set[Hashable] = set()
        self._seen = 0
        self._resized = 0
        self.warnings: list[str] = []  # beside those of source and labels

    @property
    def has_labels(self) -> bool:
        return self._labels is not None

    @property
    def total(self) -> int:
        """Frames that `frames` will pass, readable or not; 0 = unknown."""
        promised, limit = len(self._source), self._options.limit
        return min(promised, limit) if limit and promised else promised

    def frames(self, progress: Progress = no_progress, what: str = "frames") -> Iterator[Frame]:
        """The readable frames of the source, as far as the limit lets; the others are noted."""
        self._seen = 0
        self._bad.clear()
        with progress(what, self.total, 0) as advance:
            for frame in itertools.islice(self._source, self._options.limit):
                self._seen += 1
                if isinstance(frame, Frame):
                    yield frame
                else:
                    self._bad.append(frame)
                    if self._labels is not None:
                        self._used.add(self._labels.find(frame))
                advance()

    def label_of(self, frame: Frame) -> np.ndarray | None:
        """The frame's label at its size, uint8 [H, W] of 0, 1, 255; None where there is none.

        To be called once for each frame: it notes what does not pair and what cannot be read.
        Raises ReplayError for a label of other values or another size.
        """
        if self._labels is None:
            return None
        key = self._labels.find(frame)
        if key is None:
            self._unpaired_frames.append(frame.name)
            return None
        self._used.add(key)
        try:
            stored = self._labels.read(key)
        except EncodingError as error:
            self.failed(frame, str(error))
            return None
        label = self._options.label_map.apply(stored, self._labels.name(key))
        return self._fitted(label, frame, self._labels.name(key))

    def failed(self, frame: Frame, reason: str) -> None:
        """Note a frame that could be read and not be detected in."""
        self._bad.append(BadFrame(frame.index, frame.name, reason))

    def score(self, frame: Frame, found: Detection, label: np.ndarray) -> None:
        """Count what was found in a frame: labels, score and mask at its size."""
        self.scoring.add(frame.name, found, label, frame.image)

    def _fitted(self, label: np.ndarray, frame: Frame, name: str) -> np.ndarray:
        size = frame.image.shape[:2]
        if label.shape == size:
            return label
        if not self._options.resize_labels:
            raise ReplayError(
                f"frame {frame.name} has {size[1]} x {size[0]} pixels, its label"
                f" {name} {label.shape[1]} x {label.shape[0]}; expected the same"
                " size. If the label shows the same view, add --resize-labels."
            )
        self._resized += 1
        return cv2.resize(label, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)

    def require_frames(self) -> None:
        """Raise ReplayError, naming what did not pair, when no frame was scored."""
        if self._labels is None or self.scoring.frames:
            return

        def some(names: list[str]) -> str:
            return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") or "none"

        unused = self._unused_labels()
        raise ReplayError(
            f"{self._source.describe().path}: no frame has a label. Rule: {self._labels.rule}."
            f" Frames without label ({len(self._unpaired_frames)}): {some(self._unpaired_frames)};"
            f" labels without frame ({len(unused)}): {some(unused)}"
            + (f"; unreadable ({len(self._bad)}): {self._bad[0].reason}" if self._bad else "")
            + "."
        )

    def results(self, rule: MaskRule) -> dict[str, Any]:
        """The numbers, and everything that did not pair, as results.json states them."""
        labels = self._labels
        warnings = [*self._source.warnings, *(labels.warnings if labels is not None else ())]
        if self._resized:
            warnings.append(f"{self._resized} labels were resized (nearest) to their frames")
        warnings += self.scoring.warnings()
        if self._stopped:
            warnings.append(f"stopped after {self._options.limit} frames, as asked")
        noted = {
            "bad_frames": [asdict(frame) for frame in self._bad],
            "warnings": [*warnings, *self.warnings],
        }
        if labels is None:
            return noted
        return {
            **self.scoring.results(rule),
            "unpaired_frames": self._unpaired_frames,
            "unpaired_labels": self._unused_labels(),
            **noted,
            "pairing": labels.rule,
            "label_map": self._options.label_map.describe(),
        }

    @property
    def _stopped(self) -> bool:
        """Whether the limit ended the run before the recording did."""
        limit = self._options.limit
        return limit is not None and self._seen >= limit and len(self._source) != self._seen

    def _unused_labels(self) -> list[str]:
        if self._labels is None or self._stopped:
            return []
        return [self._labels.name(key) for key in self._labels.all() if key not in self._used]
