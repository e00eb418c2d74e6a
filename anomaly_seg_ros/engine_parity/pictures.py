"""One frame of a comparison as a picture: both scores, their difference, the flipped labels."""

from __future__ import annotations

import cv2
import numpy as np

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.bundle_parts import IMAGE
from anomaly_seg_ros.engine_parity.compare import Tensors
from anomaly_seg_ros.engine_parity.errors import Gates
from anomaly_seg_ros.imaging.panels import captioned, heat_map, tiled

DIMMED = 0.35  # brightness of pixels whose labels agree
SMALLEST_RANGE = 1e-6  # of a heat map: a gate of 0 still needs two ends
MIN_WIDTH = 320  # of a panel, so that its caption can be read


def draw_parity(
    bundle: Bundle, gates: Gates, expected: Tensors, found: Tensors, names: tuple[str, str]
) -> np.ndarray:
    """Six panels, uint8 [H, W, 3] RGB: image and scores above, classes, flips, difference below.

    expected, found: image, labels and score of the reference and of the test, with the batch
    dimension 1. names: what the two are called. The difference is brightest from the gate on.
    """
    image = expected[IMAGE][0]
    size = (image.shape[1], image.shape[0])

    def enlarged(grid: np.ndarray) -> np.ndarray:
        return cv2.resize(grid, size, interpolation=cv2.INTER_NEAREST)

    palette, display = bundle.palette(), bundle.score_display
    labels = [enlarged(tensors["labels"][0]) for tensors in (expected, found)]
    scores = [enlarged(tensors["score"][0]) for tensors in (expected, found)]
    flipped = labels[0] != labels[1]
    flips = (palette[labels[0]] * DIMMED).astype(np.uint8)
    flips[flipped] = palette[labels[1]][flipped]
    difference = np.abs(scores[1].astype(np.float64) - scores[0]).astype(np.float32)
    limit = max(gates.max_score_error, SMALLEST_RANGE)
    low, high = display
    panels = [
        ("image", image),
        (f"score, {names[0]}, {low:.3g} to {high:.3g}", heat_map(scores[0], display)),
        (f"score, {names[1]}, {low:.3g} to {high:.3g}", heat_map(scores[1], display)),
        (f"classes, {names[0]}", palette[labels[0]]),
        (f"flipped labels, {names[1]}: {flipped.mean():.3%}", flips),
        (f"score difference, 0 to {limit:.3g}", heat_map(difference, (0.0, limit))),
    ]
    return tiled([captioned(_at_least(MIN_WIDTH, picture), text) for text, picture in panels], 3)


def _at_least(width: int, picture: np.ndarray) -> np.ndarray:
    if picture.shape[1] >= width:
        return picture
    size = (width, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
