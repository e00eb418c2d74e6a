"""Narrow an anomaly mask at the network's own grid: to the road, and to regions of some size."""

from __future__ import annotations

import cv2
import numpy as np

# Drivable pieces smaller than this part of the grid are doubts of the labels, not a surface.
SMALLEST_SURFACE = 1 / 200
NEIGHBOURS = np.ones((3, 3), np.uint8)  # a cell and the eight around it


def road_hull(drivable: np.ndarray) -> np.ndarray | None:
    """The filled convex hull of the drivable surface, one cell wider: bool [h, w].

    drivable: bool [h, w], cells whose label is a drivable class. The hull spans what hides the
    road: an object standing on it is inside as far as road shows left and right of it. Pieces of
    the surface (8-connected) below SMALLEST_SURFACE of the grid are left out. None when no
    surface is left.
    """
    surface = large_regions(drivable, max(1, round(SMALLEST_SURFACE * drivable.size)))
    columns = np.flatnonzero(surface.any(axis=0))
    if columns.size == 0:
        return None
    top, bottom = _spans(surface)
    ends = np.empty((2, columns.size, 2), np.int32)  # upper and lower end of each column: x, y
    ends[:, :, 0] = columns
    ends[:, :, 1] = top[columns], bottom[columns]
    hull = np.zeros(drivable.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(ends.reshape(-1, 2)), 1)
    return one_cell_wider(hull.view(bool))


def stands_on(flagged: np.ndarray, hull: np.ndarray) -> np.ndarray:
    """Flagged cells inside the hull or standing on it: bool [h, w], a part of `flagged`.

    flagged, hull: bool [h, w]. Column by column, a cell above the hull counts when it and every
    cell between it and the hull is flagged. Cells in columns without hull do not count.
    """
    top, bottom = _spans(hull)  # convex: what lies between them is hull
    rows = np.arange(hull.shape[0], dtype=np.int16)
    columns = np.ascontiguousarray(flagged.T)  # [w, h]: a column is searched along memory
    gaps = ~columns & (rows < top[:, None])  # above the hull and not flagged
    lowest_gap = _last(gaps)
    columns &= (rows > lowest_gap[:, None]) & (rows <= bottom[:, None])
    return np.ascontiguousarray(columns.T)


def large_regions(flagged: np.ndarray, smallest: int) -> np.ndarray:
    """The 8-connected regions of at least `smallest` cells: bool [h, w], a part of `flagged`."""
    count, regions = cv2.connectedComponents(flagged.view(np.uint8), connectivity=8)
    large = np.bincount(regions.ravel(), minlength=count) >= smallest  # faster than ...WithStats
    large[0] = False  # the background
    return large[regions]


def one_cell_wider(flagged: np.ndarray) -> np.ndarray:
    """Flagged cells and the eight around each: bool [h, w]."""
    return cv2.dilate(flagged.view(np.uint8), NEIGHBOURS).view(bool)


def _spans(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row of each column's cells, int16 [w]; h and -1 for an empty column."""
    columns = np.ascontiguousarray(cells.T)
    top, bottom = columns.argmax(axis=1).astype(np.int16), _last(columns)
    top[bottom < 0] = cells.shape[0]
    return top, bottom


def _last(lines: np.ndarray) -> np.ndarray:
    """Index of the last True of each line of bool [n, length], int16 [n]; -1 for none."""
    last = (lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)).astype(np.int16)
    last[~lines.any(axis=1)] = -1
    return last
