"""What a seed decides once for its whole sequence: the kind of street, the road, the camera.

Across the road, places are given by d: metres to the right of the road's middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.scenes.texture import Colour, pick, rng_for, vary

ROAD, SIDEWALK, VEGETATION, TERRAIN = 0, 1, 8, 9

KINDS = ("city", "boulevard", "suburb", "country", "industrial")
KIND_SHARES = (0.32, 0.2, 0.22, 0.14, 0.12)


@dataclass(frozen=True)
class Band:
    """A strip along the road: |d| from start to end metres, made of one material."""

    start: float
    end: float
    material: str  # asphalt | parking | cycle | kerb | grass | paving | gravel
    label: int


@dataclass(frozen=True)
class Side:
    """One side of the road, from the middle outward."""

    sign: int  # -1 left, +1 right
    lanes: int
    bands: tuple[Band, ...]
    edge: float  # |d| where the carriageway ends
    walk: tuple[float, float]  # |d| of the sidewalk (or of the shoulder where there is none)
    front: float  # |d| where houses and walls begin
    parking: float  # |d| of the middle of the parked cars; 0 when nobody parks here
    trees: float  # |d| of the row of trees and poles

    def has(self, material: str) -> bool:
        """Whether this side has a band of the material."""
        return any(band.material == material for band in self.bands)


@dataclass(frozen=True)
class Bends:
    """The road's middle line: x = sum of a * sin(k z + p), gentle enough to be sheared."""

    waves: tuple[tuple[float, float, float], ...]  # amplitude in m, radians per m, phase

    def x(self, z: np.ndarray | float) -> np.ndarray:
        """Where the middle of the road is at z, metres."""
        return sum(
            (a * np.sin(k * np.asarray(z) + p) for a, k, p in self.waves), np.zeros(np.shape(z))
        )

    def slope(self, z: np.ndarray | float) -> np.ndarray:
        """dx / dz at z."""
        return sum(
            (a * k * np.cos(k * np.asarray(z) + p) for a, k, p in self.waves), np.zeros(np.shape(z))
        )


@dataclass(frozen=True)
class Style:
    """Everything that stays the same over a sequence, except light and weather."""

    kind: str
    left: Side
    right: Side
    lane_width: float
    traffic: int  # +1: cars keep to the right, -1: to the left
    bends: Bends
    speed: float  # m/s
    field_of_view: float  # radians, horizontal
    camera_height: float  # m
    horizon: float  # share of the picture's height
    density: float  # 0..1: how busy the street is
    tram: bool
    crosswalks: float  # chance of one per stretch
    side_streets: float
    asphalt: Colour
    paving: Colour
    grass: Colour
    marking: Colour
    leaves: Colour
    season: str  # summer | autumn | winter

    @property
    def sides(self) -> tuple[Side, Side]:
        """Left and right."""
        return self.left, self.right

    @property
    def own(self) -> Side:
        """The side the camera drives on."""
        return self.right if self.traffic > 0 else self.left

    @property
    def other(self) -> Side:
        """The side of the oncoming traffic."""
        return self.left if self.traffic > 0 else self.right

    def lane(self, side: Side, number: int) -> float:
        """d of the middle of a lane, numbered from the road's middle outward."""
        return side.sign * (number + 0.5) * self.lane_width


def _side(rng: np.random.Generator, kind: str, sign: int, lanes: int, width: float) -> Side:
    bands: list[Band] = []
    at = lanes * width

    def add(material: str, wide: float, label: int) -> tuple[float, float]:
        nonlocal at
        bands.append(Band(at, at + wide, material, label))
        at += wide
        return at - wide, at

    bands.append(Band(0, at, "asphalt", ROAD))
    urban = kind in ("city", "boulevard", "suburb")
    if urban and rng.random() < 0.25:
        add("cycle", rng.uniform(1.4, 1.9), ROAD)
    parking = 0.0
    if rng.random() < {"city": 0.6, "boulevard": 0.5, "suburb": 0.55, "industrial": 0.4}.get(
        kind, 0
    ):
        start, end = add("parking", rng.uniform(2.1, 2.5), ROAD)
        parking = (start + end) / 2
    if kind == "country":
        add("asphalt", rng.uniform(0.2, 0.7), ROAD)
        edge = at
        walk = add("gravel", rng.uniform(0.5, 1.6), TERRAIN)
        add("grass", 26.0, TERRAIN)
        front = edge + rng.uniform(8, 14)
        return Side(sign, lanes, tuple(bands), edge, walk, front, 0.0, edge + rng.uniform(2.5, 4.5))
    add("asphalt", 0.3, ROAD)  # gutter
    edge = at
    add("kerb", rng.uniform(0.15, 0.3), SIDEWALK)
    trees = at + 0.6
    if rng.random() < {"city": 0.15, "boulevard": 0.8, "suburb": 0.6}.get(kind, 0.35):
        start, end = add("grass", rng.uniform(1.0, 2.6), TERRAIN)
        trees = (start + end) / 2
    walk = add("paving", rng.uniform(1.6, 4.2 if kind in ("city", "boulevard") else 2.6), SIDEWALK)
    if kind == "city":
        front = at
        add("paving", 24.0, SIDEWALK)
    elif kind == "industrial" and rng.random() < 0.5:
        front = at + rng.uniform(0.3, 1.5)
        add("gravel", 26.0, TERRAIN)
    else:
        front = at + rng.uniform(0.5, 3.0) + (2.5 if kind == "suburb" else 0)
        add("grass", 26.0, TERRAIN)
    return Side(sign, lanes, tuple(bands), edge, walk, front, parking, trees)


def _bends(rng: np.random.Generator, kind: str) -> Bends:
    waves = []
    strength = rng.choice([0.0, 0.35, 1.0], p=[0.3, 0.35, 0.35])
    if kind == "country":
        strength = max(strength, 0.5)
    for length in (rng.uniform(140, 260), rng.uniform(300, 600)):
        steep = strength * rng.uniform(0.03, 0.14)
        per_metre = 2 * math.pi / length
        waves.append((steep / per_metre, per_metre, rng.uniform(0, 2 * math.pi)))
    return Bends(tuple(waves))


def draw_style(seed: int) -> Style:
    """The street of a seed."""
    rng = rng_for(seed, 1)
    kind = str(rng.choice(KINDS, p=KIND_SHARES))
    width = rng.uniform(2.9, 3.7)
    lanes = 1 if kind == "country" or rng.random() < 0.62 else 2
    traffic = 1 if rng.random() < 0.8 else -1
    left, right = (_side(rng, kind, sign, lanes, width) for sign in (-1, 1))
    season = str(rng.choice(["summer", "autumn", "winter"], p=[0.68, 0.2, 0.12]))
    foliage: dict[str, list[Colour]] = {
        "summer": [(66, 86, 46), (86, 102, 54), (54, 74, 50), (98, 110, 66)],
        "autumn": [(150, 104, 40), (128, 112, 46), (134, 76, 40)],
        "winter": [(70, 74, 58), (86, 82, 70)],
    }
    turf: dict[str, list[Colour]] = {
        "summer": [(96, 114, 62), (114, 122, 70), (84, 102, 60), (140, 132, 84)],
        "autumn": [(126, 118, 62), (108, 112, 58)],
        "winter": [(126, 122, 92), (112, 108, 84)],
    }
    grey = rng.uniform(72, 128)
    tint = rng.uniform(-5, 5)
    pavings: list[Colour] = [
        (158, 154, 148), (176, 168, 152), (142, 142, 146), (170, 128, 108), (188, 178, 158),
    ]  # fmt: skip
    return Style(
        kind=kind,
        left=left,
        right=right,
        lane_width=width,
        traffic=traffic,
        bends=_bends(rng, kind),
        speed=rng.uniform(5, 13),
        field_of_view=math.radians(rng.uniform(50, 78)),
        camera_height=rng.uniform(1.15, 1.9),
        horizon=rng.uniform(0.36, 0.53),
        density=rng.beta(2, 2),
        tram=kind in ("city", "boulevard") and rng.random() < 0.35,
        crosswalks=rng.uniform(0, 0.6) if kind not in ("country", "industrial") else 0.05,
        side_streets=rng.uniform(0.1, 0.5),
        asphalt=(grey + tint, grey, grey - tint),
        paving=vary(rng, pick(rng, pavings), 0.12),
        grass=vary(rng, pick(rng, turf[season]), 0.15),
        marking=(214, 212, 204) if rng.random() < 0.85 else (206, 178, 92),
        leaves=vary(rng, pick(rng, foliage[season]), 0.15),
        season=season,
    )
