"""Fixed frames for measuring: whole views, and frames with pasted unknown objects."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from training.data.label_spaces import OUTLIER
from training.data.labelled_frames import LabelledFrames
from training.data.outliers import Cutouts, paste_outlier


class SegmentationFrames(Dataset):
    """Whole frames: image uint8 [*size, 3], label uint8 at the frame's true shape."""

    def __init__(self, frames: LabelledFrames, *, size: tuple[int, int], every: int = 1) -> None:
        self.frames, self.size, self.every = frames, size, every

    def __len__(self) -> int:
        return -(-self.frames.count // self.every)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image, label = self.frames.read(index * self.every)
        true_size = (round(label.shape[1] * self.frames.stretch), label.shape[0])
        label = cv2.resize(label, true_size, interpolation=cv2.INTER_NEAREST)
        shrinks = image.shape[0] > self.size[0]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        view = cv2.resize(image, self.size[::-1], interpolation=interpolation)
        return {"image": torch.from_numpy(view), "label": torch.from_numpy(label)}


def frame_with_unknowns(
    frames: LabelledFrames, index: int, cutouts: Cutouts, *, seed: int = 7
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, anomaly label (0 known, 1 anomaly, 255 void) and class label with pasted objects.

    One to three objects with their own textures; the same for every caller with the same seed.
    """
    rng = np.random.default_rng((seed, index))
    image, label = frames.read(index)
    clean = label.copy()
    image = image.copy()
    for _ in range(int(rng.integers(1, 4))):
        paste_outlier(image, label, cutouts, rng, stretch=frames.stretch, texture_share=0.0)
    anomaly = np.where(label == OUTLIER, 1, np.where(label == 255, 255, 0)).astype(np.uint8)
    return image, anomaly, np.where(anomaly == 0, clean, 255).astype(np.uint8)
