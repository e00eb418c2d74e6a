"""The gate: what a bundle in another precision sees, against the same bundle in fp32."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.bundle import Bundle, StageFile
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.metrics import FrameResult, ScoreHistogram
from training.data.anomaly_frames import AnomalyFrames, AnomalySample

MIN_LABEL_AGREEMENT = 0.97
MAX_AP_LOSS = 0.01
MAX_SCORE_ERROR = 0.02  # mean, as a share of the displayed range


@dataclass(frozen=True)
class Parity:
    """Another precision against fp32, over frames at camera size."""

    data: str
    frames: int
    label_agreement: float
    score_mean_error: float
    score_max_error: float
    ap: float | None = None  # of the other precision; None where no real objects are there
    ap_fp32: float | None = None

    def faults(self, score_range: float) -> list[str]:
        """What keeps the other precision from being shipped; empty when it may."""
        found = []
        if self.label_agreement < MIN_LABEL_AGREEMENT:
            found.append(
                f"label agreement {self.label_agreement:.4f}, expected {MIN_LABEL_AGREEMENT} "
                "or more"
            )
        if self.ap is not None and self.ap_fp32 is not None:
            if self.ap_fp32 - self.ap >= MAX_AP_LOSS:
                found.append(
                    f"AP {self.ap:.4f} against {self.ap_fp32:.4f} in fp32, expected a loss below "
                    f"{MAX_AP_LOSS}"
                )
        elif self.score_mean_error > MAX_SCORE_ERROR * score_range:
            found.append(
                f"mean score error {self.score_mean_error:.4g}, expected "
                f"{MAX_SCORE_ERROR * score_range:.4g} or less"
            )
        return found

    def entry(self) -> dict[str, Any]:
        """For `parity` of bundle.yaml."""
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in vars(self).items()
            if value is not None
        }


class Reference:
    """The fp32 answers on every `every`-th frame, and the measure of other precisions by them."""

    def __init__(
        self, bundle: Bundle, frames: AnomalyFrames, *, every: int = 1, real: bool, threads: int
    ) -> None:
        self.bundle, self.title, self.real, self.threads = bundle, frames.title, real, threads
        self.samples = [frames.read(index) for index in range(0, len(frames.names), every)]
        with Detector(bundle, "onnxruntime", device="cpu", threads=threads) as detector:
            self.answers = [_answer(detector, sample) for sample in self.samples]
        self.ap = _ap(self.samples, [score for _, score in self.answers]) if real else None

    def measure(
        self, files: Mapping[str, Path], precision: str, *, first: int | None = None
    ) -> Parity:
        """Run the chain with `files` (stage -> graph) in the place of fp32, on the CPU.

        first: only so many frames, without AP. Raises BackendError for graphs that do not load.
        """
        trial = with_files(self.bundle, files, precision)
        with Detector(
            trial, "onnxruntime", device="cpu", precision=precision, threads=self.threads
        ) as detector:
            return self.judge(detector, first=first)

    def judge(self, detector: Detector, *, first: int | None = None) -> Parity:
        """What the detector, the same bundle on another engine, sees; first: as for `measure`."""
        samples = self.samples[:first]
        answers = [_answer(detector, sample) for sample in samples]
        agreement = [
            float((labels == fp32).mean())
            for (labels, _), (fp32, _) in zip(answers, self.answers, strict=False)
        ]
        errors = [
            np.abs(score - fp32)
            for (_, score), (_, fp32) in zip(answers, self.answers, strict=False)
        ]
        judged = self.real and first is None
        return Parity(
            data=self.title,
            frames=len(samples),
            label_agreement=float(np.mean(agreement)),
            score_mean_error=float(np.mean([error.mean() for error in errors])),
            score_max_error=float(max(error.max() for error in errors)),
            ap=_ap(samples, [score for _, score in answers]) if judged else None,
            ap_fp32=self.ap if judged else None,
        )


def with_files(bundle: Bundle, files: Mapping[str, Path], precision: str) -> Bundle:
    """The open bundle with other graphs for some of its stages; the others keep their fp32 ones
    under that precision's name."""
    stages = []
    for stage in bundle.stages:
        [fp32] = [f for f in stage.files if (f.precision, f.target) == ("fp32", "any")]
        path = files.get(stage.name, fp32.path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stages.append(replace(stage, files=(StageFile(precision, "any", path, digest, {}),)))
    return replace(bundle, stages=tuple(stages))


def _answer(detector: Detector, sample: AnomalySample) -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 [H, W] and score float32 [H, W] at camera size."""
    [detection] = detector.detect(sample.image, wanted=("labels", "score"))
    assert detection.labels is not None and detection.score is not None  # they were wanted
    return detection.labels, detection.score


def _ap(samples: Sequence[AnomalySample], scores: Sequence[np.ndarray]) -> float:
    histogram = ScoreHistogram()
    for sample, score in zip(samples, scores, strict=True):
        histogram.update(FrameResult(score, sample.anomaly))
    return float(histogram.compute().ap)
