"""What the road autoencoder trains on: patches of frames whose pixels are all road."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.data.catalogue import TRAINING_SETS
from training.data.labelled_frames import DatasetError, LabelledFrames
from training.devices import one_thread
from training.methods.image_resynthesis.label_views import whole_frame
from training.networks.road_autoencoder import PATCH, STRIDE


@dataclass(frozen=True)
class RoadViews:
    """Frames of `data`, a name of `catalogue.TRAINING_SETS`, at `size` (rows, columns).

    road: name of the class. frames: whose patches make one step.
    """

    data: str = "cityscapes"
    size: tuple[int, int] = (512, 1024)
    road: str = "road"
    frames: int = 50
    workers: int = 2

    def __post_init__(self) -> None:
        if self.data not in TRAINING_SETS:
            raise DatasetError(
                f"unknown dataset {self.data!r}; expected one of {', '.join(TRAINING_SETS)}"
            )
        if min(self.size) < PATCH or self.frames < 1:
            raise DatasetError(
                f"views of {self.size[0]}x{self.size[1]}, {self.frames} in a step; expected "
                f"{PATCH} pixels and one frame or more"
            )


@dataclass(frozen=True)
class RoadFrames(Dataset):
    """Items: the road patches of a frame, uint8 [n, 3, 8, 8] RGB, in an order of (seed, epoch)."""

    frames: LabelledFrames
    views: RoadViews
    seed: int
    epoch: int
    order: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.frames.count)
        object.__setattr__(self, "order", order)

    def __len__(self) -> int:
        return self.frames.count

    def __getitem__(self, index: int) -> Tensor:
        image, label = whole_frame(self.frames, int(self.order[index]), self.views.size)
        road = label == self.frames.space.names.index(self.views.road)
        return torch.from_numpy(road_patches(image, road))


def road_patches(image: np.ndarray, road: np.ndarray) -> np.ndarray:
    """Patches of the autoencoder's grid that lie on `road`: uint8 [n, 3, 8, 8].

    image: uint8 [H, W, 3]. road: bool [H, W].
    """
    grid = (slice(None, None, STRIDE), slice(None, None, STRIDE))
    inside = sliding_window_view(road, (PATCH, PATCH))[grid].all(axis=(2, 3))
    return sliding_window_view(image, (PATCH, PATCH), axis=(0, 1))[grid][inside]


def road_loader(root: Path, views: RoadViews, *, seed: int, epoch: int, split: str) -> DataLoader:
    """One epoch; batches uint8 [n, 3, 8, 8] of `views.frames` frames together.

    Raises DatasetError for data that are missing, too few, or without such a class.
    """
    frames = TRAINING_SETS[views.data](root, split)
    if views.road not in frames.space.names:
        raise DatasetError(
            f"{views.data} has no class {views.road!r}; expected one of "
            f"{', '.join(frames.space.names)}"
        )
    trains = split == "train"
    if trains and frames.count < views.frames:
        raise DatasetError(
            f"{views.data}/{split} has {frames.count} frames, fewer than the {views.frames} of one "
            "step: expected fewer in a step"
        )
    return DataLoader(
        RoadFrames(frames, views, seed, epoch),
        batch_size=views.frames,
        num_workers=views.workers,
        drop_last=trains,
        collate_fn=torch.cat,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=one_thread,
    )
