"""What the paper's networks train on: the datasets' recipes, views of their frames, and loaders."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.data import label_spaces
from training.data.catalogue import TRAINING_SETS
from training.data.label_spaces import VOID, LabelSpace
from training.data.labelled_frames import DatasetError, LabelledFrames
from training.devices import one_thread
from training.methods.obsnet.attack_regions import RegionSizes, draw_regions
from training.methods.obsnet.attacks import Attack
from training.methods.obsnet.published import (
    BDD_ANOMALY,
    CAMVID,
    CITYSCAPES_TRAIN,
    STREET_HAZARDS,
    Trained,
)


@dataclass(frozen=True)
class PaperData:
    """How the release treats a dataset, named as in `catalogue.TRAINING_SETS`.

    space: of its labels; outputs beyond them learn nothing, unless one is void_class, trained on
    void pixels. Without one those are left out, which the release means to do and does not.
    margins: largest share that a random crop cuts off each side, (columns, rows). error_weight: of
    the wrong pixels in the observer's loss.
    """

    trained: Trained
    space: LabelSpace
    sizes: RegionSizes
    margins: tuple[float, float]
    error_weight: float
    void_class: int | None

    @property
    def classes(self) -> int:
        """Outputs of the segmentation."""
        return len(self.trained.classes)


LARGE_SIZES = RegionSizes((360, 640), box=(300, 360), shapes=(160, 200))
LARGE_MARGINS = (80 / 1280, 150 / 720)
PAPER_DATA = {
    "camvid": PaperData(
        CAMVID,
        label_spaces.CAMVID,
        RegionSizes((360, 480), box=(128, 128), shapes=(60, 80)),
        margins=(50 / 480, 80 / 360),
        error_weight=2.0,
        void_class=11,
    ),
    "cityscapes": PaperData(
        CITYSCAPES_TRAIN,
        label_spaces.CITYSCAPES,
        RegionSizes((512, 1024), box=(128, 128), shapes=(60, 80)),
        margins=(150 / 2048, 250 / 1024),
        error_weight=3.0,
        void_class=None,
    ),
    "street_hazards": PaperData(
        STREET_HAZARDS,
        label_spaces.STREET_HAZARDS,
        LARGE_SIZES,
        LARGE_MARGINS,
        error_weight=3.0,
        void_class=None,
    ),
    "bdd_anomaly": PaperData(
        BDD_ANOMALY,
        label_spaces.BDD_ANOMALY,
        LARGE_SIZES,
        LARGE_MARGINS,
        error_weight=3.0,
        void_class=None,
    ),
}


@dataclass(frozen=True)
class Views:
    """What the networks see of the frames. batch: per device. margins: times the dataset's own.

    flip: probability; the release draws it and drops the result, which is 0. jitter: brightness,
    contrast and saturation are multiplied by 1 - jitter to 1 + jitter.
    """

    data: str = "camvid"
    size: tuple[int, int] = (360, 480)
    batch: int = 8
    flip: float = 0.5
    margins: float = 1.0
    jitter: float = 0.5
    workers: int = 2

    def __post_init__(self) -> None:
        if self.data not in PAPER_DATA:
            raise DatasetError(
                f"no recipe for the dataset {self.data!r}; expected one of {', '.join(PAPER_DATA)}"
            )
        if min(self.size) < 32 or self.batch < 1:
            raise DatasetError(
                f"views of {self.size[0]}x{self.size[1]} in batches of {self.batch}; expected 32 "
                "pixels and one image or more"
            )

    @property
    def recipe(self) -> PaperData:
        """The dataset's."""
        return PAPER_DATA[self.data]


@dataclass(frozen=True)
class Aim:
    """What is drawn for each image that an attack may take.

    all_classes: of wrong classes; the release never draws the last one.
    """

    attack: Attack
    all_classes: bool = True


@dataclass(frozen=True)
class TrainingViews(Dataset):
    """Item `i` of epoch `e` depends on (seed, e, i) alone; an epoch shows each frame once.

    Items: image uint8 [H, W, 3] RGB; label uint8 [H, W], 255 unlabelled; with an aim also region
    float32 [1 or 3, H, W] and wrong_class, an int. length: whole batches of all devices.
    """

    frames: LabelledFrames
    views: Views
    seed: int
    epoch: int
    length: int
    aim: Aim | None = None
    order: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.frames.count)
        object.__setattr__(self, "order", order)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        image, label = self.frames.read(int(self.order[index]))
        view, ids = random_view(image, label, self.views, rng)
        ids = trained_ids(ids, self.views.recipe)
        item: dict[str, Tensor | int] = {
            "image": torch.from_numpy(view),
            "label": torch.from_numpy(ids),
        }
        if self.aim is not None:
            recipe = self.views.recipe
            item["region"] = draw_regions(self.aim.attack.region, ids[None], rng, recipe.sizes)[0]
            item["wrong_class"] = int(rng.integers(recipe.classes - (not self.aim.all_classes)))
        return item


@dataclass(frozen=True)
class ValidationViews(Dataset):
    """Whole frames at the networks' size. Items as TrainingViews, in the frames' order."""

    frames: LabelledFrames
    views: Views

    def __len__(self) -> int:
        return self.frames.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, label = self.frames.read(index)
        whole = (0, 0, image.shape[1], image.shape[0])
        view = np.array(_resized(Image.fromarray(image), self.views.size, whole))
        ids = np.array(_resized(Image.fromarray(label), self.views.size, whole))
        return {
            "image": torch.from_numpy(view),
            "label": torch.from_numpy(trained_ids(ids, self.views.recipe)),
        }


def random_view(
    image: np.ndarray, label: np.ndarray, views: Views, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut random margins, resize, mirror, vary colours: uint8 [*size, 3] and uint8 [*size].

    Cut and resized in one step, where the release resizes twice.
    """
    rows, columns = label.shape
    cut_x, cut_y = (share * views.margins for share in views.recipe.margins)
    left, right = rng.integers(0, max(1, round(cut_x * columns)), 2)
    top, bottom = rng.integers(0, max(1, round(cut_y * rows)), 2)
    box = (int(left), int(top), columns - int(right), rows - int(bottom))
    view = _resized(Image.fromarray(image), views.size, box)
    ids = np.array(_resized(Image.fromarray(label), views.size, box))
    mirrored = rng.random() < views.flip
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = enhancer(view).enhance(float(rng.uniform(1 - views.jitter, 1 + views.jitter)))
    pixels = np.array(view)
    if mirrored:
        pixels, ids = pixels[:, ::-1].copy(), ids[:, ::-1].copy()
    return pixels, ids


def _resized(
    picture: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]
) -> Image.Image:
    """As the release resizes: antialiased bilinear for images, nearest for labels."""
    labels = picture.mode == "L"
    kind = Image.Resampling.NEAREST if labels else Image.Resampling.BILINEAR
    return picture.resize(size[::-1], kind, box=box)


def trained_ids(label: np.ndarray, recipe: PaperData) -> np.ndarray:
    """Labels uint8 [H, W] with void as the class that is trained on it, if there is one."""
    if recipe.void_class is None:
        return label
    return np.where(label == VOID, np.uint8(recipe.void_class), label)


def training_loader(
    root: Path, views: Views, *, seed: int, epoch: int, devices: int, aim: Aim | None = None
) -> DataLoader:
    """One epoch on all devices. Raises DatasetError for data that are missing or too few."""
    frames = TRAINING_SETS[views.data](root, "train")
    together = views.batch * devices
    length = frames.count // together * together
    if not length:
        raise DatasetError(
            f"{views.data}/train has {frames.count} frames, fewer than the {together} of one step: "
            "expected a smaller batch"
        )
    items = TrainingViews(frames, views, seed, epoch, length, aim)
    return _loader(items, views, drop_last=True)


def validation_loader(root: Path, views: Views) -> DataLoader:
    """Every frame of `val`. Raises DatasetError for data that are missing."""
    frames = TRAINING_SETS[views.data](root, "val")
    return _loader(ValidationViews(frames, views), views, drop_last=False)


def _loader(items: Dataset, views: Views, *, drop_last: bool) -> DataLoader:
    return DataLoader(
        items,
        batch_size=views.batch,
        num_workers=views.workers,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=one_thread,
    )
