"""The frames that went best and worst, drawn beside their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.imaging.overlay import draw_overlay
from anomaly_seg_ros.replay.drawing import outline_truth
from anomaly_seg_ros.replay.writers import png_bytes, write_atomically
from training.benchmark.predictions import PredictionStore, slug
from training.benchmark.results import FrameRow, Picture, Spread
from training.benchmark.scored_frames import DatasetRef

ROWS = 360  # of a picture
GAP = 6  # pixels of white between camera image and overlay


def draw_pictures(
    reference: DatasetRef,
    store: PredictionStore,
    rows: Sequence[FrameRow],
    spread: Spread | None,
    index_of: Mapping[str, int],
    out: Path,
    count: int,
) -> list[Picture]:
    """Camera image and overlay of the `count` frames of highest and of lowest AP: PNGs below `out`.

    Anomalies are outlined; heat spans the scores between the extremes. Frames without an anomaly or
    without a known pixel have no AP and are not ranked.
    """
    ranked = sorted((row for row in rows if row.ap is not None), key=lambda row: row.ap or 0.0)
    best, worst = ranked[::-1][:count], ranked[:count]
    made = []
    for kind, chosen in (("best", best), ("worst", [row for row in worst if row not in best])):
        for place, row in enumerate(chosen, start=1):
            file = f"pictures/{store.folder.parent.name}/{slug(reference.spec)}_{kind}_{place}.png"
            picture = _picture(reference, store, row.name, index_of[row.name], spread)
            write_atomically(out / file, png_bytes(picture))
            caption = f"AP {100 * (row.ap or 0):.1f}, FPR95 {100 * (row.fpr95 or 0):.1f}"
            made.append(Picture(kind, row.name, caption, file))
    return made


def _picture(
    reference: DatasetRef, store: PredictionStore, name: str, index: int, spread: Spread | None
) -> np.ndarray:
    """uint8 [ROWS, about 2 W, 3] RGB."""
    sample, score = reference.read(index), store.read(name).score
    width = round(sample.image.shape[1] * ROWS / sample.image.shape[0])
    image = cv2.resize(sample.image, (width, ROWS), interpolation=cv2.INTER_AREA)
    heat = cv2.resize(score, (width, ROWS), interpolation=cv2.INTER_AREA)
    label = cv2.resize(sample.anomaly, (width, ROWS), interpolation=cv2.INTER_NEAREST_EXACT)
    display = (spread.edges[0], spread.edges[-1]) if spread else (0.0, 1.0)
    overlay = draw_overlay(
        image, score=heat, palette=np.zeros((256, 3), np.uint8), display=display, legend=False
    )
    gap = np.full((ROWS, GAP, 3), 255, np.uint8)
    return np.concatenate((image, gap, outline_truth(overlay, label)), axis=1)
