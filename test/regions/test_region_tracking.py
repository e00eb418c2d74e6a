"""Regions over frames: synthetic ones, and unknown objects of a drawn road."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.region_tracking import Persistence, RegionTracker
from anomaly_seg_ros.regions import Region, find_regions
from anomaly_seg_ros.scenes import RoadSequence

SHAPE = (120, 160)
AT_ONCE = Persistence(confirm=1, window=1, forget=3)


def region(left: int, top: int, width: int = 10, height: int = 10) -> Region:
    """A full box."""
    foot = (left + (width - 1) / 2, top + height - 1.0)
    return Region(left, top, width, height, width * height, foot, 0.5, 1.0, 0)


HERE, GONE = [region(10, 10)], list[Region]()


def reported(
    frames: Iterable[list[Region]], persistence: Persistence, shape: tuple[int, int] = SHAPE
) -> list[list[int]]:
    """The ids that each frame reports."""
    tracker = RegionTracker(persistence)
    return [
        [tracked.id for tracked in tracker.update(regions, index / 10, shape)]
        for index, regions in enumerate(frames)
    ]


def test_a_moving_region_keeps_its_id() -> None:
    frames = [[region(10 + 6 * k, 40 + k)] for k in range(20)]
    assert reported(frames, AT_ONCE) == [[1]] * 20


def test_a_region_that_jumps_less_than_its_own_size_keeps_its_id() -> None:
    assert reported([[region(10, 40)], [region(20, 40)]], AT_ONCE) == [[1], [1]]
    assert reported([[region(10, 40)], [region(40, 40)]], AT_ONCE) == [[1], [2]]


def test_near_centres_of_very_different_sizes_are_different_regions() -> None:
    assert reported([[region(0, 0, 40, 40)], [region(41, 18, 4, 4)]], AT_ONCE) == [[1], [2]]


def test_the_better_overlap_wins() -> None:
    before = [region(10, 10), region(22, 10)]
    now = [region(17, 10), region(24, 10)]
    assert reported([before, now], AT_ONCE) == [[1, 2], [1, 2]]
    assert reported([before, now[::-1]], AT_ONCE) == [[1, 2], [2, 1]]


def test_a_region_is_reported_from_three_of_five_frames_on() -> None:
    frames = [HERE, GONE, HERE, GONE, HERE, HERE]
    assert reported(frames, Persistence(3, 5, 5)) == [[], [], [], [], [1], [1]]


def test_flicker_that_never_comes_three_times_in_five_frames_is_not_reported() -> None:
    assert not any(reported([HERE, GONE, GONE] * 10, Persistence(3, 5, 5)))


def test_a_region_is_forgotten_after_the_missed_frames_and_not_before() -> None:
    assert reported([HERE, GONE, GONE, HERE], AT_ONCE) == [[1], [], [], [1]]
    assert reported([HERE, GONE, GONE, GONE, HERE], AT_ONCE) == [[1], [], [], [], [2]]


def test_stamps_that_go_back_start_anew_with_new_ids() -> None:
    tracker = RegionTracker(Persistence(2, 2, 5))
    for seconds in (10.0, 10.1):
        found = tracker.update([region(10, 10)], seconds, SHAPE)
    assert [tracked.id for tracked in found] == [1]
    assert tracker.update([region(10, 10)], 5.0, SHAPE) == ()
    assert [t.id for t in tracker.update([region(10, 10)], 5.1, SHAPE)] == [2]


def test_equal_stamps_do_not_start_anew() -> None:
    tracker = RegionTracker(Persistence(2, 2, 5))
    tracker.update([region(10, 10)], 0.0, SHAPE)
    (tracked,) = tracker.update([region(10, 10)], 0.0, SHAPE)
    assert (tracked.id, tracked.frames) == (1, 2)


def test_another_picture_size_starts_anew() -> None:
    tracker = RegionTracker(AT_ONCE)
    tracker.update([region(10, 10)], 0.0, SHAPE)
    assert [t.id for t in tracker.update([region(10, 10)], 0.1, (240, 320))] == [2]


@pytest.mark.parametrize("numbers", [(0, 5, 5), (6, 5, 5), (1, 1, 0)])
def test_a_persistence_that_cannot_be_is_an_error(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(DetectorError, match="expected"):
        Persistence(*numbers)


BOXES = st.lists(
    st.builds(
        region, st.integers(0, 100), st.integers(0, 80), st.integers(1, 40), st.integers(1, 40)
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(frames=st.lists(BOXES, max_size=12), forget=st.integers(1, 4))
def test_ids_are_unique_repeatable_and_few(frames: list[list[Region]], forget: int) -> None:
    persistence = Persistence(1, 1, forget)
    ids = reported(frames, persistence)
    assert [len(found) for found in ids] == [len(found) for found in frames]
    assert all(len(set(found)) == len(found) for found in ids)
    assert ids == reported(frames, persistence)
    tracker = RegionTracker(persistence)
    for index, regions in enumerate(frames):
        tracker.update(regions, float(index), SHAPE)
    assert len(tracker._tracks) <= 5 * forget


def test_an_unknown_object_on_a_drawn_road_keeps_its_id_and_flicker_is_not_reported() -> None:
    size = (240, 320)
    road = RoadSequence(seed=3, size=size, frames_per_second=15)
    tracker = RegionTracker(Persistence(3, 5, 5))
    rng = np.random.default_rng(1)
    ids, areas = [], []
    for index in range(26, 70, 3):  # one object comes nearer
        mask = (road.frame(index).anomaly == 1).astype(np.uint8)
        row, column = rng.integers(0, (50, 300))  # flicker somewhere in the sky
        mask[row : row + 8, column : column + 8] = 1
        found = tracker.update(find_regions(mask, min_area=40), index / 15, size)
        ids.append([tracked.id for tracked in found])
        areas += [tracked.region.area for tracked in found]
    (object_id,) = {number for found in ids for number in found}
    assert ids == [[]] * 2 + [[object_id]] * 13
    assert areas[-1] > 4 * areas[0]
