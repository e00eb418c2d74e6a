"""The protocols by name: what each counts, its columns, and how figures come out of it.

Benchmarks differ in pooling, thresholds and void; a figure without its protocol means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import (
    ANOMALY_TRACK,
    OBSTACLE_TRACK,
    AdaptiveBins,
    CaosScores,
    ComponentLimits,
    Components,
    ConfusionMatrix,
    ErrorDetectionHistogram,
    ExactScores,
    FailureDetection,
    FrameRoc,
    PansScores,
    ReliabilityBins,
    SmiycPixel,
)
from training.benchmark.accumulators import Guarded, MaskedFalseRegions, Pooled, Together
from training.benchmark.figures import (
    calibration_figures,
    error_figures,
    exact_figures,
    failure_figures,
    false_region_figures,
    per_image_figures,
    point_figures,
    pooled_figures,
    roc_figures,
    segmentation_figures,
    smiyc_figures,
    streaming_figures,
)
from training.benchmark.operating_point import Calibration, ChosenPoint, ThresholdScores
from training.benchmark.results import BenchmarkError, Column, Figure
from training.data.anomaly_frames import AnomalyFrames


@dataclass(frozen=True)
class Counting:
    """What figures are computed with. point: a calibrated threshold of this contender."""

    repeats: int = 1000
    seed: int = 0
    latency: float | None = None
    point: ChosenPoint | None = None


@dataclass(frozen=True)
class Protocol:
    """How one benchmark counts.

    start: a fresh accumulator for the first pass. second: from the first pass's to a fresh one for
    another pass. figures: from both (None without a second pass), the pooled scores of the same
    frames and the counting, to values by column. streaming: frames meet the results that were there
    in time.
    """

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    start: Callable[[Counting], Any]
    figures: Callable[[Any, Any, Pooled, Counting], Mapping[str, Figure]]
    second: Callable[[Any], Any] | None = None
    streaming: bool = False

    def measured(
        self, first: Guarded, second: Guarded | None, pooled: Pooled, counting: Counting
    ) -> dict[str, Figure]:
        """Every column's figure; where the frames do not define them, the reason."""
        try:
            after = None if second is None else second.checked()
            return dict(self.figures(first.checked(), after, pooled, counting))
        except MetricError as error:
            return self.undefined(str(error))

    def undefined(self, reason: str) -> dict[str, Figure]:
        """No figure, and why."""
        return {column.key: Figure(None, reason=reason) for column in self.columns}


AP, AUROC, FPR95 = Column("ap", "AP"), Column("auroc", "AUROC"), Column("fpr95", "FPR95", "low")
PIXEL = (AP, AUROC, FPR95)
AUPR = (Column("aupr_error", "AUPR error"), Column("aupr_success", "AUPR success"))
ACCURACY = Column("accuracy", "pixel accuracy")
COMPONENT = (Column("siou", "sIoU gt"), Column("ppv", "PPV"), Column("f1", "mean F1"))


def _smiyc(name: str, track: str, limits: ComponentLimits) -> Protocol:
    return Protocol(
        name,
        f"SegmentMeIfYouCan, {track} track",
        "Pixels pooled through 768 quantile bins per frame, scores as float16, void left out; "
        f"components at the threshold of best pixel F1 on the same labels (an oracle), of "
        f"{limits.min_predicted} / {limits.min_truth} pixels or more (predicted / true).",
        (*PIXEL, *COMPONENT),
        lambda counting: SmiycPixel(half=True),
        smiyc_figures,
        second=lambda pixel: Components(pixel.compute().best_f1_threshold, limits, half=True),
    )


PROTOCOLS: dict[str, Protocol] = {
    entry.name: entry
    for entry in (
        Protocol(
            "pooled",
            "pooled pixels",
            "All pixels of all frames in one curve, void left out; scores in bins of 1/8192 of "
            "their value, the error that this can cause is stated.",
            PIXEL,
            lambda counting: Guarded.NOTHING,
            lambda _, __, pooled, counting: pooled_figures(pooled, counting.repeats, counting.seed),
        ),
        Protocol(
            "fishyscapes",
            "Fishyscapes",
            "All pixels of all frames in one exact curve, void left out; FPR at the first "
            "threshold that finds 95 %.",
            PIXEL,
            lambda counting: ExactScores(),
            lambda exact, _, pooled, counting: exact_figures(exact, pooled, counting),
        ),
        _smiyc("smiyc_anomaly", "anomaly", ANOMALY_TRACK),
        _smiyc("smiyc_obstacle", "obstacle", OBSTACLE_TRACK),
        Protocol(
            "caos",
            "CAOS (StreetHazards, BDD-Anomaly)",
            "Image by image, then the mean of the images; images without anomaly are skipped; void "
            "counts as known; FPR where the recall is nearest to 95 %.",
            PIXEL,
            lambda counting: CaosScores(),
            lambda scores, _, __, counting: per_image_figures(scores, counting),
        ),
        Protocol(
            "pans",
            "PAnS",
            "As CAOS, but void counts as anomaly, as the authors' code has it.",
            PIXEL,
            lambda counting: PansScores(),
            lambda scores, _, __, counting: per_image_figures(scores, counting),
        ),
        Protocol(
            "resynthesis_roc",
            "Image Resynthesis ROC",
            "Scores as float16 in 1024 levels of 0..1, those outside never detected; every frame "
            "weighs the same; the area left of the first point is lost, as in the authors' code.",
            (AUROC,),
            lambda counting: FrameRoc(),
            lambda roc, _, __, counting: roc_figures(roc),
        ),
        Protocol(
            "error_detection",
            "error detection (ObsNet)",
            "Positive = the segmentation is wrong, whatever the reason; FPR95 = share of errors "
            "still accepted when 95 % of the right pixels are.",
            (*AUPR, AUROC, FPR95, ACCURACY),
            lambda counting: ErrorDetectionHistogram(),
            lambda errors, _, __, counting: error_figures(errors),
        ),
        Protocol(
            "failure_detection",
            "failure detection (SynthCP)",
            "Positive = the segmentation is wrong; areas pooled over all pixels, FPR95 per image "
            "where the recall is nearest to 95 %, then the mean.",
            (*AUPR, AUROC, FPR95),
            lambda counting: FailureDetection(),
            lambda failures, _, __, counting: failure_figures(failures),
        ),
        Protocol(
            "segmentation",
            "segmentation",
            "Intersection over union, pooled, mean of the classes that are labelled.",
            (Column("miou", "mIoU"), ACCURACY),
            lambda counting: ConfusionMatrix(255),
            lambda matrix, _, __, counting: segmentation_figures(matrix),
        ),
        Protocol(
            "calibration",
            "calibration (ObsNet)",
            "Confidence = 1 - score / largest score against the segmentation being right: adaptive "
            "(14 groups per class) and expected calibration error (15 bins).",
            (Column("ace", "ACE", "low", 1, 3), Column("ece", "ECE", "low", 1, 3)),
            lambda counting: AdaptiveBins(),
            lambda adaptive, bins, __, counting: calibration_figures(adaptive, bins),
            second=lambda adaptive: ReliabilityBins(highest=adaptive.highest),
        ),
        Protocol(
            "false_regions",
            "false regions",
            "Regions of 200 px or more, at the evaluated size, that the contender's own operating "
            "point marks where nothing is anomalous.",
            (
                Column("per_100_frames", "per 100 frames", "low", 1, 1),
                Column("frames_with", "frames with one", "low"),
            ),
            lambda counting: MaskedFalseRegions(),
            lambda regions, _, __, counting: false_region_figures(regions),
        ),
        Protocol(
            "streaming",
            "as a vehicle sees it",
            "Each frame's label against the newest result that is finished when the frame comes "
            "(newest frame first, one at a time); before the first result nothing is found. Lost: "
            "AP below that of the same results without delay.",
            (*PIXEL, Column("lost", "AP lost", "low")),
            lambda counting: Pooled(),
            lambda seen, _, pooled, counting: streaming_figures(seen, pooled, counting),
            streaming=True,
        ),
    )
}


def point_protocol(limits: ComponentLimits) -> Protocol:
    """What a calibrated threshold does, with component metrics under `limits`."""
    return Protocol(
        "operating_point",
        "at the calibrated threshold",
        "A threshold chosen on other frames: recall and precision pooled, false alarms and misses "
        "as means over frames, false regions of 200 px or more, and component metrics "
        f"({limits.min_predicted} / {limits.min_truth} pixels).",
        (
            Column("recall", "recall"),
            Column("precision", "precision"),
            Column("false_alarms", "known marked", "low"),
            Column("misses", "anomaly missed", "low"),
            Column("false_regions", "false regions / 100", "low", 1, 1),
            *COMPONENT,
        ),
        lambda counting: _at_point(counting, limits),
        lambda both, _, __, counting: point_figures(*both.parts),
    )


def _at_point(counting: Counting, limits: ComponentLimits) -> Together:
    assert counting.point is not None  # the protocol is only made where there is one
    threshold = counting.point.threshold
    return Together(ThresholdScores(threshold), Components(threshold, limits))


def protocols_for(
    frames: AnomalyFrames, wanted: Sequence[str], calibration: Calibration | None
) -> tuple[Protocol, ...]:
    """The protocols of a dataset: those wanted, else its authors' own and what its frames allow.

    Raises BenchmarkError for an unknown name and for latency-aware scores without frame times.
    """
    names = list(wanted or frames.protocols)
    if not wanted and frames.times is not None:
        names.append("streaming")
    unknown = [name for name in names if name not in PROTOCOLS]
    if unknown:
        raise BenchmarkError(
            f"unknown protocol {', '.join(unknown)}; known: {', '.join(PROTOCOLS)}"
        )
    if "streaming" in names and frames.times is None:
        raise BenchmarkError(
            f"protocol streaming needs the times of frames, which {frames.name} does not have: use "
            "a recording such as procedural_recordings"
        )
    chosen = [PROTOCOLS[name] for name in dict.fromkeys(names)]
    if calibration is not None:
        obstacles = "smiyc_obstacle" in frames.protocols
        chosen.append(point_protocol(OBSTACLE_TRACK if obstacles else ANOMALY_TRACK))
    return tuple(chosen)
