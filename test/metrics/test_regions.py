"""False regions on small drawings and against a flood fill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import FalseRegions, FalseRegionScores

VALUES = {".": 0, "a": 1, "v": 255}


def count(mask: str, label: str, min_area: int) -> int:
    """mask: rows of '#' and '.'; label: rows of '.', 'a' (anomaly) and 'v' (void)."""
    regions = FalseRegions(min_area)
    regions.update(
        np.array([[255 * (c == "#") for c in row] for row in mask.split()], np.uint8),
        np.array([[VALUES[c] for c in row] for row in label.split()], np.uint8),
    )
    return regions.regions


KNOWN = "........ ........ ........"


def test_regions_of_the_least_area_count_and_smaller_ones_do_not() -> None:
    mask = "##....## ##....#. ........"
    assert [count(mask, KNOWN, area) for area in (1, 3, 4, 5)] == [2, 2, 1, 0]


def test_corners_connect() -> None:
    assert count("#....... .#...... ..#.....", KNOWN, 3) == 1


def test_a_region_on_an_anomaly_is_no_false_one() -> None:
    assert count("###..### ###..### ........", "..a..... ........ ........", 4) == 1


def test_void_pixels_neither_count_nor_excuse() -> None:
    mask = "####.... ####.... ........"
    assert count(mask, "vv...... vv...... ........", 4) == 1
    assert count(mask, "vv...... vv...... ........", 5) == 0
    assert count(mask, "vvvvvvvv vvvvvvvv ........", 1) == 0


def flood_count(mask: np.ndarray, label: np.ndarray, min_area: int) -> int:
    left = set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))
    found = 0
    while left:
        front, region = [left.pop()], []
        while front:
            y, x = front.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front.extend(near)
        values = [int(label[pixel]) for pixel in region]
        found += 1 not in values and values.count(0) >= min_area
    return found


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    seed=st.integers(0, 2**32 - 1),
    density=st.floats(0, 0.7),
    min_area=st.integers(1, 6),
)
def test_any_mask_is_counted_as_by_flood_fill(
    shape: tuple[int, int], seed: int, density: float, min_area: int
) -> None:
    random = np.random.default_rng(seed)
    mask = (random.random(shape) < density).astype(np.uint8) * np.uint8(255)
    label = random.choice(np.array([0, 0, 0, 0, 0, 0, 1, 255], np.uint8), shape)
    regions = FalseRegions(min_area)
    regions.update(mask, label)
    assert regions.regions == flood_count(mask, label, min_area)


def test_rates_are_per_frame_and_merge() -> None:
    one, two = FalseRegions(1), FalseRegions(1)
    label = np.zeros((3, 5), np.uint8)
    clean, twice = np.zeros((3, 5), np.uint8), np.zeros((3, 5), np.uint8)
    twice[0, 0] = twice[2, 4] = 255
    one.update(twice, label)
    two.update(clean, label)
    two.update(twice, label)
    two.update(clean, label)
    one.merge(two)
    assert one.compute() == FalseRegionScores(
        frames=4, regions=4, frames_with_regions=2, per_100_frames=100.0
    )


def test_what_cannot_be_counted_is_refused() -> None:
    zeros = np.zeros((2, 3), np.uint8)
    with pytest.raises(MetricError, match="at least one frame"):
        FalseRegions().compute()
    with pytest.raises(MetricError, match="at least 200 and 50 pixels"):
        FalseRegions().merge(FalseRegions(50))
    with pytest.raises(MetricError, match="min_area of 1 or more"):
        FalseRegions(0)
    with pytest.raises(MetricError, match=r"mask is bool \[2, 3\]"):
        FalseRegions().update(zeros.astype(bool), zeros)
    with pytest.raises(MetricError, match=r"label uint8 \[3, 2\]; expected uint8 \[H, W\] both"):
        FalseRegions().update(zeros, zeros.T.copy())
    with pytest.raises(MetricError, match=r"values \[7\]"):
        FalseRegions().update(zeros, zeros + np.uint8(7))
