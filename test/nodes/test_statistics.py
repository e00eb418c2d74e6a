"""Counting faults and frames."""

import time

import pytest

from anomaly_seg_ros.errors import EncodingError
from anomaly_seg_ros.nodes.process_cost import (
    CostLedger,
    cpu_seconds,
    resident_megabytes,
    thread_ids,
)
from anomaly_seg_ros.nodes.reports import MAX_KINDS, OTHER, FaultReports, kind_of
from anomaly_seg_ros.nodes.statistics import MALFORMED, FrameStatistics, Spread, spread


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rgb8 image of 4 x 3 pixels has step 9; set it", "rgb8 image of 8 x 1 pixels has step 1"),
        ("encoding 'x9' is unknown", "encoding 'yy' is unknown"),
        ("9 compressed bytes start with 00 ff a0", "700 compressed bytes start with 12 34"),
        ("score is float32 [3, 4]", "score is float32 [5, 6]"),
    ],
)
def test_a_fault_with_other_numbers_is_of_the_same_kind(one: str, other: str) -> None:
    assert kind_of(EncodingError(one)) == kind_of(EncodingError(other))


def test_different_faults_are_of_different_kinds() -> None:
    assert kind_of(ValueError("rgb8 image is cut off")) != kind_of(
        ValueError("bgr8 image is cut off")
    )
    assert kind_of(KeyError()) == "KeyError"


def test_a_kind_is_told_once_and_counted_always() -> None:
    told: list[str] = []
    reports = FaultReports(told.append)
    for number in range(100):
        reports.add("a", f"a {number}")
        reports.add("b", f"b {number}")
    assert told == ["a 0", "b 0"]
    assert reports.counts() == {"a": 100, "b": 100}


def test_a_kind_is_told_again_after_a_while_with_what_was_kept_quiet() -> None:
    told: list[str] = []
    reports = FaultReports(told.append, repeat=0.05)
    for _ in range(3):
        reports.add("a", "first")
    time.sleep(0.06)
    reports.add("a", "again")
    assert told == ["first", "again (3 more like this since the last report)"]


def test_endless_kinds_take_bounded_memory_and_log() -> None:
    told: list[str] = []
    reports = FaultReports(told.append)
    for number in range(1000):
        reports.add(f"kind {number}", f"message {number}")
    assert len(reports.counts()) == MAX_KINDS + 1
    assert reports.counts()[OTHER] == 1000 - MAX_KINDS
    assert len(told) == MAX_KINDS + 1


def test_spreads_are_in_milliseconds() -> None:
    assert spread([0.010] * 19 + [0.050]) == Spread(pytest.approx(10.0), pytest.approx(12.0))
    assert spread([]) is None


def test_frames_are_counted_by_what_became_of_them() -> None:
    counts = FrameStatistics()
    for number in range(4):
        counts.received(100.0 + number, age=0.02)
    counts.dropped(MALFORMED)
    counts.finished(0.05, 0.07, {"run": 0.04}, 0.25)
    counts.finished(0.15, 0.17, {"run": 0.06}, 0.5)
    now = counts.snapshot()
    assert (now.received, now.finished, now.dropped[MALFORMED]) == (4, 2, 1)
    assert now.latency == Spread(pytest.approx(100.0), pytest.approx(145.0))
    assert now.input_age == Spread(pytest.approx(20.0), pytest.approx(20.0))
    assert now.stages == {"run": pytest.approx(50.0)}
    assert (now.anomaly_fraction, now.last_stamp) == (0.5, 103.0)
    counts.reset()
    assert counts.snapshot().received == 0


def test_ages_of_cameras_with_another_clock_are_left_out() -> None:
    counts = FrameStatistics()
    counts.received(0.0, age=-5.0)
    counts.received(0.0, age=1.7e9)
    assert counts.snapshot().input_age is None


def test_the_cost_of_this_process_is_split_without_rest() -> None:
    import threading

    worker = threading.get_native_id()
    ledger = CostLedger(frozenset(), worker)
    process, before = time.process_time(), cpu_seconds(worker)
    while cpu_seconds(worker) - before < 0.05:
        sum(range(1000))
    ledger.add(run_seconds=0.02, publish_seconds=0.01)
    cost = ledger.per_frame()
    total = 1e3 * (time.process_time() - process)
    assert cost is not None
    assert cost.engine == pytest.approx(20.0)
    assert cost.own == pytest.approx(20.0, abs=10)
    assert cost.engine + cost.own + cost.transport == pytest.approx(total, abs=5)


def test_this_process_has_threads_and_memory() -> None:
    import threading

    assert threading.get_native_id() in thread_ids()
    assert 5 < (resident_megabytes() or 0) < 100_000
