"""A small CamVid in the SegNet layout: bands of classes under noise, with a void corner."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = (60, 80)
FRAMES = {"train": 5, "val": 3, "test": 2}
COLOURS = np.random.default_rng(1).integers(0, 256, (12, 3))


def camvid_tree(root: Path) -> Path:
    """ROOT/camvid with train, val and test; returns the root."""
    rng = np.random.default_rng(0)
    for split, count in FRAMES.items():
        for part in (split, f"{split}annot"):
            (root / "camvid" / part).mkdir(parents=True)
        for number in range(count):
            bands = np.arange(SIZE[1]) // 7 + number
            label = np.broadcast_to(bands % 11, SIZE).astype(np.uint8).copy()
            label[:10, :12] = 11
            image = COLOURS[label] + rng.normal(0, 20, (*SIZE, 3))
            name = f"{number:04d}.png"
            cv2.imwrite(str(root / "camvid" / split / name), image.clip(0, 255).astype(np.uint8))
            cv2.imwrite(str(root / "camvid" / f"{split}annot" / name), label)
    return root
