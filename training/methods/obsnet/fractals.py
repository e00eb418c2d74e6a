"""Fractal masks: attractors of random iterated function systems.

The released code takes images of FractalDB-60 (Kataoka et al., ACCV 2020), which are not part of
this project; the same kind of shape is drawn here by the chaos game. The maps are contractions,
drawn by their singular values as in Anderson and Farrell (WACV 2022), so that every system has an
attractor.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

COUNT = 96  # attractors in the bank
SIDE = 128  # pixels of each
MAPS = (2, 5)  # fewest and most maps of a system
WALKERS, STEPS, BURN_IN = 2048, 60, 12
FILLED = (0.15, 0.7)  # share of the picture that an attractor covers; others are drawn again
SEED = 60


@lru_cache(maxsize=1)
def fractal_bank() -> np.ndarray:
    """bool [96, 128, 128]: the same attractors in every process."""
    rng = np.random.default_rng(SEED)
    bank: list[np.ndarray] = []
    while len(bank) < COUNT:
        picture = attractor(rng)
        if FILLED[0] <= picture.mean() <= FILLED[1]:
            bank.append(picture)
    return np.stack(bank)


def attractor(rng: np.random.Generator) -> np.ndarray:
    """One random system's attractor, stretched to the picture: bool [128, 128]."""
    count = int(rng.integers(MAPS[0], MAPS[1] + 1))
    turns = rotations(rng.uniform(0, 2 * np.pi, (2, count)))
    values = rng.uniform(0.3, 0.85, (count, 2)) * rng.choice((-1, 1), (count, 2))
    matrices = turns[0] @ (values[:, :, None] * turns[1])  # [maps, 2, 2]
    shifts = rng.uniform(-1, 1, (count, 2))
    areas = np.abs(values.prod(axis=1))
    chosen = rng.choice(count, (STEPS, WALKERS), p=areas / areas.sum())
    points = rng.uniform(-1, 1, (WALKERS, 2))
    seen = np.empty((STEPS, WALKERS, 2))
    for step, maps in enumerate(chosen):
        points = np.einsum("nij,nj->ni", matrices[maps], points) + shifts[maps]
        seen[step] = points
    cells = seen[BURN_IN:].reshape(-1, 2)
    low, high = cells.min(axis=0), cells.max(axis=0)
    rows, columns = ((cells - low) / (high - low) * (SIDE - 1)).astype(int).T
    picture = np.zeros((SIDE, SIDE), bool)
    picture[rows, columns] = True
    return picture


def rotations(angles: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 2, 2] of angles [...] in radians."""
    sine, cosine = np.sin(angles), np.cos(angles)
    return np.stack((np.stack((cosine, -sine), -1), np.stack((sine, cosine), -1)), -2)


def fractal_mask(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """bool [*size]: an attractor of the bank, resized, rotated by any angle, mirrored or not."""
    rows, columns = size
    bank = fractal_bank()
    picture = bank[int(rng.integers(len(bank)))].astype(np.uint8)
    picture = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_NEAREST)
    middle = ((columns - 1) / 2, (rows - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, float(rng.uniform(-180, 180)), 1.0)
    picture = cv2.warpAffine(picture, turn, (columns, rows), flags=cv2.INTER_NEAREST)
    return (picture[:, ::-1] if rng.random() < 0.5 else picture) > 0
