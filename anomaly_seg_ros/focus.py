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
    top = surface[:, columns].argmax(axis=0)
    bottom = surface.shape[0] - 1 - surface[::-1, columns].argmax(axis=0)
    ends = np.concatenate([np.stack([columns, top], 1), np.stack([columns, bottom], 1)])
    hull = np.zeros(drivable.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(ends.astype(np.int32)), 1)
    return one_cell_wider(hull.view(bool))


def stands_on(flagged: np.ndarray, hull: np.ndarray) -> np.ndarray:
    """Flagged cells inside the hull or standing on it: bool [h, w], a part of `flagged`.

    flagged, hull: bool [h, w]. Column by column, a cell above the hull counts when it and every
    cell between it and the hull is flagged. Cells in columns without hull do not count.
    """
    up = slice(None, None, -1)  # rows from the bottom of the image to its top
    reached = np.logical_or.accumulate(hull[up], axis=0)  # at the hull or above it
    unbroken = np.logical_and.accumulate(flagged[up] | hull[up] | ~reached, axis=0)
    return flagged & (reached & unbroken)[up]


def large_regions(flagged: np.ndarray, smallest: int) -> np.ndarray:
    """The 8-connected regions of at least `smallest` cells: bool [h, w], a part of `flagged`."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(flagged.view(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= smallest
    large[0] = False  # the background
    return large[regions]


def one_cell_wider(flagged: np.ndarray) -> np.ndarray:
    """Flagged cells and the eight around each: bool [h, w]."""
    return cv2.dilate(flagged.view(np.uint8), NEIGHBOURS).view(bool)
