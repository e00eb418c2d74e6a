"""What a discrepancy network trains and is measured on: crops and whole frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.data.discrepancy_frames import DiscrepancyFrames, DiscrepancySample
from training.data.label_spaces import VOID
from training.data.labelled_frames import DatasetError

PAPER_CROP = (384, 768)  # of 512x1024, Lis et al., ICCV 2019


@dataclass(frozen=True)
class DiscrepancyCrops(Dataset):
    """Random crops, mirrored with probability `flip`; an epoch shows each frame once.

    Item `i` of epoch `e` depends on (seed, e, i) alone. Items: image, synthesis uint8 [*crop, 3]
    RGB; labels uint8 [*crop] class ids, 255 void; target uint8 [*crop], 1 wrong, 0 right, 255 not
    to be learnt. crop: rows and columns, up to all of the frame. Raises DatasetError for more.
    """

    frames: DiscrepancyFrames
    crop: tuple[int, int]
    seed: int
    epoch: int
    flip: float = 0.5
    order: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = self.frames.settings.size
        if not all(1 <= side <= whole for side, whole in zip(self.crop, size, strict=True)):
            raise DatasetError(
                f"crops of {self.crop[0]}x{self.crop[1]} from frames of {size[0]}x{size[1]} in"
                f" {self.frames.folder}; expected at most the frame"
            )
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.frames))
        object.__setattr__(self, "order", order)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        rows, columns = self.crop
        height, width = self.frames.settings.size
        top = int(rng.integers(height - rows + 1))
        left = int(rng.integers(width - columns + 1))
        across = slice(left, left + columns)
        if rng.random() < self.flip:  # from the last column to the first, which may be column 0
            across = slice(left + columns - 1, left - 1 if left else None, -1)
        sample = self.frames.read(int(self.order[index]))
        return _item(sample, (slice(top, top + rows), across))


@dataclass(frozen=True)
class WholeDiscrepancies(Dataset):
    """Every n-th whole frame, in the order of the set; items as of DiscrepancyCrops."""

    frames: DiscrepancyFrames
    every: int = 1

    def __len__(self) -> int:
        return -(-len(self.frames) // self.every)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return _item(self.frames.read(index * self.every), (slice(None), slice(None)))


def _item(sample: DiscrepancySample, window: tuple[slice, slice]) -> dict[str, Tensor]:
    target = np.where(sample.region, sample.errors, VOID).astype(np.uint8)
    arrays = {
        "image": sample.image,
        "synthesis": sample.synthesis,
        "labels": sample.labels,
        "target": target,
    }
    return {
        name: torch.from_numpy(np.ascontiguousarray(values[window]))
        for name, values in arrays.items()
    }
