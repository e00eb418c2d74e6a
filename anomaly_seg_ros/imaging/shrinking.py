"""Maps at a fraction of the camera's size, for links that do not carry them whole."""

from __future__ import annotations

import cv2
import numpy as np


def shrink_map(values: np.ndarray, scale: float, *, any_of: bool = False) -> np.ndarray:
    """A map [H, W] at `scale` (0 < scale <= 1) of its size, each side at least 1; dtype kept.

    Each value is that of the pixel in the middle of what it stands for (class ids, scores). With
    any_of, for masks uint8 of 0 and 255: 255 where any pixel of it is, so that no small obstacle
    gets lost on the way.
    """
    rows, columns = (max(1, round(scale * side)) for side in values.shape)
    if (rows, columns) == values.shape:
        return values
    size = (columns, rows)
    if not any_of:
        return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT)
    covered = cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return (covered > 0).view(np.uint8) * np.uint8(255)
