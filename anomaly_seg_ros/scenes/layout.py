"""What stands where: the street in stretches, each laid out from the seed and its number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from anomaly_seg_ros.scenes.looks import (
    Barrier,
    Building,
    Driving,
    Lamp,
    Light,
    Look,
    Post,
    Rider,
    Standing,
    Tree,
    Walker,
)
from anomaly_seg_ros.scenes.props import SIGNS, Props
from anomaly_seg_ros.scenes.style import Side, Style
from anomaly_seg_ros.scenes.texture import rng_for

STRETCH = 48.0  # m
PIECE = 8.0  # m: hedges, walls and fences are made of pieces this long
SWERVE = 9.0  # m: how long before and after an obstacle the camera drives around it


@dataclass(frozen=True)
class Thing:
    """Something in the world: at (d, z) at the time `when`, moving evenly."""

    look: Look
    d: float
    z: float
    speed_d: float = 0.0
    speed_z: float = 0.0
    when: float = 0.0

    def at(self, seconds: float) -> tuple[float, float]:
        """d and z at a time."""
        past = seconds - self.when
        return self.d + self.speed_d * past, self.z + self.speed_z * past


@dataclass
class Stretch:
    """One stretch of the street."""

    things: list[Thing] = field(default_factory=list)
    streets: list[tuple[float, float]] = field(default_factory=list)  # z of side streets
    crosswalks: list[float] = field(default_factory=list)  # z of their middle
    swerves: list[tuple[float, float]] = field(default_factory=list)  # z, shift in d


class Layout:
    """Lays out any stretch, and keeps the latest ones."""

    def __init__(self, seed: int, style: Style, props: Props, anomalies: bool) -> None:
        self.seed, self.style, self.props, self.anomalies = seed, style, props, anomalies
        self._kept: dict[int, Stretch] = {}

    def stretch(self, number: int) -> Stretch:
        """The stretch from number * STRETCH on."""
        if number not in self._kept:
            if len(self._kept) > 24:
                self._kept.clear()
            self._kept[number] = _Mason(self, number).build()
        return self._kept[number]

    def swerve(self, z: float) -> tuple[float, float]:
        """How far the camera leaves its lane at z to pass obstacles, and the change per metre."""
        shift = slope = 0.0
        here = math.floor(z / STRETCH)
        for number in (here - 1, here, here + 1):
            for at, amount in self.stretch(number).swerves:
                part = amount * math.exp(-(((z - at) / SWERVE) ** 2))
                shift += part
                slope -= part * 2 * (z - at) / SWERVE**2
        return shift, slope


class _Mason:
    """Builds one stretch."""

    def __init__(self, layout: Layout, number: int) -> None:
        self.style, self.props = layout.style, layout.props
        self.seed, self.number = layout.seed, number
        self.anomalies = layout.anomalies
        self.rng = rng_for(layout.seed, 30, number)
        self.start, self.end = number * STRETCH, (number + 1) * STRETCH
        self.made = Stretch()

    def add(self, look: Look, d: float, z: float, **motion: float) -> None:
        """Put something down."""
        self.made.things.append(Thing(look, d, z, **motion))

    def bend(self, z: float, long: float) -> float:
        """How much x changes along the road over a length around z."""
        bends = self.style.bends
        return float(bends.x(z + long / 2) - bends.x(z - long / 2))

    def passing(self, z: float) -> float:
        """When the camera is at z."""
        return z / self.style.speed

    def number_of(self, mean: float) -> int:
        """A random count."""
        return int(self.rng.poisson(mean))

    def build(self) -> Stretch:
        """Lay everything out."""
        style, rng = self.style, self.rng
        parts = [(self.start, self.end)]
        if rng.random() < style.side_streets:
            wide = rng.uniform(6, 9)
            z = self.start + rng.uniform(8, STRETCH - 8 - wide)
            self.made.streets.append((z, z + wide))
            parts = [(self.start, z - 1), (z + wide + 1, self.end)]
        if rng.random() < style.crosswalks:
            streets = self.made.streets
            z = streets[0][0] - 3.2 if streets else self.start + rng.uniform(5, STRETCH - 5)
            self.made.crosswalks.append(z)
            if rng.random() < 0.6:
                offset = rng.random()
                for side in style.sides:
                    self.add(Light(self.props, offset), side.sign * (side.edge + 0.5), z - 2.2)
        for side in style.sides:
            for start, end in parts:
                self.frontage(side, start, end)
                self.kerbside(side, start, end)
            self.walkers(side)
        if self.anomalies:
            self.unknowns()
        return self.made

    def frontage(self, side: Side, start: float, end: float) -> None:
        """Houses, gardens, walls or fields."""
        kind = self.style.kind
        if kind == "country":
            self.country(side, start, end)
            return
        rng, at = self.rng, start
        before = 0.0  # height of the house that was put just before
        back = {"suburb": rng.uniform(3, 6), "industrial": rng.uniform(4, 10)}.get(kind, 0.0)
        gap = {"city": 0.06, "boulevard": 0.25, "suburb": 0.9, "industrial": 0.6}[kind]
        while at < end - 5:
            facade = self.props.facade(int(rng.integers(1000)))
            wide = facade.wide
            if wide > end - at or (kind == "boulevard" and rng.random() < 0.2):
                self.garden(side, at, end if wide > end - at else at + 8)
                at += end - at if wide > end - at else 8
                before = 0.0
                continue
            d = side.sign * (side.front + back + rng.uniform(0, 0.3))
            z = at + wide / 2
            covered = before >= facade.high + (2.5 if facade.gable else 0)
            self.add(Building(facade, side.sign, self.bend(z, wide), covered), d, z)
            at += wide
            before = facade.high
            if rng.random() < gap:
                room = min(rng.uniform(2, 7), end - at)
                self.garden(side, at, at + room)
                at += room
                before = 0.0
        if back:
            self.barriers(side, start, end)

    def garden(self, side: Side, start: float, end: float) -> None:
        """Trees and bushes between houses, a wall or hedge toward the street."""
        rng = self.rng
        if end - start < 1.5:
            return
        if self.style.kind in ("city", "boulevard"):
            self.barriers(side, start, end)
        for _ in range(max(1, self.number_of((end - start) / 8))):
            d = side.sign * (side.front + rng.uniform(3, 9))
            self.add(self.tree(0.9, 1.3), d, rng.uniform(start, end))

    def tree(self, low: float, high: float) -> Look:
        """A random tree."""
        rng = self.rng
        sprite = self.props.tree(int(rng.integers(1000)))
        return Tree(sprite, bool(rng.random() < 0.5), rng.uniform(low, high))

    def bush(self) -> Look:
        """A random bush."""
        rng = self.rng
        sprite = self.props.bush(int(rng.integers(1000)))
        return Standing(sprite, bool(rng.random() < 0.5), rng.uniform(0.7, 1.3))

    def barriers(self, side: Side, start: float, end: float) -> None:
        """A row of hedge, wall or fence at the front line, or bushes, or nothing."""
        rng = self.rng
        kind = str(
            rng.choice(
                ["hedge", "wall", "fence", "bushes", "none"], p=[0.27, 0.23, 0.27, 0.13, 0.1]
            )
        )
        if kind == "none":
            return
        d = side.sign * (side.front + 0.1)
        if kind == "bushes":
            for z in np.arange(start + 1, end - 1, 2.2):
                self.add(self.bush(), d + side.sign * rng.uniform(0.3, 1.5), float(z))
            return
        number = int(rng.integers(1000))
        high = rng.uniform(0.8, 2.4) if kind == "wall" else rng.uniform(0.9, 2.0)
        thick = {"hedge": rng.uniform(0.6, 1.1), "wall": 0.25}.get(kind, 0.0)
        surface = self.props.barrier(kind, number)
        count = max(1, round((end - start) / PIECE))
        long = (end - start) / count
        for k in range(count):
            z = start + (k + 0.5) * long
            if rng.random() < 0.05:
                continue
            self.add(Barrier(surface, long, high, thick, side.sign, self.bend(z, long)), d, z)

    def country(self, side: Side, start: float, end: float) -> None:
        """Fields with trees, bushes, fences and a house now and then."""
        rng = self.rng
        if rng.random() < 0.35:
            edge = side.walk[1] + rng.uniform(0.8, 3)
            self.barriers(replace(side, front=edge), start, end)
        for _ in range(self.number_of(2.5)):
            d = side.sign * (side.front + rng.exponential(9) + 1)
            self.add(self.tree(0.9, 1.7), d, rng.uniform(start, end))
        if rng.random() < 0.5:
            for z in np.arange(start, end, rng.uniform(3, 6)):
                d = side.sign * (side.front + rng.uniform(14, 22))
                self.add(self.tree(1.0, 1.8), d, float(z))
        for _ in range(self.number_of(2.5)):
            d = side.sign * (side.walk[1] + rng.uniform(1.5, 10))
            self.add(self.bush(), d, rng.uniform(start, end))
        if rng.random() < 0.25 and end - start > 20:
            facade = self.props.facade(int(rng.integers(1000)))
            z = rng.uniform(start + facade.wide / 2, end - facade.wide / 2)
            d = side.sign * (side.front + rng.uniform(3, 8))
            self.add(Building(facade, side.sign, self.bend(z, facade.wide), False), d, z)
        if rng.random() < 0.5:
            z = rng.uniform(start, end)
            self.add(Lamp(rng.uniform(6, 8), 0.0, (104, 84, 64)), side.sign * (side.edge + 2.2), z)
        self.signs(side, start, end, 0.5)

    def kerbside(self, side: Side, start: float, end: float) -> None:
        """Trees, lamps, signs, parked cars and bicycles along the kerb."""
        style, rng = self.style, self.rng
        if style.kind == "country":
            return
        chance = {"boulevard": 0.85, "suburb": 0.5, "city": 0.25}.get(style.kind, 0.3)
        row = rng_for(self.seed, 31, side.sign + 1)
        if row.random() < chance:
            step = row.uniform(7, 14)
            for z in np.arange(math.ceil(start / step) * step, end, step):
                if rng.random() < 0.85:
                    self.add(self.tree(0.6, 0.9), side.sign * side.trees, float(z))
        arm, height = -side.sign * row.uniform(0.8, 1.8), row.uniform(5.5, 9)
        step = row.uniform(20, 32)
        for z in np.arange(math.ceil(start / step) * step + side.sign * 4, end, step):
            if z > start:
                lamp = Lamp(height, arm, self.props.pole_colour())
                self.add(lamp, side.sign * (side.edge + 0.45), float(z))
        self.signs(side, start, end, 1.4)
        if side.parking:
            self.parked(side, start, end)
        for _ in range(self.number_of(0.5 * style.density if end - start > 10 else 0)):
            number, motor = int(rng.integers(1000)), bool(rng.random() < 0.35)
            sideways = 2 if rng.random() < 0.7 else 0
            look = Rider(self.props, number, sideways, motor, False)
            self.add(look, side.sign * (side.edge + rng.uniform(0.6, 1.2)), rng.uniform(start, end))

    def signs(self, side: Side, start: float, end: float, mean: float) -> None:
        """Traffic signs that face the camera."""
        rng = self.rng
        for _ in range(self.number_of(mean * (end - start) / STRETCH)):
            number = int(rng.integers(1000))
            out = 1.6 if number % SIGNS == SIGNS - 1 else 0.5
            look = Post(self.props.sign(number))
            self.add(look, side.sign * (side.edge + out), rng.uniform(start, end))

    def parked(self, side: Side, start: float, end: float) -> None:
        """Cars at the kerb."""
        rng, at = self.rng, start + 1
        fill = 0.25 + 0.6 * self.style.density
        while at < end - 6:
            if rng.random() > fill:
                at += 5
                continue
            kind = "van" if rng.random() < 0.12 else "truck" if rng.random() < 0.05 else "car"
            number = int(rng.integers(60))
            vehicle = self.props.vehicle(kind, number)
            at += vehicle.length / 2
            away = (side.sign > 0) == (self.style.traffic > 0)
            turned = (0.0 if away else math.pi) + rng.normal(0, 0.015)
            d = side.sign * (side.parking + rng.uniform(-0.12, 0.12))
            self.add(Driving(vehicle, self.props.mesh(kind, number), turned), d, at)
            at += vehicle.length / 2 + rng.uniform(0.6, 1.6)

    def walkers(self, side: Side) -> None:
        """People on the sidewalk, and some who cross the road."""
        style, rng = self.style, self.rng
        busy = {"city": 3.0, "boulevard": 2.2, "suburb": 0.9, "industrial": 0.5}.get(
            style.kind, 0.15
        )
        inner, outer = side.walk
        for _ in range(self.number_of(busy * (0.3 + 1.4 * style.density))):
            number, z = int(rng.integers(1000)), rng.uniform(self.start, self.end)
            d = side.sign * rng.uniform(inner + 0.3, max(inner + 0.4, outer - 0.4))
            draw = rng.random()
            direction = 0 if draw < 0.42 else 1 if draw < 0.84 else int(rng.integers(2, 4))
            pace = rng.uniform(0.9, 1.6) if direction < 2 else 0.0
            speed = pace if direction == 0 else -pace
            look = Walker(self.props, number, direction, pace)
            self.add(look, d, z, speed_z=speed, when=self.passing(z))
        crossing = 0.25 * style.density + (0.8 if self.made.crosswalks else 0.0)
        for _ in range(self.number_of(crossing * (0.5 if style.kind != "country" else 0.1))):
            z = (
                self.made.crosswalks[0]
                if self.made.crosswalks
                else rng.uniform(self.start, self.end)
            )
            self.cross(lambda way, pace: Walker(self.props, int(rng.integers(1000)), way, pace),
                       z + rng.uniform(-1.2, 1.2), rng.uniform(0.9, 1.7))  # fmt: skip

    def cross(self, look: Callable[[int, float], Look], z: float, pace: float) -> None:
        """Something that walks over the road before the camera arrives; look(direction, pace)."""
        rng, style = self.rng, self.style
        sign = 1 if rng.random() < 0.5 else -1
        beyond = style.lane(style.own, 0) + sign * rng.uniform(2.2, 3.2)
        made = look(2 if sign > 0 else 3, pace)
        self.add(made, beyond, z, speed_d=sign * pace, when=self.passing(z) - rng.uniform(0, 1.5))

    def unknowns(self) -> None:
        """Unknown objects on the road and beside it."""
        style, rng = self.style, self.rng
        own = style.own
        lane = style.lane(own, 0)
        count = min(7, 2 + self.number_of(1.0))
        for k in range(count):
            sprite = self.props.unknown(self.number * 8 + k)
            look = Standing(sprite, bool(rng.random() < 0.5))
            if k < 2:  # one in each half, so that the camera can drive around both
                z = self.start + 6 + k * STRETCH / 2 + rng.uniform(0, STRETCH / 2 - 9)
            else:
                z = rng.uniform(self.start + 4, self.end - 4)
            draw = rng.random()
            if draw < 0.12:
                self.cross(partial(_same, look), z, rng.uniform(0.4, 1.6))
            elif draw < 0.72 and k < 2:
                self.block(look, lane, z)
            else:
                side = style.sides[int(rng.integers(2))]
                near = 0.4 if side.parking else -0.4
                self.add(look, side.sign * (side.edge + rng.uniform(near, 2.4)), z)

    def block(self, look: Standing, lane: float, z: float) -> None:
        """Put something into the camera's lane, and make the camera drive around what is high."""
        rng, own = self.rng, self.style.own
        half = look.sprite.metres / 2
        if look.sprite.tall < 0.3:
            self.add(look, lane + rng.uniform(-1.3, 1.3), z)
            return
        outward = own.sign * (1 if rng.random() < 0.65 else -1)
        away = half + rng.uniform(0.1, 1.2)
        self.add(look, lane + outward * away, z)
        narrow = half + 1.35 - away  # m that are missing between the object and the camera's path
        if narrow > 0:
            self.made.swerves.append((z, -outward * narrow))


def _same(look: Look, direction: int, pace: float) -> Look:
    """The look of what moves without turning or stepping."""
    return look
