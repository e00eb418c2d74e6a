"""What the light discrepancy network trains on: crops whose labels are wrong in places.

Each epoch draws other swaps, where the paper draws one per frame and keeps it on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from training.data.catalogue import TRAINING_SETS
from training.data.instances import SMALLEST_OBJECT, components, object_classes
from training.data.label_spaces import OUTLIER, VOID
from training.data.label_swap import SwapRule, swap_labels
from training.data.labelled_frames import LabelledFrames
from training.data.outliers import Cutouts, paste_outlier
from training.devices import one_thread
from training.methods.image_resynthesis.label_views import LabelViews, whole_frame


@dataclass(frozen=True)
class SwapSettings:
    """outliers: probability of 0, 1, 2, ... unknown objects pasted into a frame; their labels are
    what the segmentation takes them for. The paper pastes none. predicted: share of the frames
    whose labels are the segmentation's own, apart from what was swapped."""

    outliers: tuple[float, ...] = (1.0,)
    predicted: float = 0.0
    at_least_one: bool = True


@dataclass(frozen=True)
class SwapCrops(Dataset):
    """Item `i` of epoch `e` depends on (seed, e, i) alone; an epoch shows each frame once.

    Items: image uint8 [*crop, 3] RGB; label uint8 [*crop], 255 void, 254 a pasted object; swapped
    uint8 [*crop], the same with objects of a wrong class; predicted, a bool.
    """

    frames: LabelledFrames
    views: LabelViews
    swaps: SwapSettings
    cutouts: Cutouts | None
    seed: int
    epoch: int

    def __len__(self) -> int:
        return self.frames.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | bool]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.frames.count)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        image, label = whole_frame(self.frames, int(order[index]), self.views.size)
        names = self.frames.space.names
        objects = components(label, object_classes(names), smallest=SMALLEST_OBJECT)
        rule = SwapRule(len(names), at_least_one=self.swaps.at_least_one)
        swapped = swap_labels(label, objects, rng, rule).labels
        if self.cutouts is not None:
            image, label = image.copy(), label.copy()
            shares = self.swaps.outliers
            for _ in range(int(rng.choice(len(shares), p=shares))):
                paste_outlier(image, label, self.cutouts, rng)
            swapped = np.where(label == OUTLIER, OUTLIER, swapped)
        window = self.views.window(rng)
        cut = [values[window] for values in (image, label, swapped)]
        if rng.random() < self.views.flip:
            cut = [values[:, ::-1] for values in cut]
        image, label, swapped = (np.ascontiguousarray(values) for values in cut)
        return {
            "image": torch.from_numpy(image),
            "label": torch.from_numpy(label),
            "swapped": torch.from_numpy(swapped),
            "predicted": bool(rng.random() < self.swaps.predicted),
        }


def swap_loader(
    root: Path, views: LabelViews, swaps: SwapSettings, *, seed: int, epoch: int, split: str
) -> DataLoader:
    """One epoch of a split. Raises DatasetError for data that are missing."""
    cutouts = Cutouts.read(root / "cutouts", split) if len(swaps.outliers) > 1 else None
    return DataLoader(
        SwapCrops(TRAINING_SETS[views.data](root, split), views, swaps, cutouts, seed, epoch),
        batch_size=views.batch,
        num_workers=views.workers,
        drop_last=split == "train",
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=one_thread,
    )


def targets(label: torch.Tensor, swapped: torch.Tensor) -> torch.Tensor:
    """1 where labels were swapped or an object was pasted, 0 elsewhere, 255 void; uint8."""
    wrong = (label != swapped) | (label == OUTLIER)
    known = torch.where(label == VOID, VOID, 0).to(torch.uint8)
    return torch.where(wrong, 1, known).to(torch.uint8)
