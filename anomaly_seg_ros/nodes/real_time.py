"""Replay in real time: frames at the recording's pace through the node, and nothing waits."""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.detector import Detection
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.imaging.encodings import message_to_map
from anomaly_seg_ros.nodes.bench import event_rate
from anomaly_seg_ros.nodes.camera_stand_in import Stamp, stamp_of
from anomaly_seg_ros.nodes.replay_session import ReplaySession
from anomaly_seg_ros.nodes.statistics import DROP_CAUSES
from anomaly_seg_ros.replay.evaluation import Evaluation
from anomaly_seg_ros.replay.pace import Pace
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.replay_report import Latencies, Played, RealTime, Times
from anomaly_seg_ros.replay.scoring import MaskRule
from anomaly_seg_ros.replay.sources import Source

MASK, SCORE = "anomaly_mask", "anomaly_score"
READ_AHEAD = 500_000_000  # bytes of messages that are read before the start
LATE = 0.01  # seconds behind its time from which a frame was sent late
ON_THE_WAY = 0.5  # seconds for the last maps to arrive when the node has sent them


@dataclass(frozen=True)
class Sent:
    """A frame that was published: its number and name, its stamp and when (perf_counter)."""

    index: int
    name: str
    stamp: Stamp
    moment: float


def play_in_real_time(
    source: Source,
    parameters: Mapping[str, object],
    evaluation: Evaluation,
    aside: Path,
    *,
    rate: float | None = None,
    region: str = "",
    progress: Progress = no_progress,
) -> Played:
    """Play once and count what came back.

    parameters: of the node. rate: images per second, None: as recorded. Frames are stamped with
    the time at which they are sent. With labels, masks and scores are put into a folder in `aside`
    while it plays, so that scoring does not disturb, and scored when it is over. Raises NodeError
    when the node does not start, or ends; ReplayError when nothing can be written there.
    """
    scored = evaluation.has_labels
    with ExitStack() as stack:
        outputs = (MASK, SCORE) if scored else (MASK,)
        folder = Path(stack.enter_context(_folder_in(aside)))
        session = stack.enter_context(ReplaySession(source, parameters, outputs))
        arrivals: dict[Stamp, float] = {}  # of masks

        def received(topic: str, message: Any, moment: float) -> None:
            stamp = stamp_of(message)
            if topic == MASK:
                arrivals.setdefault(stamp, moment)
            if scored:
                _put_aside(_map_file(folder, topic, stamp), message)

        session.camera.on_output = received
        sent, late = _play(session, source, evaluation, rate, progress)
        session.camera.fresh_diagnostics()  # the next was written after the last frame arrived
        values = session.settled_diagnostics()
        session.camera.spin_until(lambda: False, time.perf_counter() + ON_THE_WAY)
        labels = json.loads(session.camera.labels or "{}")
        if scored:
            _score(evaluation, sent, folder, progress)
    run = _numbers(sent, arrivals, values, rate, late)
    first = sent[0].moment if sent else 0.0
    milliseconds = [1e3 * (arrivals.get(each.stamp, np.nan) - each.moment) for each in sent]
    return Played(
        run,
        MaskRule(labels["operating_point"], labels["threshold"], labels["focus"], region),
        {
            "backend": values["backend"],
            "device": values["device"],
            "precision": values["precision"],
            "version": values["engine version"],
            "threads": int(values["threads"]),
            "note": values["backend note"],
        },
        Latencies(np.array([each.moment - first for each in sent]), np.array(milliseconds)),
    )


def _play(
    session: ReplaySession,
    source: Source,
    evaluation: Evaluation,
    rate: float | None,
    progress: Progress,
) -> tuple[list[Sent], int]:
    """Publish all frames at their time; what was sent, and how many frames were late."""
    camera, pace = session.camera, Pace(source.describe().fps)
    sent: list[Sent] = []
    late = 0
    frames = _read_ahead(session, evaluation, progress)
    with progress("playing", evaluation.total, 0) as advance:
        for frame, payload in frames:
            delay = pace.delay(rate or 0.0, frame.stamp_ns)
            late += pace.behind > LATE
            # Even a frame that is late leaves a moment to receive.
            camera.spin_until(lambda: False, time.perf_counter() + max(delay, 1e-3))
            stamp, moment = session.send_now(payload)
            sent.append(Sent(frame.index, frame.name, stamp, moment))
            advance()
    return sent, late


@dataclass(frozen=True)
class _Prepared:
    index: int
    name: str
    stamp_ns: int | None


def _read_ahead(
    session: ReplaySession, evaluation: Evaluation, progress: Progress
) -> Iterator[tuple[_Prepared, Any]]:
    """Frames with their messages; as many as READ_AHEAD holds are read before the first leaves."""

    def prepared() -> Iterator[tuple[_Prepared, Any]]:
        for frame in evaluation.frames(progress, "reading"):
            yield _Prepared(frame.index, frame.name, frame.stamp_ns), session.message(frame)

    frames = prepared()
    ahead: list[tuple[_Prepared, Any]] = []
    size = 0
    for entry in frames:
        ahead.append(entry)
        size += len(entry[1] if isinstance(entry[1], bytes) else entry[1].data)
        if size >= READ_AHEAD:
            break
    return itertools.chain(ahead, frames)


def _numbers(
    sent: list[Sent],
    arrivals: Mapping[Stamp, float],
    values: Mapping[str, str],
    rate: float | None,
    late: int,
) -> RealTime:
    """values: the node's diagnostics."""
    answered = [each for each in sent if each.stamp in arrivals]
    received, finished = int(values["images received"]), int(values["masks published"])
    ages = [
        arrivals[later.stamp] - earlier.moment for earlier, later in itertools.pairwise(answered)
    ]
    return RealTime(
        mode="real-time",
        rate_asked=rate,
        rate_sent=event_rate([each.moment for each in sent]),
        rate_masks=event_rate([arrivals[each.stamp] for each in answered]),
        sent=len(sent),
        sent_late=late,
        received=received,
        masks=len(answered),
        dropped={cause: int(values[f"dropped: {cause}"]) for cause in DROP_CAUSES},
        lost_to_node=max(0, len(sent) - received),
        lost_from_node=max(0, finished - len(answered)),
        frames_without_mask=[each.name for each in sent if each.stamp not in arrivals],
        latency_ms=Times.of(arrivals[each.stamp] - each.moment for each in answered),
        input_age_ms=_ages(values, "input age"),
        output_age_ms=_ages(values, "output age"),
        newest_mask_age_ms=Times.of(ages),
    )


def _ages(values: Mapping[str, str], name: str) -> dict[str, float]:
    keys = {part: f"{name} {part} ms" for part in ("p50", "p95")}
    return {part: float(values[key]) for part, key in keys.items() if key in values}


def _score(evaluation: Evaluation, sent: list[Sent], folder: Path, progress: Progress) -> None:
    """Hold the masks and scores that were put aside against the labels."""
    stamps = {each.index: each.stamp for each in sent}
    unanswered = 0
    for frame in evaluation.frames(progress, "scoring"):
        label = evaluation.label_of(frame)
        if label is None:
            continue
        files = [_map_file(folder, topic, stamps[frame.index]) for topic in (SCORE, MASK)]
        if not all(file.exists() for file in files):
            unanswered += 1
            continue
        score, mask = (np.load(file) for file in files)
        evaluation.score(
            frame, Detection(labels=None, score=score, mask=mask, extras={}, seconds={}), label
        )
    if unanswered:
        evaluation.warnings.append(
            f"{unanswered} labelled frames got no mask: the accuracy is that of the others"
        )


def _folder_in(place: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        place.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".maps_", dir=place)
    except OSError as error:
        raise ReplayError(f"cannot write below {place}: {error.strerror or error}") from error


def _put_aside(file: Path, message: Any) -> None:
    try:
        np.save(file, message_to_map(message))
    except OSError as error:
        raise ReplayError(
            f"cannot write {file}: {error.strerror or error}. Masks and scores of all frames must"
            " fit there: make room, or leave --labels out"
        ) from error


def _map_file(folder: Path, topic: str, stamp: Stamp) -> Path:
    return folder / f"{topic}_{stamp[0]}_{stamp[1]}.npy"
