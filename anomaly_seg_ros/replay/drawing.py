"""Overlays of a bundle's results: its own class colours, names and score range."""

from __future__ import annotations

import cv2
import numpy as np

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.bundle_parts import SYNTHESIS
from anomaly_seg_ros.detector import Detection
from anomaly_seg_ros.imaging.overlay import draw_overlay
from anomaly_seg_ros.imaging.panels import draw_panels

TRUTH_COLOR = (0, 230, 255)  # outlines of labelled anomalies, RGB


class Painter:
    """Draws detections of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self.palette, self.names = bundle.palette(), bundle.class_names()
        self.display = bundle.score_display

    def overlay(self, image: np.ndarray, found: Detection) -> np.ndarray:
        """image uint8 [H, W, 3] RGB with classes, heat and mask laid over it, of the same shape."""
        return draw_overlay(
            image,
            labels=found.labels,
            score=found.score,
            mask=found.mask,
            palette=self.palette,
            display=self.display,
            class_names=self.names,
        )

    def panels(self, image: np.ndarray, found: Detection) -> np.ndarray:
        """image uint8 [H, W, 3] RGB beside classes, synthesis (where it was made) and score.

        labels and score of `found` must have been wanted.
        """
        assert found.labels is not None and found.score is not None
        return draw_panels(
            image,
            labels=found.labels,
            score=found.score,
            synthesis=found.extras.get(SYNTHESIS),
            palette=self.palette,
            display=self.display,
        )


def outline_truth(overlay: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The overlay uint8 [H, W, 3] with the anomalies of a label [H, W] (1 = anomaly) outlined."""
    anomaly = (label == 1).astype(np.uint8)
    contours, _ = cv2.findContours(anomaly, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(overlay.shape[0] / 360))
    return cv2.drawContours(overlay.copy(), contours, -1, TRUTH_COLOR, width)
