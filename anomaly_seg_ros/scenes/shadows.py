"""Soft shadows on the ground, drawn at half size and multiplied onto the picture."""

from __future__ import annotations

import cv2
import numpy as np

from anomaly_seg_ros.scenes.camera import Camera, clipped
from anomaly_seg_ros.scenes.canvas import SHIFT, Canvas
from anomaly_seg_ros.scenes.looks import Shadows

CONTACT = 70  # 0..255: how bright the ground is under a thing
NEAREST = 1.2  # m: shadows are cut there


def _outline(camera: Camera, shape: np.ndarray) -> np.ndarray | None:
    points = np.column_stack([shape[:, 0], np.zeros(len(shape)), shape[:, 1]])
    seen = clipped(camera.seen(points), NEAREST)
    if seen is None:
        return None
    pixels = camera.project(seen) / 2 - 0.25
    return pixels if np.abs(pixels).max() < 20000 else None


def cast(canvas: Canvas, shadows: Shadows) -> None:
    """Darken the ground; afterwards `canvas.lit` knows about the shadows."""
    height, width = canvas.labels.shape
    first = max(0, canvas.camera.horizon()[0])
    if first >= height:
        return
    light = canvas.light
    shade = np.full(((height + 1) // 2, (width + 1) // 2), 255, np.uint8)
    sunlit = round(255 * (1 - light.strength))
    for contact in (False, True):
        if not contact and light.strength < 0.05:
            continue
        for shape, dark in shadows:
            if dark is not contact:
                continue
            outline = _outline(canvas.camera, shape)
            if outline is None:
                continue
            fixed = np.round(outline * (1 << SHIFT)).astype(np.int32)
            cv2.fillPoly(shade, [fixed], CONTACT if contact else sunlit, cv2.LINE_AA, SHIFT)
        if not contact:
            shade = cv2.blur(shade, (5, 3))
    shade = cv2.blur(shade, (5, 3))
    canvas.shade = shade
    levels = np.arange(256.0)[:, None] / 255
    dark_colour = np.asarray(light.shadow)
    table = ((dark_colour + (1 - dark_colour) * levels) * 255 + 0.5).astype(np.uint8)[None]
    full = cv2.resize(shade, (width, height), interpolation=cv2.INTER_LINEAR)[first:]
    factor = cv2.LUT(cv2.cvtColor(full, cv2.COLOR_GRAY2BGR), table)
    ground = canvas.image[first:]
    cv2.multiply(ground, factor, dst=ground, scale=1 / 255)
