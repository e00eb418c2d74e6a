"""Trees, bushes and the foliage of hedges."""

from __future__ import annotations

import math

import cv2
import numpy as np

from anomaly_seg_ros.scenes.canvas import Sprite, Surface
from anomaly_seg_ros.scenes.sculpt import Sculpture
from anomaly_seg_ros.scenes.texture import Colour, clouds, paint, rng_for, scaled, vary

VEGETATION = 8
Random = np.random.Generator


def _leaves(
    rng: Random,
    made: Sculpture,
    lobes: list[tuple[float, float, float, float]],
    colour: Colour,
    leaf: float,
    airy: float,
) -> None:
    """Fill lobes (x, y, half width, half height) with leaves, lit from the sun's side.

    leaf: size of a clump in pixels. airy: 0..1, how ragged the rim is and how many holes there are.
    """
    height, width = made.shape
    ys, xs = np.mgrid[:height:2, :width:2].astype(np.float32)
    xs, ys = xs / width, (height - ys) / width
    depth = np.full(xs.shape, -9.0, np.float32)
    tone = np.ones(xs.shape, np.float32)
    for x, y, wide, high in lobes:
        right, up = (xs - x) / wide, (ys - y) / high
        inside = 1 - right * right - up * up
        facing = 0.8 + 0.24 * (right * made.sun[0] + up * made.sun[1]) + rng.normal(0, 0.07)
        nearer = inside > depth + rng.uniform(-0.3, 0.1)
        depth = np.maximum(depth, inside)
        tone = np.where(nearer, facing, tone)
    depth = cv2.resize(depth, (width, height))
    tone = cv2.resize(cv2.blur(tone, (5, 5)), (width, height))
    clumps = _speckle(rng, made.shape, leaf)
    twigs = _speckle(rng, made.shape, leaf * 2.6)
    edge = np.minimum(depth, 0.6) + airy * (0.42 * clumps + 0.34 * twigs) - 0.06
    cover = np.clip(edge * 9 + 0.5, 0, 1)
    shade = tone * (
        1 + 0.2 * clumps + 0.14 * twigs + 0.2 * np.clip(_speckle(rng, made.shape, 1), 0, 2)
    )
    shade *= np.clip(0.75 + 0.5 * depth, 0.7, 1.0)
    hue = 0.07 * twigs[..., None] * np.array([1, 0.2, -0.6], np.float32)
    colours = np.asarray(colour, np.float32) * np.clip(shade, 0.25, 1.7)[..., None] * (1 + hue)
    mask = (cover * 255).astype(np.uint8)
    made.put(mask, np.clip(colours, 0, 255), 0.0, VEGETATION)


def _speckle(rng: Random, shape: tuple[int, int], size: float) -> np.ndarray:
    """Noise of blotches about `size` pixels wide, standard deviation 1."""
    small = (max(2, round(shape[0] / size)), max(2, round(shape[1] / size)))
    grid = rng.standard_normal(small, dtype=np.float32)
    return cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * 1.25


def _branch(
    rng: Random,
    made: Sculpture,
    wood: np.ndarray,
    start: tuple[float, float],
    angle: float,
    length: float,
    wide: float,
    depth: int,
) -> list[tuple[float, float]]:
    """Add a bough and its twigs to the mask `wood`; returns where the twigs end."""
    end = (start[0] + length * math.cos(angle), start[1] + length * math.sin(angle))
    made.limb([start, end], [wide, wide * 0.7], wood)
    if depth == 0:
        return [end]
    ends = []
    for sign in (-1, 1):
        turned = angle + sign * rng.uniform(0.2, 0.55)
        reach = length * rng.uniform(0.6, 0.85)
        ends += _branch(rng, made, wood, end, turned, reach, wide * 0.62, depth - 1)
    return ends


def draw_tree(
    seed: int, number: int, leaves: Colour, season: str, sun: tuple[float, float]
) -> Sprite:
    """The number-th tree of a seed: broad, tall, conifer, young, or bare in winter."""
    rng = rng_for(seed, 12, number)
    bark = vary(rng, (96, 80, 66) if rng.random() < 0.75 else (150, 144, 134), 0.2)
    kind = str(rng.choice(["broad", "tall", "conifer", "young"], p=[0.45, 0.25, 0.13, 0.17]))
    colour = vary(rng, leaves, 0.18)
    if kind == "conifer":
        made = Sculpture(220, rng.uniform(1.7, 2.3), sun)
        tall = made.shape[0] / made.size
        made.put(made.limb([(0.5, 0), (0.5, tall * 0.5)], [0.06, 0.04]), bark, 0.02, VEGETATION)
        lobes = []
        for share in np.linspace(0.1, 0.98, 13):
            reach = 0.46 * (1 - share) ** 0.8 + 0.02
            lobes.append((0.5, tall * float(share), reach, 0.1 * tall * (1.1 - float(share))))
        _leaves(rng, made, lobes, vary(rng, (52, 76, 52), 0.15), 3.0, 0.4)
        return made.sprite(rng.uniform(3.0, 5.0), VEGETATION)
    tall = {"broad": rng.uniform(1.05, 1.4), "tall": rng.uniform(1.7, 2.3)}.get(kind, 1.6)
    made = Sculpture(288 if kind == "broad" else 208, tall, sun)
    tall = made.shape[0] / made.size
    stem = tall * rng.uniform(0.22, 0.42)
    lean = rng.normal(0, 0.02)
    thick = rng.uniform(0.035, 0.075) * (0.6 if kind == "young" else 1)
    fork = (0.5 + lean, stem)
    wood = made.limb([(0.5, 0), fork], [thick * 1.3, thick])
    bare = season == "winter" and rng.random() < 0.75
    ends = []
    for angle in (0.95, 1.6, 2.2):
        turned = angle + rng.normal(0, 0.12)
        length = (tall - stem) * (0.33 if bare else 0.26)
        ends += _branch(rng, made, wood, fork, turned, length, thick * 0.7, 2 if bare else 1)
    metres = {"broad": rng.uniform(5, 9), "tall": rng.uniform(3.5, 6)}.get(kind, 3.0)
    if bare:
        for end in ends:
            for _ in range(3):
                _branch(rng, made, wood, end, rng.uniform(0.3, 2.8), 0.09, 0.009, 2)
        made.put(wood, bark, 0.02, VEGETATION)
        return made.sprite(metres, VEGETATION)
    made.put(wood, bark, 0.02, VEGETATION)
    lobes = []
    middle = stem + (tall - stem) * 0.5
    for _ in range(int(rng.integers(7, 14))):
        angle, radius = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.62)
        x = 0.5 + 0.45 * radius * math.cos(angle)
        y = middle + (tall - stem) * 0.5 * radius * math.sin(angle)
        reach = min(rng.uniform(0.12, 0.26), x - 0.02, 0.98 - x)
        lobes.append((x, y, reach, min(reach * rng.uniform(0.8, 1.2), tall - y - 0.02)))
    lobes.sort(key=lambda lobe: -lobe[1])
    _leaves(rng, made, lobes, colour, rng.uniform(2.5, 4.5), rng.uniform(0.25, 0.75))
    return made.sprite(metres, VEGETATION)


def draw_bush(seed: int, number: int, leaves: Colour, sun: tuple[float, float]) -> Sprite:
    """The number-th bush of a seed."""
    rng = rng_for(seed, 13, number)
    made = Sculpture(180, rng.uniform(0.5, 1.0), sun)
    tall = made.shape[0] / made.size
    lobes = []
    for _ in range(int(rng.integers(4, 9))):
        x, reach = rng.uniform(0.2, 0.8), rng.uniform(0.12, 0.22)
        y = rng.uniform(0.08, max(0.1, tall - reach))
        lobes.append((x, y, min(reach, x, 1 - x), min(reach, tall - y)))
    lobes.append((0.5, tall * 0.25, 0.45, tall * 0.25))
    _leaves(rng, made, lobes, vary(rng, leaves, 0.2), rng.uniform(3, 5), 0.4)
    return made.sprite(rng.uniform(0.9, 3.2), VEGETATION)


def draw_hedge(seed: int, number: int, leaves: Colour) -> Surface:
    """Foliage of a trimmed hedge, for 4 x 2 metres."""
    rng = rng_for(seed, 14, number)
    shape = (80, 160)
    leafy = clouds(rng, shape, 30, 3) * 0.3 + clouds(rng, shape, 6, 3) * 0.12
    leafy += rng.normal(0, 0.1, shape).astype(np.float32)
    up = np.linspace(1.1, 0.75, shape[0], dtype=np.float32)[:, None] - 1
    return Surface(paint(leafy + up, vary(rng, scaled(leaves, 0.9), 0.15)), VEGETATION)
