"""Local adversarial attacks (Besnier et al., ICCV 2021, section 3.2): one signed gradient step
inside a random region makes the segmentation fail there, which teaches the observer its errors."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

NOISE = 0.03  # standard deviation of the start noise, normalised units


def random_patches(
    count: int, size: tuple[int, int], rng: np.random.Generator, *, box_share: float = 0.4
) -> Tensor:
    """Masks float32 [count, 1, H, W] in {0, 1}: 6 to 10 shapes inside one random box an image.

    The box takes `box_share` of height and width; shapes measure 45 % to 65 % of its shorter side.
    """
    rows, columns = size
    box = (max(8, int(rows * box_share)), max(8, int(columns * box_share)))
    masks = np.zeros((count, rows, columns), np.uint8)
    for mask in masks:
        top = int(rng.integers(0, rows - box[0] + 1))
        left = int(rng.integers(0, columns - box[1] + 1))
        inside = np.zeros(box, np.uint8)
        for _ in range(int(rng.integers(6, 11))):
            extent = int(min(box) * rng.uniform(0.45, 0.65))
            y = int(rng.integers(0, box[0] - extent + 1))
            x = int(rng.integers(0, box[1] - extent + 1))
            _draw_shape(inside, y, x, extent, rng)
        mask[top : top + box[0], left : left + box[1]] = inside
    return torch.from_numpy(masks).float()[:, None]


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


def local_attack(
    image: Tensor,
    mask: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    epsilon: float,
    towards: bool = False,
    limit: float = 1.0,
) -> Tensor:
    """Image [N, 3, H, W] after one signed gradient step of `loss(image)` inside mask [N, 1, H, W].

    `towards` False climbs the loss (away from the truth, the paper's min attacks), True descends it
    (towards a wrong class, the max attacks). Values are clamped to -limit..limit.
    """
    start = (image + NOISE * torch.randn_like(image) * mask).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(start), start)
    step = epsilon * gradient.sign() * mask
    moved = start - step if towards else start + step
    return moved.detach().clamp(-limit, limit)
