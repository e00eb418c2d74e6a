"""One endless, reproducible stream of training crops drawn from several datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from training.data.augmentation import random_view, vary_camera, vary_class_colours
from training.data.catalogue import MIXTURE_SETS
from training.data.label_spaces import CITYSCAPES, SPACES, VOID
from training.data.labelled_frames import DatasetError, LabelledFrames
from training.data.outliers import Cutouts, paste_outlier

RARE_CLASSES = (3, 4, 6, 7, 12, 14, 15, 16, 17, 18)
TWO_WHEELERS = (12, 17, 18)  # riders and what they ride move together


@dataclass(frozen=True)
class MixtureSettings:
    """What a crop is made of; `weights` names datasets of `catalogue.MIXTURE_SETS`."""

    weights: Mapping[str, float]
    crop: tuple[int, int] = (288, 480)
    heights: tuple[float, float] = (256.0, 640.0)
    outliers: tuple[float, ...] = (1.0,)  # probability of 0, 1, 2, ... pasted objects
    rare_share: float = 0.3  # Cityscapes frames that receive rare classes of another frame
    colour_share: float = 0.35  # frames whose classes change colour one by one

    def __post_init__(self) -> None:
        if strange := sorted(set(self.weights) - set(MIXTURE_SETS)):
            raise DatasetError(
                f"no training mixture of {', '.join(strange)}; expected weights of"
                f" {', '.join(MIXTURE_SETS)}"
            )


class Mixture(Dataset):
    """Crop `i` of epoch `e` depends on (seed, e, i) alone.

    Items: image uint8 [H, W, 3] RGB; target uint8 [H / 2, W / 2] in the ids of its label space, 253
    normal without a class, 254 outlier, 255 void; space: index into `label_spaces.SPACES`.
    """

    def __init__(
        self, root: Path, settings: MixtureSettings, *, length: int, seed: int, epoch: int
    ) -> None:
        self.settings, self.length, self.seed, self.epoch = settings, length, seed, epoch
        self.sets = [MIXTURE_SETS[name](root, "train") for name in settings.weights]
        weights = np.array(list(settings.weights.values()), float)
        self.shares = weights / weights.sum()
        with_outliers = len(settings.outliers) > 1
        self.cutouts = Cutouts.read(root / "cutouts", "train") if with_outliers else None
        self.rare = rare_frames(root) if "cityscapes256" in settings.weights else {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | int]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        frames = self.sets[int(rng.choice(len(self.sets), p=self.shares))]
        image, label = frames.read(int(rng.integers(frames.count)))
        image, label = _at_most(image, label, float(rng.uniform(384, 768)))
        if frames.name == "cityscapes256" and rng.random() < self.settings.rare_share:
            self._add_rare_class(frames, image, label, rng)
        if rng.random() < self.settings.colour_share:
            image = vary_class_colours(image, label, rng)
        if self.cutouts is not None:
            outliers = self.settings.outliers
            for _ in range(int(rng.choice(len(outliers), p=outliers))):
                donor = None
                if rng.random() < 0.2:
                    other = self.sets[int(rng.choice(len(self.sets), p=self.shares))]
                    donor = other.read(int(rng.integers(other.count)))[0]
                paste_outlier(image, label, self.cutouts, rng, stretch=frames.stretch, donor=donor)
        view, target = random_view(
            image, label, self.settings.crop, self.settings.heights, rng, stretch=frames.stretch
        )
        view = vary_camera(view, rng)
        return {
            "image": torch.from_numpy(view),
            "target": torch.from_numpy(target),
            "space": SPACES.index(frames.space),
        }

    def _add_rare_class(
        self,
        frames: LabelledFrames,
        image: np.ndarray,
        label: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Copy one rare class of another frame of the same camera to the same place."""
        wanted = int(rng.choice(list(self.rare)))
        donor_image, donor_label = frames.read(int(rng.choice(self.rare[wanted])))
        classes = TWO_WHEELERS if wanted in TWO_WHEELERS else (wanted,)
        chosen = np.isin(donor_label, classes)
        rim = cv2.dilate(chosen.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        image[rim] = donor_image[rim]
        label[rim] = VOID
        label[chosen] = donor_label[chosen]


def _at_most(image: np.ndarray, label: np.ndarray, rows: float) -> tuple[np.ndarray, np.ndarray]:
    """Reduce frames of more than 512 rows: pasted objects are to be about as sharp."""
    if label.shape[0] <= 512:
        return image, label
    size = (round(label.shape[1] * rows / label.shape[0]), round(rows))
    return (
        cv2.resize(image, size, interpolation=cv2.INTER_AREA),
        cv2.resize(label, size, interpolation=cv2.INTER_NEAREST),
    )


def rare_frames(root: Path, minimum: int = 40) -> dict[int, np.ndarray]:
    """Indices of Cityscapes frames that show at least `minimum` pixels of each rare class."""
    cache = _RARE_CACHE.get(root)
    if cache is not None:
        return cache
    frames = MIXTURE_SETS["cityscapes256"](root, "train")
    counts = np.zeros((frames.count, len(CITYSCAPES.groups)), np.int64)
    for index in range(frames.count):
        histogram = np.bincount(frames.read(index)[1].ravel(), minlength=256)
        counts[index] = histogram[: counts.shape[1]]
    found = {c: np.flatnonzero(counts[:, c] >= minimum) for c in RARE_CLASSES}
    _RARE_CACHE[root] = {c: indices for c, indices in found.items() if indices.size}
    return _RARE_CACHE[root]


_RARE_CACHE: dict[Path, dict[int, np.ndarray]] = {}
