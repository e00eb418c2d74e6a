"""People on foot: one picture for each phase of the step.

Inside a sprite one unit is one metre; sideways figures look to the right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.scenes.canvas import Sprite
from anomaly_seg_ros.scenes.sculpt import Sculpture
from anomaly_seg_ros.scenes.texture import Colour, pick, rng_for, vary

PERSON = 11
PHASES = 8  # pictures per step, or per turn of the pedals
PIXELS = 104  # per metre

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
