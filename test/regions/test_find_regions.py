"""Regions of a mask: by hand, and against a version that floods pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.regions import Region, find_regions, smallest_area


def drawn(*lines: str) -> np.ndarray:
    """uint8 [H, W], 255 at '#'."""
    return np.array([[255 * (mark == "#") for mark in line] for line in lines], np.uint8)


def flooded(mask: np.ndarray, score: np.ndarray, labels: np.ndarray) -> list[Region]:
    """The same by definition, slowly."""
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    found = []
    while left:
        pixels, front = set(), [left.pop()]
        while front:
            r, c = front.pop()
            pixels.add((r, c))
            near = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            front += near
        rows, columns = zip(*sorted(pixels), strict=True)
        lowest = [c for r, c in pixels if r == max(rows)]
        scores = [float(score[p]) for p in pixels]
        ids = [int(labels[p]) for p in pixels]
        found.append(
            Region(
                left=min(columns),
                top=min(rows),
                width=max(columns) - min(columns) + 1,
                height=max(rows) - min(rows) + 1,
                area=len(pixels),
                foot=((min(lowest) + max(lowest)) / 2, max(rows)),
                mean_score=round(math.fsum(scores) / len(scores), 9),
                max_score=max(scores),
                class_id=min(set(ids), key=lambda k: (-ids.count(k), k)),
            )
        )
    return found


@settings(deadline=None, max_examples=60)
@given(data=st.data(), height=st.integers(1, 14), width=st.integers(1, 14))
def test_regions_are_those_of_flooding(data: st.DataObject, height: int, width: int) -> None:
    shape = (height, width)
    mask = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 255])))
    score = data.draw(arrays(np.float32, shape, elements=st.floats(-4, 4, width=32)))
    labels = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 3, 255])))
    regions = find_regions(mask, score, labels, most=1000)
    rounded = [Region(**{**vars(r), "mean_score": round(r.mean_score, 9)}) for r in regions]
    assert sorted(rounded, key=repr) == sorted(flooded(mask, score, labels), key=repr)
    areas = [region.area for region in regions]
    assert areas == sorted(areas, reverse=True)


def test_diagonal_neighbours_belong_together() -> None:
    (region,) = find_regions(drawn("#....", ".#...", "..##."))
    assert (region.left, region.top, region.width, region.height) == (0, 0, 4, 3)
    assert (region.area, region.foot, region.centre) == (4, (2.5, 2.0), (1.5, 1.0))


def test_without_scores_and_labels_they_are_unknown() -> None:
    (region,) = find_regions(drawn(".#."))
    assert math.isnan(region.mean_score) and math.isnan(region.max_score)
    assert region.class_id is None


def test_small_regions_are_left_out_and_the_largest_come_first() -> None:
    mask = drawn("#..##..###", "..........", "###.......")
    assert [r.area for r in find_regions(mask, min_area=2)] == [3, 3, 2]
    assert [r.top for r in find_regions(mask, min_area=2)] == [0, 2, 0]
    assert [r.left for r in find_regions(mask, most=2)] == [7, 0]


def test_an_empty_mask_has_no_regions() -> None:
    assert find_regions(np.zeros((4, 5), np.uint8)) == ()


def test_noise_gives_no_more_regions_than_can_be_used() -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[::2, ::2] = 255
    assert len(find_regions(mask)) == 64


def test_maps_of_another_size_are_an_error_with_both_sizes() -> None:
    with pytest.raises(DetectorError, match=r"score is \[4, 4\] but the mask \[4, 5\]"):
        find_regions(np.zeros((4, 5), np.uint8), np.zeros((4, 4), np.float32))
    with pytest.raises(DetectorError, match="expected uint8"):
        find_regions(np.zeros((4, 5), bool))


@pytest.mark.parametrize(
    ("size", "pixels"), [(0, 1), (0.0005, 154), (0.999, 306893), (1, 1), (12.5, 13), (200, 200)]
)
def test_a_size_is_a_share_below_one_and_pixels_from_one_on(size: float, pixels: int) -> None:
    assert smallest_area(size, (480, 640)) == pixels
