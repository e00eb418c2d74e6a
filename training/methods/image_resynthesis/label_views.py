"""What the generator trains on: crops of labelled frames, and whole frames to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from training.data.catalogue import TRAINING_SETS
from training.data.labelled_frames import DatasetError, LabelledFrames
from training.devices import one_thread


@dataclass(frozen=True)
class LabelViews:
    """Frames of `data`, a name of `catalogue.TRAINING_SETS`, resized to `size` (rows, columns),
    then cropped at random to `crop` and mirrored half the time."""

    data: str = "cityscapes"
    size: tuple[int, int] = (512, 1024)
    crop: tuple[int, int] = (384, 384)
    batch: int = 4
    flip: float = 0.5
    workers: int = 2

    def __post_init__(self) -> None:
        if self.data not in TRAINING_SETS:
            raise DatasetError(
                f"unknown dataset {self.data!r}; expected one of {', '.join(TRAINING_SETS)}"
            )
        if any(cut > side or cut % 16 for cut, side in zip(self.crop, self.size, strict=True)):
            raise DatasetError(
                f"crops of {self.crop[0]}x{self.crop[1]} from frames of "
                f"{self.size[0]}x{self.size[1]}; expected multiples of 16 that fit in"
            )

    def window(self, rng: np.random.Generator) -> tuple[slice, slice]:
        """Rows and columns of a random crop."""
        top, left = (
            int(rng.integers(side - cut + 1))
            for side, cut in zip(self.size, self.crop, strict=True)
        )
        return slice(top, top + self.crop[0]), slice(left, left + self.crop[1])


@dataclass(frozen=True)
class TrainingCrops(Dataset):
    """Item `i` of epoch `e` depends on (seed, e, i) alone; an epoch shows each frame once.

    Items: image uint8 [*crop, 3] RGB; label uint8 [*crop], 255 void.
    """

    frames: LabelledFrames
    views: LabelViews
    seed: int
    epoch: int

    def __len__(self) -> int:
        return self.frames.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.frames.count)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        image, label = whole_frame(self.frames, int(order[index]), self.views.size)
        window = self.views.window(rng)
        image, label = image[window], label[window]
        if rng.random() < self.views.flip:
            image, label = image[:, ::-1], label[:, ::-1]
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image)),
            "label": torch.from_numpy(np.ascontiguousarray(label)),
        }


def whole_frame(
    frames: LabelledFrames, index: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 [*size, 3] and label uint8 [*size] of a frame."""
    image, label = frames.read(index)
    shrinks = image.shape[0] > size[0] or image.shape[1] > size[1]
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return (
        cv2.resize(image, size[::-1], interpolation=kind),
        cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT),
    )


def crop_loader(root: Path, views: LabelViews, *, seed: int, epoch: int) -> DataLoader:
    """One epoch of `train`. Raises DatasetError for data that are missing or too few."""
    frames = TRAINING_SETS[views.data](root, "train")
    if frames.count < views.batch:
        raise DatasetError(
            f"{views.data}/train has {frames.count} frames, fewer than the {views.batch} of one "
            "step: expected a smaller batch"
        )
    return DataLoader(
        TrainingCrops(frames, views, seed, epoch),
        batch_size=views.batch,
        num_workers=views.workers,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=one_thread,
    )
