"""The focus on the road, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_seg_ros.focus import large_regions, one_cell_wider, road_hull, stands_on

SHAPE = (24, 48)


def cells(*drawn: str) -> np.ndarray:
    """bool [h, w] from lines of '#' and '.'."""
    return np.array([[mark == "#" for mark in line] for line in drawn])


def road_with(*holes: tuple[slice, slice]) -> np.ndarray:
    """Road from row 10 down, over all columns, but for the holes."""
    road = np.zeros(SHAPE, bool)
    road[10:] = True
    for hole in holes:
        road[hole] = False
    return road


# --- hull ------------------------------------------------------------------------------------


def test_the_hull_is_the_road_and_one_cell_more() -> None:
    expected = np.zeros(SHAPE, bool)
    expected[9:] = True
    np.testing.assert_array_equal(road_hull(road_with()), expected)


def test_the_hull_spans_an_object_that_hides_the_road_down_to_the_camera() -> None:
    hidden = (slice(10, 24), slice(20, 28))
    hull = road_hull(road_with(hidden))
    assert hull is not None and hull[hidden].all()


def test_specks_of_road_elsewhere_do_not_widen_the_hull() -> None:
    road = road_with()
    road[1:3, 3:5] = True  # 4 cells of 1152: below 1/200
    np.testing.assert_array_equal(road_hull(road), road_hull(road_with()))


def test_without_a_surface_there_is_no_hull() -> None:
    assert road_hull(np.zeros(SHAPE, bool)) is None
    speck = np.zeros(SHAPE, bool)
    speck[5, 5] = True
    assert road_hull(speck) is None


# --- what stands on it -----------------------------------------------------------------------

HULL = cells(
    "........",
    "........",
    "........",
    "..####..",
    "..####..",
    "........",
)


def test_flagged_cells_in_the_hull_count() -> None:
    flagged = cells("........", "........", "........", "...#....", "..#.....", "........")
    np.testing.assert_array_equal(stands_on(flagged, HULL), flagged)


def test_what_reaches_up_from_the_hull_counts_and_what_floats_does_not() -> None:
    flagged = cells("...#....", "...#.#..", "...#....", "........", "........", "........")
    expected = cells("...#....", "...#....", "...#....", "........", "........", "........")
    np.testing.assert_array_equal(stands_on(flagged, HULL), expected)


def test_what_lies_beside_or_below_the_hull_does_not_count() -> None:
    flagged = cells("#......#", "#......#", "#......#", "##....##", "##....##", "########")
    assert not stands_on(flagged, HULL).any()


@pytest.mark.parametrize("seed", range(20))
def test_every_column_agrees_with_a_walk_up_from_the_hull(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flagged = rng.random((9, 7)) < 0.7
    hull = road_hull(rng.random((9, 7)) < rng.choice([0.03, 0.2]))
    if hull is None:
        hull = HULL[:, :7]
        flagged = flagged[: len(hull)]
    expected = np.zeros_like(flagged)
    for column in range(flagged.shape[1]):
        rows = np.flatnonzero(hull[:, column])
        if rows.size:
            expected[rows, column] = flagged[rows, column]
            row = rows[0] - 1
            while row >= 0 and flagged[row, column]:
                expected[row, column] = True
                row -= 1
    np.testing.assert_array_equal(stands_on(flagged, hull), expected)


@pytest.mark.parametrize("seed", range(20))
def test_the_hull_holds_the_road_in_one_span_per_column(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drivable = rng.random((9, 7)) < rng.choice([0.1, 0.3])
    hull = road_hull(drivable)
    assert hull is not None
    assert (hull | ~drivable).all()
    for column in hull.T:
        rows = np.flatnonzero(column)
        assert rows.size == 0 or rows[-1] - rows[0] + 1 == rows.size


# --- regions ---------------------------------------------------------------------------------


def test_regions_are_joined_over_corners_and_small_ones_are_dropped() -> None:
    flagged = cells("#.......", ".#......", "..#...##", "........", "#.......", "........")
    expected = cells("#.......", ".#......", "..#.....", "........", "........", "........")
    np.testing.assert_array_equal(large_regions(flagged, 3), expected)
    np.testing.assert_array_equal(large_regions(flagged, 1), flagged)
    assert not large_regions(flagged, 4).any()


@pytest.mark.parametrize("row, column", [(0, 0), (2, 3), (5, 7), (0, 4), (3, 7)])
def test_one_cell_wider_takes_the_eight_neighbours(row: int, column: int) -> None:
    flagged = np.zeros((6, 8), bool)
    flagged[row, column] = True
    expected = np.zeros((6, 8), bool)
    expected[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    np.testing.assert_array_equal(one_cell_wider(flagged), expected)
