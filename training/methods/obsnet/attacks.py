"""Local adversarial attacks (Besnier et al., ICCV 2021, section 3.2): one signed gradient step
inside a random region makes the segmentation fail there, which teaches the observer its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.methods.obsnet.attack_regions import REGIONS, Region

NOISE = 0.03  # standard deviation of the start noise, normalised units


@dataclass(frozen=True)
class Attack:
    """Where it acts and where it goes: away from the truth (min), or towards one wrong class drawn
    for each image (max). spares_errors: pixels that are wrong already stay as they are."""

    region: Region
    towards: bool
    spares_errors: bool = False


ATTACKS: dict[str, Attack] = {
    "min_all_image": Attack(REGIONS["all_image"], towards=False),
    "max_all_image": Attack(REGIONS["all_image"], towards=True),
    "min_pixels_sparse": Attack(REGIONS["pixels_sparse"], towards=False),
    "max_pixels_sparse": Attack(REGIONS["pixels_sparse"], towards=True),
    "min_class": Attack(REGIONS["class"], towards=False, spares_errors=True),
    "max_class": Attack(REGIONS["class"], towards=True),
    "min_square_patch": Attack(REGIONS["square_patch"], towards=False),
    "max_square_patch": Attack(REGIONS["square_patch"], towards=True),
    "min_random_patch": Attack(REGIONS["random_patch"], towards=False),
    "max_random_patch": Attack(REGIONS["random_patch"], towards=True),
    "fractal": Attack(REGIONS["fractal"], towards=True),
}


# Attacked image [N, 3, H, W] -> loss, and bool [N, H, W] where the segmentation errs already.
Answer = Callable[[Tensor], tuple[Tensor, Tensor]]


def attack(
    kind: Attack, image: Tensor, region: Tensor, answer: Answer, *, epsilon: float, limit: float
) -> Tensor:
    """Normalised image [N, 3, H, W] after the attack, detached, clamped to -limit..limit.

    region: [N, 1 or 3, H, W] in {0, 1}. answer: its loss is climbed, or descended by the attacks
    that go towards a class. epsilon: in normalised units. One pass and its gradient: what an attack
    spares is judged on the noisy image.
    """
    wrong: list[Tensor] = []

    def loss(moved: Tensor) -> Tensor:
        value, errors = answer(moved)
        wrong.append(errors)
        return value

    moved = local_attack(image, region, loss, epsilon=epsilon, towards=kind.towards, limit=limit)
    if not kind.spares_errors:
        return moved
    return torch.where(wrong[-1][:, None], image.clamp(-limit, limit), moved)


def local_attack(
    image: Tensor,
    mask: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    epsilon: float,
    towards: bool = False,
    limit: float = 1.0,
) -> Tensor:
    """Image [N, 3, H, W] after one signed gradient step of `loss(image)` inside mask
    [N, 1 or 3, H, W].

    `towards` False climbs the loss (away from the truth, the paper's min attacks), True descends it
    (towards a wrong class, the max attacks). Values are clamped to -limit..limit.
    """
    start = (image + NOISE * torch.randn_like(image) * mask).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(start), start)
    step = epsilon * gradient.sign() * mask
    moved = start - step if towards else start + step
    return moved.detach().clamp(-limit, limit)
