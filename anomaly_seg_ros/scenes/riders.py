"""People who ride bicycles and motorcycles, and the parked ones: a picture for each phase.

Sideways they look to the right.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from anomaly_seg_ros.scenes.canvas import Sprite
from anomaly_seg_ros.scenes.people import CLOTHES, PHASES, PIXELS, Outfit, draw_outfit
from anomaly_seg_ros.scenes.sculpt import Sculpture
from anomaly_seg_ros.scenes.texture import Colour, pick, rng_for, scaled, vary

RIDER, MOTORCYCLE, BICYCLE = 12, 17, 18


def rider(
    seed: int, number: int, phase: int, sideways: bool, motor: bool, manned: bool,
    sun: tuple[float, float],
) -> Sprite:  # fmt: skip
    """A bicycle or motorcycle, with or without its rider, from the side or from behind."""
    rng = rng_for(seed, 17, number)
    who = draw_outfit(seed, number + 50_000)
    paint = vary(rng, pick(rng, CLOTHES), 0.3)
    turn = 2 * math.pi * phase / PHASES
    if sideways:
        made = Sculpture(round(2.1 * PIXELS), 0.92, sun)
        (_motorcycle_side if motor else _bicycle_side)(made, who, paint, turn, manned)
        return made.sprite(2.1)
    made = Sculpture(PIXELS, 1.95, sun)
    _two_wheels_behind(made, who, paint, turn, motor, manned)
    return made.sprite(1.0)


def _wheel(made: Sculpture, x: float, radius: float, thick: float, label: int) -> None:
    """x, radius and thick in sprite units."""
    rim = cv2.subtract(
        made.ellipse(x, radius, radius, radius),
        made.ellipse(x, radius, radius - thick, radius - thick),
    )
    made.put(rim, (28, 28, 30), 0.0, label)


def _bicycle_side(
    made: Sculpture, who: Outfit, paint: Colour, turn: float, manned: bool
) -> None:  # fmt: skip
    u = 1 / 2.1  # a metre in sprite units

    def at(x: float, y: float) -> tuple[float, float]:
        return x * u, y * u

    for x in (0.45, 1.5):
        _wheel(made, x * u, 0.34 * u, 0.035 * u, BICYCLE)
    crank, saddle, bar = at(0.92, 0.3), at(0.78, 0.92), at(1.36, 1.02)
    bars = made.blank()
    for path in ([at(0.45, 0.34), crank, at(1.3, 0.85), at(0.8, 0.84), at(0.45, 0.34)],
                 [crank, saddle], [at(1.5, 0.34), bar, at(1.28, 1.05)]):  # fmt: skip
        made.limb(path, [0.035 * u] * len(path), bars)
    made.put(bars, paint, 0.01, BICYCLE)
    made.put(
        made.limb([at(0.7, 0.93), at(0.9, 0.93)], [0.07 * u, 0.04 * u]), (30, 30, 32), 0.02, BICYCLE
    )
    if not manned:
        return
    for late in (math.pi, 0.0):
        foot = at(0.92 + 0.16 * math.cos(turn + late), 0.3 - 0.16 * math.sin(turn + late))
        hip = at(0.8, 0.98)
        middle = ((foot[0] + hip[0]) / 2 + 0.2 * u, (foot[1] + hip[1]) / 2 + 0.08 * u)
        tone = np.full(made.shape, 0.78 if late else 1.0, np.float32)
        leg = made.limb([hip, middle, foot], [0.17 * u, 0.13 * u, 0.09 * u])
        made.put(leg, who.trousers, 0.03, RIDER, tone)
        made.put(
            made.limb([foot, (foot[0] + 0.12 * u, foot[1])], [0.08 * u, 0.06 * u]),
            who.shoes,
            0.02,
            RIDER,
        )
    made.put(made.limb([at(0.8, 1.0), at(1.0, 1.45)], [0.3 * u, 0.3 * u]), who.coat, 0.06, RIDER)
    made.put(made.limb([at(1.03, 1.45), at(1.16, 1.18), at(1.33, 1.08)],
                       [0.12 * u, 0.1 * u, 0.07 * u]), who.coat, 0.03, RIDER)  # fmt: skip
    _head_small(made, who, at(1.1, 1.72), u)


def _head_small(made: Sculpture, who: Outfit, at: tuple[float, float], u: float) -> None:
    made.put(made.ellipse(at[0], at[1] - 0.02 * u, 0.085 * u, 0.115 * u), who.skin, 0.03, RIDER)
    helmet = who.bag_colour if who.bag else who.hair
    made.put(
        made.ellipse(at[0] - 0.01 * u, at[1] + 0.05 * u, 0.12 * u, 0.085 * u), helmet, 0.03, RIDER
    )


def _motorcycle_side(
    made: Sculpture, who: Outfit, paint: Colour, turn: float, manned: bool
) -> None:  # fmt: skip
    u = 1 / 2.1

    def at(x: float, y: float) -> tuple[float, float]:
        return x * u, y * u

    for x in (0.38, 1.68):
        _wheel(made, x * u, 0.32 * u, 0.12 * u, MOTORCYCLE)
        made.put(
            made.ellipse(x * u, 0.32 * u, 0.08 * u, 0.08 * u), (120, 120, 124), 0.02, MOTORCYCLE
        )
    dark: Colour = (44, 44, 48)
    made.put(
        made.limb([at(0.75, 0.45), at(1.15, 0.42)], [0.36 * u, 0.36 * u]), dark, 0.04, MOTORCYCLE
    )
    made.put(
        made.limb([at(0.2, 0.34), at(0.9, 0.26)], [0.09 * u, 0.08 * u]),
        (150, 150, 154),
        0.02,
        MOTORCYCLE,
    )
    fork = [at(1.68, 0.34), at(1.42, 0.98), at(1.28, 1.06)]
    steel: Colour = (110, 110, 114)
    made.put(made.limb(fork, [0.08 * u, 0.07 * u, 0.05 * u]), steel, 0.02, MOTORCYCLE)
    body = [at(0.2, 0.82), at(0.75, 0.74), at(1.0, 0.92), at(1.42, 0.98), at(1.52, 0.7),
            at(1.1, 0.55), at(0.6, 0.62)]  # fmt: skip
    made.put(made.polygon(body), paint, 0.06, MOTORCYCLE)
    made.put(
        made.limb([at(0.3, 0.84), at(0.92, 0.8)], [0.1 * u, 0.12 * u]),
        (26, 26, 28),
        0.03,
        MOTORCYCLE,
    )
    made.put(made.ellipse(1.5 * u, 0.93 * u, 0.08 * u, 0.09 * u), (228, 228, 216), 0.03, MOTORCYCLE)
    if not manned:
        return
    leg = made.limb([at(0.7, 0.92), at(1.12, 0.78), at(0.98, 0.34)], [0.2 * u, 0.17 * u, 0.11 * u])
    made.put(leg, who.trousers, 0.03, RIDER)
    made.put(
        made.limb([at(0.98, 0.32), at(1.12, 0.3)], [0.1 * u, 0.08 * u]), who.shoes, 0.02, RIDER
    )
    made.put(
        made.limb([at(0.68, 0.96), at(0.92, 1.4)], [0.34 * u, 0.34 * u]), who.coat, 0.06, RIDER
    )
    arm = [at(0.96, 1.4), at(1.14, 1.16), at(1.3, 1.08)]
    made.put(made.limb(arm, [0.14 * u, 0.12 * u, 0.09 * u]), who.coat, 0.03, RIDER)
    made.put(made.ellipse(1.0 * u, 1.68 * u, 0.14 * u, 0.15 * u), who.bag_colour, 0.06, RIDER)
    made.put(made.ellipse(1.09 * u, 1.67 * u, 0.06 * u, 0.05 * u), (40, 44, 50), 0.02, RIDER)


def _two_wheels_behind(
    made: Sculpture, who: Outfit, paint: Colour, turn: float, motor: bool, manned: bool
) -> None:  # fmt: skip
    label = MOTORCYCLE if motor else BICYCLE
    wide = 0.15 if motor else 0.05
    made.put(made.limb([(0.5, wide / 2), (0.5, 0.66)], [wide, wide]), (28, 28, 30), 0.02, label)
    bar = 0.36 if motor else 0.28
    made.put(
        made.limb([(0.5 - bar, 1.02), (0.5, 1.06), (0.5 + bar, 1.02)], [0.05] * 3),
        (50, 50, 52),
        0.01,
        label,
    )
    if motor:
        made.put(
            made.polygon([(0.36, 0.48), (0.64, 0.48), (0.6, 0.9), (0.4, 0.9)]), paint, 0.06, label
        )
        made.put(made.limb([(0.44, 0.74), (0.56, 0.74)], [0.06, 0.06]), (200, 36, 30), 0.01, label)
        made.put(
            made.polygon([(0.42, 0.5), (0.58, 0.5), (0.58, 0.62), (0.42, 0.62)]),
            (230, 228, 220),
            0,
            label,
        )
        for sign in (-1, 1):
            made.put(
                made.limb([(0.5 + sign * 0.18, 0.32), (0.5 + sign * 0.15, 0.6)], [0.09, 0.07]),
                (130, 130, 134),
                0.03,
                label,
            )
            made.put(made.ellipse(0.5 + sign * 0.4, 1.12, 0.05, 0.035), (60, 64, 70), 0.01, label)
    else:
        made.put(made.limb([(0.5, 0.5), (0.5, 0.9)], [0.06, 0.05]), paint, 0.02, label)
        made.put(made.limb([(0.42, 0.95), (0.58, 0.95)], [0.07, 0.07]), (30, 30, 32), 0.02, label)
    if not manned:
        return
    for sign in (-1, 1):
        rise = (0.15 * math.sin(turn + (0 if sign > 0 else math.pi))) if not motor else 0.0
        path = [(0.5 + sign * 0.1, 0.95), (0.5 + sign * (0.28 if motor else 0.17), 0.72 + rise),
                (0.5 + sign * (0.25 if motor else 0.14), 0.32 + rise)]  # fmt: skip
        made.put(made.limb(path, [0.19, 0.15, 0.1]), who.trousers, 0.05, RIDER)
        made.put(made.ellipse(path[-1][0], path[-1][1] - 0.04, 0.055, 0.05), who.shoes, 0.02, RIDER)
        arm = [(0.5 + sign * 0.2, 1.42), (0.5 + sign * 0.33, 1.2), (0.5 + sign * bar * 0.9, 1.05)]
        made.put(made.limb(arm, [0.13, 0.11, 0.08]), scaled(who.coat, 0.9), 0.04, RIDER)
    torso = [(0.34, 0.92), (0.66, 0.92), (0.7, 1.42), (0.6, 1.52), (0.4, 1.52), (0.3, 1.42)]
    made.put(made.polygon(torso), who.coat, 0.12, RIDER)
    if who.bag == 1:
        made.put(made.ellipse(0.5, 1.25, 0.15, 0.2), who.bag_colour, 0.07, RIDER)
    size = 0.15 if motor else 0.11
    made.put(made.ellipse(0.5, 1.67, size * 0.9, size), who.skin, 0.05, RIDER)
    top = who.bag_colour if motor or who.hat else who.hair
    made.put(made.ellipse(0.5, 1.69, size, size if motor else size * 0.85), top, 0.06, RIDER)
