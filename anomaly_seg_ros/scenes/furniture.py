"""What stands along a street: signs, traffic lights, fences, walls."""

from __future__ import annotations

import math

import numpy as np

from anomaly_seg_ros.scenes.canvas import Sprite, Surface
from anomaly_seg_ros.scenes.facades import BRICKS, PLASTERS, STONES, wall_texture
from anomaly_seg_ros.scenes.sculpt import Point, Sculpture
from anomaly_seg_ros.scenes.texture import Colour, clouds, mix, paint, pick, rng_for, scaled, vary

WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN = 3, 4, 5, 6, 7
STEEL: Colour = (134, 138, 140)
RED: Colour = (190, 32, 36)
BLUE: Colour = (28, 82, 160)
WHITE: Colour = (236, 236, 232)
YELLOW: Colour = (236, 186, 40)


def _corners(count: int, x: float, y: float, radius: float, turn: float) -> list[Point]:
    angles = [turn + 2 * math.pi * k / count for k in range(count)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def draw_sign(seed: int, number: int, sun: tuple[float, float]) -> Sprite:
    """The number-th traffic sign of a seed, on its post."""
    rng = rng_for(seed, 18, number)
    metres = 1.0
    made = Sculpture(90, rng.uniform(2.6, 3.2), sun)
    top = made.shape[0] / made.size
    post = made.limb([(0.5, 0), (0.5, top - 0.1)], [0.07, 0.07])
    made.put(post, vary(rng, STEEL, 0.1), 0.03, POLE)
    y, size = top - 0.45, rng.uniform(0.32, 0.42)
    kind = int(rng.integers(8))
    dark: Colour = (24, 24, 26)

    def plate(points: list[Point] | None, radius: float, colour: Colour) -> None:
        mask = made.ellipse(0.5, y, radius, radius) if points is None else made.polygon(points)
        made.put(mask, colour, 0.0, TRAFFIC_SIGN)

    if kind == 0:  # ban or limit
        plate(None, size, RED)
        plate(None, size * 0.76, WHITE)
    elif kind == 1:  # order
        plate(None, size, WHITE)
        plate(None, size * 0.93, BLUE)
    elif kind == 2:  # warning
        plate(_corners(3, 0.5, y - 0.05, size * 1.15, math.pi / 2), 0, RED)
        plate(_corners(3, 0.5, y - 0.05, size * 0.8, math.pi / 2), 0, WHITE)
    elif kind == 3:  # give way
        plate(_corners(3, 0.5, y + 0.05, size * 1.15, -math.pi / 2), 0, RED)
        plate(_corners(3, 0.5, y + 0.05, size * 0.75, -math.pi / 2), 0, WHITE)
        return made.sprite(metres)
    elif kind == 4:  # stop
        plate(_corners(8, 0.5, y, size * 1.05, math.pi / 8), 0, WHITE)
        plate(_corners(8, 0.5, y, size * 0.97, math.pi / 8), 0, RED)
    elif kind == 5:  # priority or warning on yellow
        plate(_corners(4, 0.5, y, size * 1.05, 0), 0, WHITE)
        plate(_corners(4, 0.5, y, size * 0.85, 0), 0, YELLOW)
        if rng.random() < 0.5:
            return made.sprite(metres)
    else:  # panel
        colour = pick(rng, [BLUE, (20, 110, 70), WHITE, YELLOW])
        half = size * rng.uniform(0.8, 1.1)
        rim = mix(colour, dark if sum(colour) > 450 else WHITE, 0.8)
        corners = _corners(4, 0.5, y, half * 1.414, math.pi / 4)
        plate(corners, 0, rim)
        plate([(0.5 + (px - 0.5) * 0.92, y + (py - y) * 0.92) for px, py in corners], 0, colour)
    ink = WHITE if kind in (1, 4) or (kind > 5 and rng.random() < 0.5) else dark
    for _ in range(int(rng.integers(1, 4))):
        a, b = rng.uniform(-0.45, 0.45, (2, 2)) * size
        made.put(
            made.limb([(0.5 + a[0], y + a[1]), (0.5 + b[0], y + b[1])], [0.08, 0.08]),
            ink, 0, TRAFFIC_SIGN,
        )  # fmt: skip
    if rng.random() < 0.3:
        extra = [(0.22, y - 0.75), (0.78, y - 0.75), (0.78, y - 0.5), (0.22, y - 0.5)]
        made.put(made.polygon(extra), WHITE, 0, TRAFFIC_SIGN)
    return made.sprite(metres)


def draw_board(seed: int, number: int, sun: tuple[float, float]) -> Sprite:
    """A large direction board on two posts."""
    rng = rng_for(seed, 19, number)
    made = Sculpture(200, rng.uniform(1.0, 1.3), sun)
    top = made.shape[0] / made.size
    for x in (0.25, 0.75):
        made.put(made.limb([(x, 0), (x, top - 0.1)], [0.035, 0.035]), STEEL, 0.02, POLE)
    colour = pick(rng, [BLUE, (18, 104, 66), WHITE, YELLOW, (124, 76, 44)])
    ink = (24, 24, 26) if sum(colour) > 450 else WHITE
    low = top * rng.uniform(0.45, 0.6)
    made.put(made.polygon([(0, low), (1, low), (1, top), (0, top)]), ink, 0, TRAFFIC_SIGN)
    inner = [(0.015, low + 0.015), (0.985, low + 0.015), (0.985, top - 0.015), (0.015, top - 0.015)]
    made.put(made.polygon(inner), colour, 0, TRAFFIC_SIGN)
    for y in np.arange(low + 0.1, top - 0.08, 0.12):
        end = rng.uniform(0.4, 0.85)
        for x in np.arange(0.1, end, 0.045):
            if rng.random() < 0.85:
                line = made.limb([(x, y), (x + 0.02, y)], [0.045, 0.05])
                made.put(line, ink, 0, TRAFFIC_SIGN)
    return made.sprite(rng.uniform(2.2, 3.4))


def draw_traffic_light(seed: int, state: int, sun: tuple[float, float]) -> Sprite:
    """A traffic light on its post. state: 0 red, 1 amber, 2 green."""
    rng = rng_for(seed, 20)
    made = Sculpture(80, 3.4 / 0.8, sun)
    metres, u = 0.8, 1 / 0.8
    high = rng.uniform(2.1, 2.4)
    post = made.limb([(0.5, 0), (0.5, (high + 0.2) * u)], [0.14 * u, 0.12 * u])
    made.put(post, vary(rng, (96, 100, 96), 0.3), 0.05, POLE)
    case: Colour = (34, 36, 36) if rng.random() < 0.7 else (198, 160, 48)
    half = 0.17
    left, right, low, top = (0.4 - half) * u, (0.4 + half) * u, high * u, (high + 0.95) * u
    board = [(left, low), (right, low), (right, top), (left, top)]
    made.put(made.polygon(board), case, 0.02, TRAFFIC_LIGHT)
    glows: list[Colour] = [(255, 60, 44), (255, 190, 50), (70, 255, 170)]
    for k, glow in enumerate(glows):
        y = (high + 0.78 - 0.3 * k) * u
        colour = glow if k == state else scaled(glow, 0.22)
        made.put(made.ellipse(0.5, y, 0.11 * u, 0.11 * u), (16, 16, 16), 0, TRAFFIC_LIGHT)
        made.put(made.ellipse(0.5, y, 0.095 * u, 0.095 * u), colour, 0, TRAFFIC_LIGHT)
    return made.sprite(metres)


def draw_wall(seed: int, number: int) -> Surface:
    """A garden or factory wall, for 4 x 2 metres."""
    rng = rng_for(seed, 21, number)
    material = str(rng.choice(["brick", "stone", "plaster", "panel"]))
    picture = wall_texture(rng, (64, 128), material)
    cap = pick(rng, [*BRICKS, *STONES, *PLASTERS])
    picture[:4] = np.asarray(scaled(cap, 0.9)).astype(np.uint8)
    picture[4:6] = (picture[4:6] * 0.6).astype(np.uint8)
    return Surface(picture, WALL)


def draw_fence(seed: int, number: int) -> Surface:
    """A fence with gaps (alpha), for 4 x 1.5 metres: pickets, bars, boards or wire."""
    rng = rng_for(seed, 22, number)
    height, width = 96, 256
    alpha = np.zeros((height, width), np.uint8)
    col, row = np.arange(width)[None, :], np.arange(height)[:, None]
    kind = str(rng.choice(["pickets", "bars", "boards", "wire"]))
    wood: list[Colour] = [(222, 218, 208), (128, 94, 64), (96, 74, 56), (150, 138, 120)]
    iron: list[Colour] = [(40, 44, 44), (62, 84, 70), (120, 126, 128), (28, 28, 30)]
    colour = vary(rng, pick(rng, wood if kind in ("pickets", "boards") else iron), 0.15)
    if kind == "pickets":
        step, wide = 10, 6
        tip = np.abs(col % step - wide / 2) * 1.5
        alpha[(col % step < wide) & (row > tip)] = 255
        alpha[20:27] = alpha[70:77] = 255
    elif kind == "bars":
        alpha[:, np.arange(width) % 8 < 3] = 255
        alpha[6:11] = alpha[84:90] = 255
    elif kind == "boards":
        alpha[:] = np.where(row % 24 < 19, 255, 0)
        alpha[:, np.arange(width) % 128 < 8] = 255
    else:
        mesh = ((col + row) % 7 < 2) | ((col - row) % 7 < 2)
        alpha[mesh] = 190
        alpha[:4] = 255
        alpha[:, np.arange(width) % 128 < 5] = 255
    tone = clouds(rng, (height, width), 12, 3) * 0.12
    tone = tone + np.where(col % 10 < 1, -0.2, 0.0)
    picture = np.dstack([paint(tone, colour), alpha])
    return Surface(picture, FENCE)
