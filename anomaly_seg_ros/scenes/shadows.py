"""Soft shadows on the ground, drawn at half size and multiplied onto the picture."""

from __future__ import annotations

import cv2
import numpy as np

from anomaly_seg_ros.scenes.camera import Camera, clipped
from anomaly_seg_ros.scenes.canvas import SHIFT, Canvas
from anomaly_seg_ros.scenes.looks import Shadows

CONTACT = 70  # 0..255: how bright the ground is under a thing
NEAREST = 1.2  # m: shadows are cut there


def _outlines(camera: Camera, shapes: list[np.ndarray]) -> list[np.ndarray]:
    """The shapes that can be seen, in fixed-point pixels of the half-size picture."""
    counts = np.array([len(shape) for shape in shapes])
    points = np.zeros((counts.sum(), 3))
    points[:, ::2] = np.concatenate(shapes)
    seen = camera.seen(points)
    ends = np.cumsum(counts)
    starts = ends - counts
    nearest = np.minimum.reduceat(seen[:, 2], starts)
    pixels = camera.project(np.maximum(seen, [-np.inf, -np.inf, 1e-3])) / 2 - 0.25
    low, high = np.minimum.reduceat(pixels, starts), np.maximum.reduceat(pixels, starts)
    wide, tall = camera.lens.width / 2, camera.lens.height / 2
    hidden = (high < 0).any(1) | (low[:, 0] > wide) | (low[:, 1] > tall)
    hidden |= (high - low).max(axis=1) < 0.4
    fixed = np.round(np.clip(pixels, -30000, 30000) * (1 << SHIFT)).astype(np.int32)
    result = []
    for k in range(len(shapes)):
        if nearest[k] >= NEAREST:
            if not hidden[k]:
                result.append(fixed[starts[k] : ends[k]])
            continue
        cut = clipped(seen[starts[k] : ends[k]], NEAREST)
        if cut is not None:
            outline = camera.project(cut) / 2 - 0.25
            result.append(np.round(np.clip(outline, -20000, 20000) * (1 << SHIFT)).astype(np.int32))
    return result


def cast(canvas: Canvas, shadows: Shadows) -> None:
    """Darken the ground; afterwards `canvas.lit` knows about the shadows."""
    height, width = canvas.labels.shape
    first = max(0, canvas.camera.horizon()[0])
    if first >= height:
        return
    light = canvas.light
    shade: np.ndarray = np.full(((height + 1) // 2, (width + 1) // 2), 255, np.uint8)
    sunlit = round(255 * (1 - light.strength))
    for contact in (False, True):
        if not contact and light.strength < 0.05:
            continue
        shapes = [shape for shape, dark in shadows if dark is contact]
        value = CONTACT if contact else sunlit
        for outline in _outlines(canvas.camera, shapes) if shapes else ():
            cv2.fillPoly(shade, [outline], value, cv2.LINE_AA, SHIFT)
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
