"""Discrepancies for people: labels in colours, and a sheet of frames side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.classes import CITYSCAPES as CITYSCAPES_CLASSES
from anomaly_seg_ros.imaging import draw_overlay
from training.data.conversion import resized_image
from training.data.label_spaces import LabelSpace

COLUMNS = ("camera image", "labels", "swapped labels", "synthesis", "errors")
CELL_ROWS = 160
CAPTION_ROWS = 26
PAPER, INK = (255, 255, 255), (30, 30, 30)


def palette_of(space: LabelSpace) -> np.ndarray:
    """Colours uint8 [256, 3] RGB by label id: those of Cityscapes, void black.

    A class of several train ids takes the colour of the first; one of none takes a hue by its id.
    """
    hues = np.stack([np.arange(256) * 47 % 180, np.full(256, 200), np.full(256, 220)], axis=1)
    palette = cv2.cvtColor(hues.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    for index, members in enumerate(space.groups):
        if members:
            palette[index] = CITYSCAPES_CLASSES[members[0]][2]
    palette[len(space.names) :] = 0
    return palette


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One frame: image, synthesis and labels before and after in colours, uint8 [H, W, 3] RGB;
    errors bool [H, W]."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    swapped: np.ndarray
    synthesis: np.ndarray
    errors: np.ndarray


def contact_sheet(rows: Sequence[SheetRow]) -> np.ndarray:
    """Rows of frames below the captions of their columns, uint8 [H, W, 3] RGB."""
    bands = [_band(row) for row in rows]
    width = max(band.shape[1] for band in bands)
    head = np.full((CAPTION_ROWS, width, 3), PAPER, np.uint8)
    for index, caption in enumerate(COLUMNS):
        _write(head, caption, index * width // len(COLUMNS))
    padded = [np.pad(band, ((0, 0), (0, width - band.shape[1]), (0, 0))) for band in bands]
    return np.vstack((head, *padded))


def _band(row: SheetRow) -> np.ndarray:
    """One frame's pictures, and its name below."""
    width = round(row.image.shape[1] * CELL_ROWS / row.image.shape[0])
    size = (width, CELL_ROWS)
    image = resized_image(row.image, size)
    mask = cv2.resize(row.errors.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    overlay = draw_overlay(
        image,
        mask=np.where(mask > 127, np.uint8(255), np.uint8(0)),
        palette=np.zeros((256, 3), np.uint8),
        display=(0.0, 1.0),
        legend=False,
    )
    others = [resized_image(one, size) for one in (row.labels, row.swapped, row.synthesis)]
    band = np.hstack((image, *others, overlay))
    foot = np.full((CAPTION_ROWS, band.shape[1], 3), PAPER, np.uint8)
    share = 100 * float(row.errors.mean())
    _write(foot, f"{row.name}: {share:.1f} % of the pixels are errors", 0)
    return np.vstack((band, foot))


def _write(strip: np.ndarray, text: str, left: int) -> None:
    origin = (left + 6, CAPTION_ROWS - 9)
    cv2.putText(strip, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
