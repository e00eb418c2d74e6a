"""A small Cityscapes in the 256x256 layout: bands of classes under noise, with cars on the road."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = (32, 32)
FRAMES = {"train": 6, "val": 4}
COLOURS = np.random.default_rng(1).integers(0, 256, (20, 3))
ROAD, BUILDING, SKY, CAR, VOID = 0, 2, 10, 13, 255


def street_tree(root: Path) -> Path:
    """ROOT/cityscapes256 with train and val; returns the root."""
    rng = np.random.default_rng(0)
    for split, count in FRAMES.items():
        for part in (split, f"{split}annot"):
            (root / "cityscapes256" / part).mkdir(parents=True)
        for number in range(count):
            label = np.full(SIZE, ROAD, np.uint8)
            label[:8], label[8:18] = SKY, BUILDING
            for left in (2, 12, 22):
                label[18:26, left + number % 3 : left + number % 3 + 7] = CAR
            label[28:, :4] = VOID
            image = COLOURS[np.minimum(label, 19)] + rng.normal(0, 8, (*SIZE, 3))
            folder = root / "cityscapes256"
            cv2.imwrite(str(folder / split / f"{number}.png"), image.clip(0, 255).astype(np.uint8))
            cv2.imwrite(str(folder / f"{split}annot" / f"{number}.png"), label)
    return root
