"""Hand-worked timelines of late results."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import ExactScores, FrameResult
from anomaly_seg_ros.metrics.streaming import Policy, as_seen, schedule


def test_a_detector_faster_than_the_camera_is_one_frame_late() -> None:
    assert schedule([0, 1, 2, 3], 0.4) == [None, 0, 1, 2]


def test_a_result_finished_at_the_time_of_a_frame_is_in_force() -> None:
    assert schedule([0, 1, 2, 3], 1) == [None, 0, 1, 2]
    assert schedule([0, 1, 2, 3], 0) == [0, 1, 2, 3]


def test_a_slow_detector_skips_to_the_newest_waiting_frame() -> None:
    """Frame 0 runs 0..2.5; 1 waits and is replaced by 2, which runs 2.5..5; then 4, 5..7.5."""
    assert schedule([0, 1, 2, 3, 4, 5, 6, 7, 8], 2.5) == [None, None, None, 0, 0, 2, 2, 2, 4]


def test_a_waiting_frame_is_taken_before_one_that_arrives_at_that_instant() -> None:
    """0 runs 0..2; at 2 frame 1 is taken before frame 2 could replace it, and runs 2..4."""
    assert schedule([0, 1, 2, 3, 4, 5], 2) == [None, None, 0, 0, 1, 1]


def test_a_queue_drops_nothing_and_falls_behind() -> None:
    assert schedule([0, 1, 2, 3, 4, 5, 6], 2, policy="all") == [None, None, 0, 0, 1, 1, 2]


def test_an_idle_worker_takes_a_frame_as_it_arrives() -> None:
    """After a pause nothing waits: 2 arrives at 10, runs 10..10.5."""
    assert schedule([0, 1, 10, 10.2, 10.7], 0.5) == [None, 0, 1, 1, 2]


def test_each_frame_may_take_its_own_time() -> None:
    """0 runs 0..0.5, 1 runs 1..4.2 (a stall), 4 waits from 4, runs 4.2..4.3."""
    seconds = [0.5, 3.2, 9.0, 9.0, 0.1, 0.1]
    assert schedule([0, 1, 2, 3, 4, 5], seconds) == [None, 0, 0, 0, 0, 4]


def test_no_frames_need_no_schedule() -> None:
    assert schedule([], 0.1) == []


@settings(max_examples=100, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    seconds=st.lists(st.integers(0, 20), min_size=12, max_size=12),
    policy=st.sampled_from(["latest", "all"]),
)
def test_the_schedule_is_what_a_clock_that_ticks_through_it_sees(
    gaps: list[int], seconds: list[int], policy: Policy
) -> None:
    times = np.cumsum(gaps).tolist()
    waiting: list[int] = []
    running: tuple[int, int] | None = None  # frame, end
    newest, expected = None, []
    for tick in range(times[-1] + 1):
        arrivals = [times.index(tick)] if tick in times else []
        for new in ([], arrivals):  # first what waits, then what arrives
            if policy == "latest" and new:
                waiting = []
            waiting += new
            while True:
                if running and running[1] <= tick:
                    newest, running = running[0], None
                if running or not waiting:
                    break
                running = (waiting[0], tick + seconds[waiting.pop(0)])
        if arrivals:
            expected.append(newest)
    assert schedule(times, seconds[: len(times)], policy) == expected


# --- what the vehicle sees -------------------------------------------------------------------


def frames_of(count: int) -> list[FrameResult]:
    """Frame k has score, label, predicted and true class k."""
    shape = (1, 2)
    return [
        FrameResult(
            np.full(shape, k, np.float32),
            np.full(shape, k % 2, np.uint8),
            np.full(shape, k, np.uint8),
            np.full(shape, k, np.uint8),
        )
        for k in range(count)
    ]


def test_scores_come_late_and_labels_do_not() -> None:
    seen = list(as_seen(iter(frames_of(4)), [None, 0, 0, 2]))
    assert [frame.score[0, 0] for frame in seen] == [-np.inf, 0, 0, 2]
    assert [frame.label[0, 0] for frame in seen] == [0, 1, 0, 1]
    assert [int(f.predicted[0, 0]) for f in seen if f.predicted is not None] == [255, 0, 0, 2]
    assert [int(f.truth[0, 0]) for f in seen if f.truth is not None] == [0, 1, 2, 3]


def test_the_score_before_any_result_can_be_chosen() -> None:
    [first, _] = as_seen(frames_of(2), [None, 0], lowest=0.25)
    assert (first.score == 0.25).all()


def test_results_without_delay_are_the_frames_themselves() -> None:
    frames = frames_of(3)
    for seen, frame in zip(as_seen(frames, [0, 1, 2]), frames, strict=True):
        np.testing.assert_array_equal(seen.score, frame.score)


def test_a_moving_object_is_lost_to_a_slow_detector() -> None:
    """An object crosses the image by one pixel a frame; every frame is scored without fault."""
    frames = []
    for column in range(8):
        label = np.zeros((1, 8), np.uint8)
        label[0, column] = 1
        frames.append(FrameResult(label.astype(np.float32), label))
    aurocs = []
    for seconds in (0.0, 0.5, 3.5):
        metric = ExactScores()
        for frame in as_seen(frames, schedule(list(range(8)), seconds)):
            metric.update(frame)
        aurocs.append(metric.compute().auroc)
    assert aurocs[0] == 1
    assert max(aurocs[1:]) < 0.5


def test_only_results_still_needed_are_kept() -> None:
    alive: list[weakref.ref[FrameResult]] = []

    def camera() -> Iterator[FrameResult]:
        for _ in range(60):
            [frame] = frames_of(1)
            alive.append(weakref.ref(frame))
            yield frame

    most = 0
    for _ in as_seen(camera(), schedule(list(range(60)), 4.5)):
        most = max(most, sum(frame() is not None for frame in alive))
    assert len(alive) == 60
    assert most <= 4  # the result in force, the one in work, the one just met, the one of now


# --- wrong input -----------------------------------------------------------------------------


def test_schedules_of_odd_times_are_refused() -> None:
    with pytest.raises(MetricError, match=r"frame 2 arrives at 1, not after the one before at 1"):
        schedule([0, 1, 1], 0.1)
    with pytest.raises(MetricError, match="not all finite"):
        schedule([0, np.nan], 0.1)
    with pytest.raises(MetricError, match="some seconds < 0"):
        schedule([0, 1], [0.1, -0.1])
    with pytest.raises(MetricError, match="seconds of 3 frames; expected one value or 2"):
        schedule([0, 1], [0.1, 0.1, 0.1])
    with pytest.raises(MetricError, match="policy 'newest'"):
        schedule([0], 0.1, policy="newest")  # type: ignore[arg-type]


def test_a_schedule_that_does_not_fit_its_frames_is_refused() -> None:
    with pytest.raises(MetricError, match="3 frames or more for a schedule of 2"):
        list(as_seen(frames_of(3), [None, 0]))
    with pytest.raises(MetricError, match="1 frames or more for a schedule of 2"):
        list(as_seen(frames_of(1), [None, 0]))
    with pytest.raises(MetricError, match="result of frame 2; expected one from 0 to 1"):
        list(as_seen(frames_of(3), [None, 2, 2]))
    with pytest.raises(MetricError, match="result of frame 0; expected one from 1 to 2"):
        list(as_seen(frames_of(3), [None, 1, 0]))
