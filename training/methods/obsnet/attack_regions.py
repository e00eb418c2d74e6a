"""Where a local adversarial attack acts: a region drawn for each training image.

V. Besnier, A. Bursuc, D. Picard, A. Briot: Triggering Failures (ICCV 2021), section 3.2, in the
forms of the released code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from training.data.label_spaces import OUTLIER
from training.methods.obsnet.fractals import fractal_mask

SPARSE_SHARE = 0.05  # of the values of an image, each channel for itself
SHAPES = (6, 10)  # fewest and most shapes in a box
FRACTAL_TOP = 50 / 360  # first row of a fractal's box, as a share of the image's


@dataclass(frozen=True)
class RegionSizes:
    """Pixels at images of `image` (H, W): the box (rows, columns) that patches lie in, and the
    smallest and largest extent of a shape in it."""

    image: tuple[int, int]
    box: tuple[int, int]
    shapes: tuple[int, int]

    def at(self, image: tuple[int, int]) -> RegionSizes:
        """The same shares of images of another size; each at least a pixel, no box beyond it."""
        scale = [now / meant for now, meant in zip(image, self.image, strict=True)]
        rows, columns = (
            min(side, max(1, round(extent * factor)))
            for extent, factor, side in zip(self.box, scale, image, strict=True)
        )
        low, high = (
            min(rows, columns, max(1, round(extent * min(scale)))) for extent in self.shapes
        )
        return RegionSizes(image, (rows, columns), (low, high))


# Shares that fit any camera: a box of two fifths of each side, shapes of about half the box.
USUAL_SIZES = RegionSizes((100, 100), (40, 40), (18, 26))

# Label uint8 [H, W], sizes at that size, generator -> bool [1 or 3, H, W]
Region = Callable[[np.ndarray, RegionSizes, np.random.Generator], np.ndarray]


def all_image(label: np.ndarray, sizes: RegionSizes, rng: np.random.Generator) -> np.ndarray:
    """Every pixel."""
    return np.ones((1, *label.shape), bool)


def pixels_sparse(label: np.ndarray, sizes: RegionSizes, rng: np.random.Generator) -> np.ndarray:
    """Single values, independently for each pixel and channel: bool [3, H, W]."""
    return rng.random((3, *label.shape), np.float32) < SPARSE_SHARE


def one_class(label: np.ndarray, sizes: RegionSizes, rng: np.random.Generator) -> np.ndarray:
    """The pixels of one class in the label, all equally likely; void and outliers are none."""
    present = np.unique(label[label < OUTLIER])
    if not present.size:
        return np.zeros((1, *label.shape), bool)
    return (label == rng.choice(present))[None]


def square_patch(label: np.ndarray, sizes: RegionSizes, rng: np.random.Generator) -> np.ndarray:
    """A whole box."""
    return _boxed(np.ones(sizes.box, bool), label.shape, 0, rng)


def random_patch(label: np.ndarray, sizes: RegionSizes, rng: np.random.Generator) -> np.ndarray:
    """6 to 10 shapes in a box: rectangles, discs, triangles and ellipses that may overlap."""
    inside = np.zeros(sizes.box, np.uint8)
    low, high = sizes.shapes
    _draw_shapes(inside, (low, high + 1), rng)
    return _boxed(inside > 0, label.shape, 0, rng)


def fractal(label: np.ndarray, sizes: RegionSizes, rng: np.random.Generator) -> np.ndarray:
    """A fractal in a box that keeps off the image's upper rim."""
    top = round(FRACTAL_TOP * label.shape[0])
    return _boxed(fractal_mask(sizes.box, rng), label.shape, top, rng)


REGIONS: dict[str, Region] = {
    "all_image": all_image,
    "pixels_sparse": pixels_sparse,
    "class": one_class,
    "square_patch": square_patch,
    "random_patch": random_patch,
    "fractal": fractal,
}


def _boxed(
    inside: np.ndarray, size: tuple[int, ...], top: int, rng: np.random.Generator
) -> np.ndarray:
    """bool [1, *size] with `inside` somewhere in it, not above row `top` if that leaves room."""
    mask = np.zeros((1, *size), bool)
    rows, columns = inside.shape
    lowest = size[0] - rows
    y = int(rng.integers(min(top, lowest), lowest + 1))
    x = int(rng.integers(0, size[1] - columns + 1))
    mask[0, y : y + rows, x : x + columns] = inside
    return mask


def draw_regions(
    region: Region, labels: np.ndarray, rng: np.random.Generator, sizes: RegionSizes = USUAL_SIZES
) -> Tensor:
    """One region per image: float32 [N, 1 or 3, H, W] in {0, 1} for labels uint8 [N, H, W]."""
    scaled = sizes.at((labels.shape[1], labels.shape[2]))
    return torch.from_numpy(np.stack([region(label, scaled, rng) for label in labels])).float()


def _draw_shapes(mask: np.ndarray, extents: tuple[float, float], rng: np.random.Generator) -> None:
    """Draw 6 to 10 shapes of 1 into mask uint8 [h, w], each from `extents` in size."""
    rows, columns = mask.shape
    for _ in range(int(rng.integers(SHAPES[0], SHAPES[1] + 1))):
        extent = min(rows, columns, int(rng.uniform(*extents)))
        y = int(rng.integers(0, rows - extent + 1))
        x = int(rng.integers(0, columns - extent + 1))
        _draw_shape(mask, y, x, extent, rng)


def _draw_shape(mask: np.ndarray, y: int, x: int, extent: int, rng: np.random.Generator) -> None:
    half = extent // 2
    centre = (x + half, y + half)
    kind = int(rng.integers(4))
    if kind == 0:
        far = (x + extent, y + max(2, int(extent * rng.uniform(0.4, 1))))
        cv2.rectangle(mask, (x, y), far, 1, -1)
    elif kind == 1:
        cv2.circle(mask, centre, half, 1, -1)
    elif kind == 2:
        corners = np.array([[x, y + extent], [x + extent, y + extent], [x + half, y]])
        cv2.fillPoly(mask, [corners], 1)
    else:
        axes = (half, max(1, int(half * rng.uniform(0.3, 0.9))))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
