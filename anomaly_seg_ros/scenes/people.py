"""People who walk, and people who ride bicycles and motorcycles: one picture for each phase.

Inside a sprite one unit is one metre; sideways figures look to the right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.scenes.canvas import Sprite
from anomaly_seg_ros.scenes.sculpt import Sculpture
from anomaly_seg_ros.scenes.texture import Colour, pick, rng_for, scaled, vary

PERSON, RIDER, MOTORCYCLE, BICYCLE = 11, 12, 17, 18
PHASES = 8  # pictures per step or turn of the pedals
PIXELS = 120  # per metre

SKINS: list[Colour] = [
    (224, 184, 156),
    (198, 150, 118),
    (150, 106, 78),
    (104, 72, 54),
    (236, 200, 176),
]
HAIRS: list[Colour] = [(40, 32, 28), (78, 56, 38), (150, 116, 72), (170, 168, 166), (24, 22, 22)]
CLOTHES: list[Colour] = [
    (38, 44, 60), (60, 62, 66), (28, 28, 32), (128, 40, 44), (52, 82, 120), (196, 192, 184),
    (86, 94, 70), (150, 124, 92), (206, 166, 60), (220, 220, 222), (94, 60, 92), (54, 112, 108),
    (224, 120, 60), (170, 80, 100),
]  # fmt: skip
TROUSERS: list[Colour] = [
    (40, 48, 70), (30, 30, 34), (72, 74, 80), (120, 104, 82), (54, 66, 96), (58, 54, 48)
]  # fmt: skip


@dataclass(frozen=True)
class Outfit:
    """Size and clothes of a person."""

    tall: float
    girth: float
    skin: Colour
    hair: Colour
    coat: Colour
    trousers: Colour
    shoes: Colour
    long_coat: bool
    hat: bool
    bag: int  # 0 none, 1 backpack, 2 bag in the hand
    bag_colour: Colour
    long_hair: bool


def draw_outfit(seed: int, number: int) -> Outfit:
    """The number-th person of a seed."""
    rng = rng_for(seed, 16, number)
    child = rng.random() < 0.1
    return Outfit(
        tall=rng.uniform(1.1, 1.4) if child else float(np.clip(rng.normal(1.71, 0.09), 1.5, 1.92)),
        girth=rng.uniform(0.85, 1.2),
        skin=vary(rng, pick(rng, SKINS), 0.1),
        hair=vary(rng, pick(rng, HAIRS), 0.15),
        coat=vary(rng, pick(rng, CLOTHES), 0.2),
        trousers=vary(rng, pick(rng, TROUSERS), 0.2),
        shoes=vary(rng, pick(rng, [(30, 28, 28), (200, 198, 194), (92, 66, 48)]), 0.1),
        long_coat=rng.random() < 0.25,
        hat=rng.random() < 0.2,
        bag=int(rng.choice(3, p=[0.55, 0.25, 0.2])),
        bag_colour=vary(rng, pick(rng, CLOTHES), 0.3),
        long_hair=rng.random() < 0.35,
    )


def walker(
    outfit: Outfit, phase: int, sideways: bool, away: bool, sun: tuple[float, float]
) -> Sprite:
    """A pedestrian in one phase of the step, seen from the side, from behind or from the front."""
    made = Sculpture(PIXELS, 2.0, sun)
    (_from_side if sideways else _from_front)(made, outfit, 2 * math.pi * phase / PHASES, away)
    return made.sprite(1.0, PERSON)


def _from_side(made: Sculpture, who: Outfit, turn: float, away: bool) -> None:
    k = who.tall / 1.75
    g = who.girth * k
    hip, neck = (0.5, 0.90 * k), (0.52, 1.45 * k)
    for late in (math.pi, 0.0):
        swing = 0.42 * math.sin(turn + late)
        lift = max(0.0, math.cos(turn + late)) * 0.5
        knee = (
            hip[0] + 0.44 * k * math.sin(swing + lift * 0.4),
            hip[1] - 0.43 * k * math.cos(swing),
        )
        shin = swing - lift * 0.9
        foot = (knee[0] + 0.42 * k * math.sin(shin), max(0.05, knee[1] - 0.42 * k * math.cos(shin)))
        tone = np.full(made.shape, 0.8 if late else 1.0, np.float32)
        leg = made.limb([hip, knee, foot], [0.17 * g, 0.125 * g, 0.09 * g])
        made.put(leg, who.trousers, 0.05, PERSON, tone)
        toe = (foot[0] + 0.14 * k, max(0.035, foot[1] - 0.03))
        made.put(made.limb([foot, toe], [0.085 * k, 0.06 * k]), who.shoes, 0.03, PERSON, tone)
        if late:
            _arm_side(made, who, turn, k, g, 0.8)
    if who.bag == 1:
        pack = made.ellipse(0.5 - 0.17 * g, 1.22 * k, 0.1 * g, 0.2 * k)
        made.put(pack, who.bag_colour, 0.06, PERSON)
    hem = 0.55 * k if who.long_coat else 0.84 * k
    coat = made.limb([(0.5, hem), (0.5, 1.1 * k), (0.51, 1.37 * k)], [0.3 * g, 0.26 * g, 0.2 * g])
    made.put(coat, who.coat, 0.09, PERSON)
    _arm_side(made, who, turn + math.pi, k, g, 1.05)
    _head(made, who, (neck[0] + 0.01, 1.62 * k), k, 0.03, False)


def _arm_side(made: Sculpture, who: Outfit, turn: float, k: float, g: float, tone: float) -> None:
    swing = 0.4 * math.sin(turn)
    shoulder = (0.51, 1.36 * k)
    elbow = (shoulder[0] + 0.28 * k * math.sin(swing), shoulder[1] - 0.28 * k * math.cos(swing))
    hand = (
        elbow[0] + 0.25 * k * math.sin(swing + 0.3),
        elbow[1] - 0.25 * k * math.cos(swing + 0.3),
    )
    shade = np.full(made.shape, tone, np.float32)
    if who.bag == 2 and tone > 1:
        bag = made.ellipse(hand[0], hand[1] - 0.2 * k, 0.14 * k, 0.15 * k)
        made.put(bag, who.bag_colour, 0.05, PERSON)
    made.put(
        made.limb([shoulder, elbow, hand], [0.12 * g, 0.1 * g, 0.08 * g]),
        who.coat,
        0.04,
        PERSON,
        shade,
    )
    made.put(made.ellipse(*hand, 0.045 * k, 0.05 * k), who.skin, 0.02, PERSON)


def _from_front(made: Sculpture, who: Outfit, turn: float, away: bool) -> None:
    k = who.tall / 1.75
    g = who.girth * k
    step = math.sin(turn)
    for sign in (-1, 1):
        lift = max(0.0, sign * step) * 0.08 * k
        hip = (0.5 + sign * 0.085 * g, 0.9 * k)
        knee = (0.5 + sign * 0.095 * g, 0.48 * k + lift)
        foot = (0.5 + sign * 0.09 * g, 0.07 + lift)
        leg = made.limb([hip, knee, foot], [0.17 * g, 0.13 * g, 0.1 * g])
        made.put(leg, who.trousers, 0.05, PERSON)
        toe = (foot[0] + sign * 0.02, foot[1] - 0.03)
        made.put(made.limb([foot, toe], [0.1 * k, 0.08 * k]), who.shoes, 0.03, PERSON)
    for sign in (-1, 1):
        swing = 0.06 * sign * step
        path = [(0.5 + sign * 0.2 * g, 1.36 * k), (0.5 + sign * 0.26 * g, 1.1 * k),
                (0.5 + sign * (0.25 * g), 0.86 * k + swing)]  # fmt: skip
        made.put(made.limb(path, [0.13 * g, 0.11 * g, 0.085 * g]), who.coat, 0.04, PERSON)
        made.put(made.ellipse(*path[-1], 0.045 * k, 0.055 * k), who.skin, 0.02, PERSON)
        if who.bag == 2 and sign > 0:
            bag = made.ellipse(path[-1][0] + 0.03, path[-1][1] - 0.2 * k, 0.09, 0.15 * k)
            made.put(bag, who.bag_colour, 0.05, PERSON)
    hem = 0.55 * k if who.long_coat else 0.85 * k
    corners = [(0.5 - 0.19 * g, hem), (0.5 + 0.19 * g, hem), (0.5 + 0.18 * g, 1.1 * k),
               (0.5 + 0.23 * g, 1.36 * k), (0.5 + 0.12 * g, 1.45 * k), (0.5 - 0.12 * g, 1.45 * k),
               (0.5 - 0.23 * g, 1.36 * k), (0.5 - 0.18 * g, 1.1 * k)]  # fmt: skip
    made.put(made.polygon(corners), who.coat, 0.12, PERSON)
    if who.bag == 1 and away:
        made.put(made.ellipse(0.5, 1.2 * k, 0.16 * g, 0.21 * k), who.bag_colour, 0.08, PERSON)
    _head(made, who, (0.5, 1.62 * k), k, 0.0, away)


def _head(
    made: Sculpture, who: Outfit, at: tuple[float, float], k: float, look: float, away: bool,
    label: int = PERSON,
) -> None:  # fmt: skip
    x, y = at
    made.put(
        made.limb([(x, y - 0.18 * k), (x, y - 0.05)], [0.1 * k, 0.09 * k]), who.skin, 0.03, label
    )
    made.put(made.ellipse(x + look, y, 0.083 * k, 0.115 * k), who.skin, 0.06, label)
    if away:
        made.put(made.ellipse(x, y + 0.01, 0.09 * k, 0.115 * k), who.hair, 0.05, label)
    hair = made.ellipse(x + look * 0.1, y + 0.05 * k, 0.095 * k, 0.085 * k)
    made.put(hair, who.hair, 0.04, label)
    if who.long_hair:
        back = made.ellipse(x - look * 1.6, y - 0.04 * k, 0.07 * k, 0.15 * k)
        made.put(back, who.hair, 0.04, label)
        if not away and not look:
            made.put(made.ellipse(x, y - 0.015, 0.06 * k, 0.085 * k), who.skin, 0.05, label)
    if who.hat:
        made.put(made.ellipse(x, y + 0.07 * k, 0.105 * k, 0.06 * k), who.bag_colour, 0.04, label)


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
    made.put(made.limb([at(1.68, 0.34), at(1.42, 0.98), at(1.28, 1.06)], [0.08 * u, 0.07 * u, 0.05 * u]),
             (110, 110, 114), 0.02, MOTORCYCLE)  # fmt: skip
    body = [at(0.2, 0.82), at(0.75, 0.74), at(1.0, 0.92), at(1.42, 0.98), at(1.52, 0.7), at(1.1, 0.55),
            at(0.6, 0.62)]  # fmt: skip
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
    made.put(made.limb([at(0.96, 1.4), at(1.14, 1.16), at(1.3, 1.08)], [0.14 * u, 0.12 * u, 0.09 * u]),
             who.coat, 0.03, RIDER)  # fmt: skip
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
