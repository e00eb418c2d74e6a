"""Objects that none of the known classes holds: odd shapes, odd surfaces, things and animals."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from anomaly_seg_ros.scenes.canvas import ANOMALY, Sprite
from anomaly_seg_ros.scenes.sculpt import Sculpture
from anomaly_seg_ros.scenes.texture import Colour, clouds, pick, rng_for, scaled, to_bytes, vary

Random = np.random.Generator
EARTHS: list[Colour] = [
    (150, 116, 80), (96, 72, 52), (196, 168, 128), (128, 124, 118), (62, 56, 52), (214, 208, 198),
    (168, 88, 60), (120, 130, 122), (82, 86, 94), (226, 222, 216), (140, 100, 58),
]  # fmt: skip


def _colour(rng: Random) -> Colour:
    """Any colour: vivid, pale or dark; every second time one of earth, wood, stone or fur."""
    if rng.random() < 0.45:
        return vary(rng, pick(rng, EARTHS), 0.3)
    hue, saturation, value = rng.uniform(0, 180), rng.beta(1.5, 1.5), rng.uniform(0.15, 0.98)
    pixel = np.array([[[hue, 255 * saturation, 255 * value]]]).astype(np.uint8)
    red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]
    return float(red), float(green), float(blue)


def _blend(share: np.ndarray, first: Colour, second: Colour) -> np.ndarray:
    low, high = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return low + (high - low) * np.clip(share, 0, 1)[..., None].astype(np.float32)


def surface(rng: Random, shape: tuple[int, int]) -> np.ndarray:
    """A random surface, uint8 [h, w, 3]."""
    height, width = shape
    first, second = _colour(rng), _colour(rng)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    turn = rng.uniform(0, math.pi)
    along = xs * math.cos(turn) + ys * math.sin(turn)
    across = ys * math.cos(turn) - xs * math.sin(turn)
    step = rng.uniform(0.03, 0.16) * width
    kind = int(rng.integers(9))
    bumps = clouds(rng, shape, rng.uniform(3, 8), 5)
    if kind == 0:  # plain, a little worn
        share = 0.15 * bumps
    elif kind == 1:  # stripes
        share = np.clip(np.sin(along * math.pi / step) * step / 2 + 0.5, 0, 1)
    elif kind == 2:  # checker
        wave = np.sin(along * math.pi / step) * np.sin(across * math.pi / step)
        share = np.clip(wave * step / 2 + 0.5, 0, 1)
    elif kind == 3:  # marble
        share = 0.5 + 0.5 * np.sin(along * 2 / step + 6 * bumps)
    elif kind == 4:  # patches
        share = np.clip(bumps * 6 + 0.5, 0, 1)
    elif kind == 5:  # dots
        spot = np.hypot((along % step) - step / 2, (across % step) - step / 2)
        share = np.clip((step * 0.3 - spot) / 1.5 + 0.5, 0, 1)
    elif kind == 6:  # fur
        strands = rng.standard_normal(shape, dtype=np.float32)
        kernel = np.zeros((15, 15), np.float32)
        end = (round(7 + 7 * math.cos(turn)), round(7 + 7 * math.sin(turn)))
        cv2.line(kernel, (14 - end[0], 14 - end[1]), end, 1.0)
        share = 0.5 + 0.9 * cv2.filter2D(strands, -1, kernel / kernel.sum()) + 0.3 * bumps
        second = scaled(first, rng.uniform(0.3, 0.7))
    elif kind == 7:  # plaid
        share = 0.4 * (np.sin(along * math.pi / step) > 0.3) + 0.4 * (
            np.sin(across * math.pi / step) > 0.3
        )
    else:  # coarse noise
        share = 0.5 + 0.6 * bumps + 0.2 * rng.standard_normal(shape, dtype=np.float32)
    return to_bytes(_blend(np.asarray(share), first, second) * (1 + 0.06 * bumps[..., None]))


def _radial(rng: Random, sculpture: Sculpture, x: float, y: float, size: float) -> np.ndarray:
    """Mask of a wobbly blob."""
    angle = np.linspace(0, 2 * math.pi, 90, endpoint=False)
    radius = np.ones(90)
    for wave in range(2, 7):
        radius += rng.normal(0, 0.28 / wave) * np.cos(wave * angle + rng.uniform(0, 6.3))
    radius = size * np.clip(radius, 0.35, 1.7) / 1.35
    ring = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
    ring[:, 1] = np.maximum(ring[:, 1], 0)
    return sculpture.polygon(ring)


def blob(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A wobbly lump, sometimes with smaller ones on it."""
    made = Sculpture(176, rng.uniform(0.6, 1.4), sun)
    tall = made.shape[0] / made.size
    texture = surface(rng, made.shape)
    made.put(_radial(rng, made, 0.5, tall * 0.45, min(0.5, tall / 2)), texture, 0.25)
    for _ in range(int(rng.integers(0, 4))):
        where = rng.uniform(0.2, 0.8), tall * rng.uniform(0.2, 0.8)
        made.put(_radial(rng, made, *where, rng.uniform(0.08, 0.2)), surface(rng, made.shape), 0.1)
    return made


def rock(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A polyhedron with flat facets."""
    made = Sculpture(176, rng.uniform(0.55, 1.3), sun)
    tall = made.shape[0] / made.size
    count = int(rng.integers(5, 10))
    angle = np.sort(rng.uniform(0, 2 * math.pi, count))
    ring = np.stack([0.5 + 0.49 * np.cos(angle), tall * (0.5 + 0.5 * np.sin(angle))], axis=1)
    ring[np.argmin(ring[:, 1])] = (rng.uniform(0.3, 0.7), 0)
    middle = (rng.uniform(0.35, 0.65), tall * rng.uniform(0.35, 0.7))
    texture = surface(rng, made.shape)
    made.put(made.polygon(ring), texture, 0, tone=np.full(made.shape, 0.8, np.float32))
    for k in range(count):
        facet = made.polygon([ring[k], ring[(k + 1) % count], middle])
        made.put(facet, texture, 0, tone=np.full(made.shape, rng.uniform(0.5, 1.25), np.float32))
    return made


def box(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A crate seen over a corner, with battens or a label."""
    made = Sculpture(176, rng.uniform(0.5, 1.3), sun)
    tall = made.shape[0] / made.size
    edge, lift, lid = rng.uniform(0.2, 0.7), rng.uniform(0.02, 0.07), rng.uniform(0.03, 0.1)
    top = tall - lid
    left = [(0, lift), (edge, 0), (edge, top - lid), (0, top)]
    right = [(edge, 0), (1, lift), (1, top), (edge, top - lid)]
    roof = [(0, top), (edge, top - lid), (1, top), (1 - edge, tall)]
    texture = surface(rng, made.shape)
    for face, tone in ((left, 0.75), (right, 1.05), (roof, 1.2)):
        made.put(made.polygon(face), texture, 0, tone=np.full(made.shape, tone, np.float32))
    if rng.random() < 0.6:
        colour = _colour(rng)
        for height in rng.uniform(0.1, 0.85, int(rng.integers(1, 4))):
            y = height * (top - lid)
            band = [(edge, y), (1, y + lift), (1, y + lift + 0.07), (edge, y + 0.07)]
            made.put(made.polygon(band), colour, 0)
    return made


def tyre(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """Tyres: one standing, or a stack."""
    dark = scaled((52, 52, 54), rng.uniform(0.6, 1.4))
    if rng.random() < 0.5:
        made = Sculpture(144, 1.0, sun)
        wide = rng.uniform(0.3, 0.49)
        outer = made.ellipse(0.5, 0.5, wide, 0.49)
        hole = made.ellipse(0.52, 0.5, wide * 0.55, 0.27)
        made.put(cv2.subtract(outer, hole), dark, 0.12)
        made.put(hole, scaled(_colour(rng), 0.7) if rng.random() < 0.5 else (38, 37, 36), 0.05)
        return made
    count = int(rng.integers(1, 5))
    made = Sculpture(150, 0.27 * count + 0.14, sun)
    for k in range(count):
        y = 0.27 * k
        body = made.limb([(0.14, y + 0.14), (0.86, y + 0.14)], [0.26, 0.26])
        made.put(body, scaled(dark, rng.uniform(0.8, 1.2)), 0.1)
    top = 0.27 * count
    made.put(made.ellipse(0.5, top, 0.42, 0.12), dark, 0.08)
    made.put(made.ellipse(0.5, top, 0.24, 0.065), (20, 20, 20), 0)
    return made


def ball(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A ball or balloon."""
    made = Sculpture(144, 1.0, sun)
    made.put(made.ellipse(0.5, 0.5, 0.49, 0.495), surface(rng, made.shape), 0.48)
    made.put(made.ellipse(0.5 + 0.15 * sun[0], 0.68, 0.06, 0.05), (250, 250, 246), 0.03)
    return made


def cone(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A road cone or a pyramid with bands."""
    made = Sculpture(120, rng.uniform(1.0, 1.9), sun)
    tall = made.shape[0] / made.size
    colour: Colour = (226, 92, 34) if rng.random() < 0.6 else _colour(rng)
    band: Colour = (232, 230, 224) if rng.random() < 0.7 else _colour(rng)
    made.put(made.polygon([(0, 0), (1, 0), (0.94, 0.1), (0.06, 0.1)]), scaled(colour, 0.75), 0.03)

    def half(height: float) -> float:
        return 0.36 - 0.28 * height / tall

    def ring(low: float, high: float) -> np.ndarray:
        return made.polygon(
            [(0.5 - half(low), low), (0.5 + half(low), low),
             (0.5 + half(high), high), (0.5 - half(high), high)]
        )  # fmt: skip

    made.put(ring(0.08, tall), colour, 0.25)
    for start in (0.35, 0.65):
        made.put(ring(start * tall, (start + 0.14) * tall), band, 0.25)
    return made


def barrel(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A drum, standing or lying."""
    made = Sculpture(140, rng.uniform(1.1, 1.6), sun)
    tall = made.shape[0] / made.size
    body = [(0.04, 0.08), (0.5, 0.0), (0.96, 0.08), (0.96, tall - 0.1), (0.04, tall - 0.1)]
    colour = _colour(rng)
    texture = surface(rng, made.shape) if rng.random() < 0.4 else colour
    made.put(made.polygon(body), texture, 0.4)
    for y in np.linspace(0.12, tall - 0.16, int(rng.integers(2, 5))):
        rim = made.limb([(0.04, y), (0.5, y - 0.06), (0.96, y)], [0.04, 0.04, 0.04])
        made.put(rim, scaled(colour, 0.8), 0.02)
    made.put(made.ellipse(0.5, tall - 0.1, 0.46, 0.09), scaled(colour, 1.15), 0.02)
    if rng.random() < 0.3:
        made.picture = np.ascontiguousarray(np.rot90(made.picture))
        made.labels = np.ascontiguousarray(np.rot90(made.labels))
    return made


def pallet(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """Stacked pallets or planks."""
    layers = int(rng.integers(1, 7))
    made = Sculpture(200, 0.13 * layers + 0.06, sun)
    wood = scaled((176, 138, 92), rng.uniform(0.6, 1.15))
    grain = clouds(rng, made.shape, 30, 3)
    texture = to_bytes((1 + 0.12 * grain)[..., None] * np.asarray(wood, np.float32))
    for k in range(layers):
        y, shift = 0.13 * k, rng.uniform(-0.02, 0.02)
        for x in (0.03, 0.44, 0.85):
            post = [(x, y), (x + 0.12, y), (x + 0.12, y + 0.09), (x, y + 0.09)]
            made.put(made.polygon(post), scaled(wood, 0.55), 0)
        for low, high in ((0.0, 0.03), (0.085, 0.125)):
            plank = [(0.02 + shift, y + low), (0.98 + shift, y + low),
                     (0.98 + shift, y + high), (0.02 + shift, y + high)]  # fmt: skip
            made.put(made.polygon(plank), texture, 0.012)
    return made


def sofa(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A sofa or armchair."""
    made = Sculpture(210, rng.uniform(0.42, 0.8), sun)
    tall = made.shape[0] / made.size
    texture = surface(rng, made.shape)
    dark = np.full(made.shape, 0.8, np.float32)
    back = made.limb([(0.14, tall * 0.72), (0.86, tall * 0.72)], [tall * 0.5, tall * 0.5])
    made.put(back, texture, 0.1, tone=dark)
    seats = int(rng.integers(1, 4))
    for k in range(seats):
        left, right = 0.12 + 0.76 * k / seats, 0.12 + 0.76 * (k + 1) / seats
        seat = [(left, 0.1 * tall), (right, 0.1 * tall), (right, 0.52 * tall), (left, 0.52 * tall)]
        made.put(made.polygon(seat), texture, 0.05)
    for x in (0.09, 0.91):
        made.put(made.limb([(x, 0.14), (x, tall * 0.6)], [0.17, 0.17]), texture, 0.08)
    return made


def animal(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A four-legged animal from the side or at an angle."""
    made = Sculpture(210, rng.uniform(0.75, 1.25), sun)
    tall = made.shape[0] / made.size
    coat = surface(rng, made.shape)
    leg = tall * rng.uniform(0.3, 0.5)
    body = tall * rng.uniform(0.16, 0.26)
    start, end = rng.uniform(0.14, 0.24), rng.uniform(0.6, 0.74)
    shade = np.full(made.shape, 0.7, np.float32)
    thick = rng.uniform(0.035, 0.08)
    for back in (True, False):
        for x in (start + 0.03, end - 0.04):
            foot = x + rng.uniform(-0.07, 0.07)
            knee = (x + foot) / 2 + rng.uniform(-0.03, 0.03)
            path = [(x, leg + body * 0.5), (knee, leg * 0.5), (foot, 0.02)]
            mask = made.limb(path, [thick * 1.6, thick, thick * 0.8])
            made.put(mask, coat, 0.03, tone=shade if back else None)
    middle = leg + body * 0.7
    trunk = made.limb([(start, middle), (end, middle)], [body * 1.35, body * 1.5])
    made.put(trunk, coat, 0.12)
    head = (
        min(0.86, end + rng.uniform(0.1, 0.2)),
        middle + rng.uniform(0.0, 0.75) * (tall - middle),
    )
    head = (head[0], min(head[1], tall - 0.14))
    made.put(made.limb([(end - 0.02, middle), head], [body * 0.9, body * 0.55]), coat, 0.06)
    made.put(made.ellipse(*head, body * 0.42, body * 0.36), coat, 0.06)
    made.put(
        made.limb([head, (head[0] + 0.1, head[1] - 0.05)], [body * 0.45, body * 0.3]), coat, 0.05
    )
    for lean in (-0.04, 0.02):
        tip = (head[0] + lean, head[1] + rng.uniform(0.06, 0.13))
        made.put(made.limb([head, tip], [0.06, 0.02]), coat, 0.02, tone=shade)
    tail = (start - rng.uniform(0.06, 0.13), middle + rng.uniform(-0.25, 0.15) * tall)
    made.put(made.limb([(start, middle + body * 0.3), tail], [0.06, 0.03]), coat, 0.02)
    return made


def debris(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A heap of planks, sheets and lumps."""
    made = Sculpture(200, rng.uniform(0.3, 0.75), sun)
    tall = made.shape[0] / made.size
    for _ in range(int(rng.integers(5, 14))):
        x, reach = rng.uniform(0.15, 0.85), rng.uniform(0.08, 0.3)
        top = tall * rng.uniform(0.3, 1.0) * (1 - 1.2 * abs(x - 0.5))
        tilt = rng.uniform(-1, 1) * reach
        wide = rng.uniform(0.02, 0.16)
        path = [
            (np.clip(x - tilt, 0.04, 0.96), 0.02),
            (np.clip(x + tilt, 0.04, 0.96), max(top, 0.05)),
        ]
        texture = surface(rng, made.shape) if rng.random() < 0.4 else _colour(rng)
        made.put(made.limb(path, [wide, wide * rng.uniform(0.4, 1)]), texture, 0.03)
    made.put(_radial(rng, made, 0.5, 0.06, 0.2), surface(rng, made.shape), 0.06)
    return made


def frame(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """A chair, a table, a ladder: thin bars that one can look through."""
    made = Sculpture(170, rng.uniform(0.8, 1.7), sun)
    tall = made.shape[0] / made.size
    colour, thick = _colour(rng), rng.uniform(0.04, 0.09)
    for x in (0.1, 0.9):
        made.put(made.limb([(x, 0.02), (x, tall - 0.05)], [thick, thick]), colour, 0.03)
    for y in np.linspace(0.25, tall - 0.1, int(rng.integers(1, 6))):
        made.put(made.limb([(0.1, y), (0.9, y)], [thick, thick]), scaled(colour, 0.9), 0.03)
    if rng.random() < 0.7:
        y = tall * rng.uniform(0.35, 0.6)
        seat = [(0.05, y), (0.95, y), (0.9, y + 0.2), (0.1, y + 0.2)]
        made.put(made.polygon(seat), surface(rng, made.shape), 0.04)
    return made


def bags(rng: Random, sun: tuple[float, float]) -> Sculpture:
    """Sacks or suitcases side by side."""
    made = Sculpture(190, rng.uniform(0.5, 0.9), sun)
    tall = made.shape[0] / made.size
    for x in rng.permutation(np.linspace(0.22, 0.78, int(rng.integers(1, 4)))):
        wide, high = rng.uniform(0.16, 0.21), tall * rng.uniform(0.5, 0.85)
        texture = surface(rng, made.shape) if rng.random() < 0.5 else _colour(rng)
        angle = np.linspace(0, 2 * math.pi, 60)
        power = rng.uniform(0.35, 1.0)
        xs = x + wide * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
        ys = high / 2 + high / 2 * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
        made.put(made.polygon(np.stack([xs, ys], axis=1)), texture, 0.1)
        knot = made.limb([(x, high), (x + 0.02, min(tall, high + 0.08))], [0.07, 0.04])
        made.put(knot, texture, 0.03)
    return made


SHAPES: tuple[tuple[Callable[[Random, tuple[float, float]], Sculpture], float, float], ...] = (
    (blob, 0.3, 2.5),
    (rock, 0.25, 2.0),
    (box, 0.3, 2.2),
    (tyre, 0.5, 0.9),
    (ball, 0.25, 1.2),
    (cone, 0.35, 0.9),
    (barrel, 0.5, 1.0),
    (pallet, 0.9, 1.5),
    (sofa, 0.9, 2.4),
    (animal, 0.5, 2.5),
    (animal, 0.6, 2.0),
    (debris, 0.6, 2.5),
    (frame, 0.4, 1.4),
    (bags, 0.5, 1.6),
)
"""How each kind is made, and its smallest and largest width in metres."""


def draw_unknown(seed: int, number: int, sun: tuple[float, float]) -> Sprite:
    """The number-th unknown object of a seed: between 0.2 and 2.5 m large, labelled as anomaly."""
    rng = rng_for(seed, 7, number)
    make, least, most = SHAPES[int(rng.integers(len(SHAPES)))]
    made = make(rng, sun)
    solid = made.picture[..., 3] > 40  # nothing floats: the picture ends where the object does
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    picture = np.ascontiguousarray(made.picture[area])
    wide = least + (most - least) * float(rng.beta(1.2, 1.8))
    tall = picture.shape[0] / picture.shape[1]
    return Sprite(picture, ANOMALY, min(wide, 2.5 / max(tall, 1.0)))
