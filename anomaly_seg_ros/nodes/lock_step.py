"""Replay in lock-step: each frame waits for the node's answer to the one before.

Every frame goes through the real node, and its labels, score and mask are compared bit for bit with
those of the detector in this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from anomaly_seg_ros.detector import Detection, Detector
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.imaging.encodings import message_to_map
from anomaly_seg_ros.nodes.replay_session import ReplaySession
from anomaly_seg_ros.replay.comparison import Comparison
from anomaly_seg_ros.replay.evaluation import Evaluation, detected, mask_rule
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.replay_report import LockStep, Played, Times
from anomaly_seg_ros.replay.sources import Source

MAP_TOPICS = {"labels": "segmentation", "score": "anomaly_score", "mask": "anomaly_mask"}
EVERY_FRAME = {"queue_policy": "all"}  # the node subscribes reliably and keeps what it gets
GIVE_UP = 5  # frames in a row without an answer


def play_in_lock_step(
    source: Source,
    detector: Detector,
    parameters: Mapping[str, object],
    evaluation: Evaluation,
    *,
    patience: float,
    region: str = "",
    progress: Progress = no_progress,
) -> Played:
    """Send every frame, wait for its maps, compare and score them.

    parameters: of the node, the same detector as `detector`. region: the path of its region of
    interest, for the report. patience: seconds for one frame; one
    that does not come back in time counts as missing. The maps that are scored are the node's.
    Raises NodeError when the node ends, or GIVE_UP frames in a row stay away.
    """
    comparison = Comparison()
    missing: list[str] = []
    round_trips: list[float] = []
    sent = in_a_row = 0
    given = {**parameters, **EVERY_FRAME}
    with ReplaySession(source, given, tuple(MAP_TOPICS.values())) as session:
        for item in detected(detector, evaluation, progress):
            stamp, moment = session.send(session.message(item.frame))
            sent += 1
            answer = session.camera.answer(stamp, patience)
            if answer is None:
                missing.append(item.frame.name)
                in_a_row += 1
                if in_a_row == GIVE_UP:
                    raise NodeError(
                        f"{GIVE_UP} frames in a row, up to {item.frame.name}, got no answer within "
                        f"{patience:g} s. The node's last lines:\n{session.process.last_lines()}"
                    )
                continue
            in_a_row = 0
            round_trips.append(max(at for _, at in answer.values()) - moment)
            found = _detection({topic: message for topic, (message, _) in answer.items()})
            comparison.add(item.frame.name, item.found, found)
            if item.label is not None:
                evaluation.score(item.frame, found, item.label)
    run = LockStep(
        mode="lock-step",
        sent=sent,
        answered=len(round_trips),
        missing=missing,
        equal=comparison.equal,
        different=comparison.different,
        different_maps=comparison.different_maps,
        first_difference=comparison.first,
        round_trip_ms=Times.of(round_trips),
    )
    return Played(run, mask_rule(detector, region), asdict(detector.runner.describe()))


def _detection(answer: Mapping[str, Any]) -> Detection:
    maps = {name: message_to_map(answer[topic]) for name, topic in MAP_TOPICS.items()}
    return Detection(**maps, extras={}, seconds={})
