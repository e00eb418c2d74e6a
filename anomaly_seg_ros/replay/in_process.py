"""Replay in this process: the detector over every frame, without ROS."""

from __future__ import annotations

from dataclasses import asdict

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.replay.evaluation import Evaluation, detected, mask_rule
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.replay_report import InProcess, Played, Times


def play_in_process(
    detector: Detector,
    evaluation: Evaluation,
    region: str = "",
    progress: Progress = no_progress,
) -> Played:
    """Detect in every frame and score those that have a label.

    region: the path of the region of interest, for the report.
    """
    seconds = []
    with_anomaly = 0
    for item in detected(detector, evaluation, progress):
        assert item.found.mask is not None
        seconds.append(item.seconds)
        with_anomaly += bool(item.found.mask.any())
        if item.label is not None:
            evaluation.score(item.frame, item.found, item.label)
    run = InProcess("in-process", len(seconds), with_anomaly, Times.of(seconds))
    return Played(run, mask_rule(detector, region), asdict(detector.runner.describe()))
