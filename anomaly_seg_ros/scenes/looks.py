"""How a thing in the world is painted and what shadow it throws."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.scenes.canvas import Canvas, Sprite, Surface
from anomaly_seg_ros.scenes.people import PHASES
from anomaly_seg_ros.scenes.props import Facade, Props
from anomaly_seg_ros.scenes.solids import Mesh, paint_mesh
from anomaly_seg_ros.scenes.texture import Colour, scaled
from anomaly_seg_ros.scenes.vehicles import Vehicle

POLE = 5
PLAIN = 70.0  # m: beyond, hedges, walls and fences have no texture
Shadows = list[tuple[np.ndarray, bool]]
"""Polygons on the ground [N, 2] in world x, z; True for the dark contact under a thing."""


@dataclass
class Spot:
    """Where a thing is now: world x and z, the road's direction there (radians), and the time."""

    x: float
    z: float
    heading: float
    seconds: float
    seen: np.ndarray  # the same point on the ground in camera axes [3]
    lit: float = 1.0  # how bright the ground is there: less than 1 in a shadow


class Look(ABC):
    """What a thing is to the eye. `reach`: no part is farther from its spot, metres."""

    reach: float = 3.0

    @abstractmethod
    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint it on the canvas."""

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """Its shadows; slant: how far the shadow of a metre's height reaches, in x and z."""
        return []


_CIRCLE = np.array(
    [(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 12, endpoint=False)]
)


def _disc(x: float, z: float, wide: float, long: float) -> np.ndarray:
    return _CIRCLE * (wide, long) + (x, z)


def _hull(corners: np.ndarray, height: float, slant: tuple[float, float]) -> np.ndarray:
    """Outline of the shadow of an upright prism over `corners` [N, 2]."""
    middle = corners[0]
    near = corners - middle  # float32 is fine close to the thing, not at the end of a long road
    points = np.concatenate([near, near + np.asarray(slant) * height])
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64) + middle


def _line(x: float, z: float, half: float, height: float, slant: tuple[float, float]) -> np.ndarray:
    """The shadow of a thin upright post."""
    right, far = slant[0] * height, slant[1] * height
    norm = max(math.hypot(right, far), 1e-6)
    a, b = half * far / norm, -half * right / norm
    return np.array([[x + a, z + b], [x - a, z - b], [x + right - a, z + far - b],
                     [x + right + a, z + far + b]])  # fmt: skip


class Standing(Look):
    """A sprite that stands still: a sign, a bush, a parked bicycle, an unknown object."""

    def __init__(self, sprite: Sprite, mirror: bool = False, size: float = 1.0) -> None:
        self.sprite, self.mirror, self.size = sprite, mirror, size
        self.reach = max(sprite.metres, sprite.tall) * size

    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint it facing the camera."""
        lit = 0.4 + 0.6 * spot.lit
        canvas.sprite(self.sprite, spot.seen, mirror=self.mirror, size=self.size, brightness=lit)

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """A dark contact, and an upright strip laid on the ground."""
        half, tall = self.sprite.metres * self.size / 2, self.sprite.tall * self.size
        under = _disc(spot.x, spot.z + 0.15 * half, half * 0.9, max(0.12, half * 0.5))
        corners = _disc(spot.x, spot.z, half * 0.75, max(0.06, half * 0.3))[::2]
        return [(_hull(corners, tall * 0.85, slant), False), (under, True)]


class Post(Standing):
    """A sprite on a thin post: its shadow is a line."""

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """A thin strip and the plate."""
        tall = self.sprite.tall
        top = _disc(spot.x + slant[0] * (tall - 0.4), spot.z + slant[1] * (tall - 0.4), 0.35, 0.35)
        return [(_line(spot.x, spot.z, 0.04, tall, slant), False), (top, False)]


class Tree(Standing):
    """A tree: stem and crown throw shadows of their own."""

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """A strip for the stem, ragged discs for the crown."""
        wide, tall = self.sprite.metres * self.size, self.sprite.tall * self.size
        result: Shadows = [(_line(spot.x, spot.z, 0.12, tall * 0.6, slant), False)]
        for k in range(6 if spot.seen[2] < 40 else 3):
            angle, out = 2.4 * k, wide * 0.3 * math.sqrt(k / 6)
            height = tall * (0.45 + 0.4 * ((k * 0.618) % 1))
            x = spot.x + out * math.cos(angle) + slant[0] * height
            z = spot.z + out * math.sin(angle) + slant[1] * height
            size = wide * (0.15 + 0.07 * ((k * 0.382) % 1))
            result.append((_disc(x, z, size, size * (1 + 0.5 * abs(slant[1]))), False))
        return result


class Light(Look):
    """A traffic light that changes."""

    reach = 4.0

    def __init__(self, props: Props, offset: float) -> None:
        self.props, self.offset = props, offset

    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint it in the state of the moment."""
        phase = (spot.seconds / 14 + self.offset) % 1
        state = 0 if phase < 0.5 else 1 if phase < 0.58 else 2
        canvas.sprite(self.props.traffic_light(state), spot.seen)

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """A thin strip."""
        return [(_line(spot.x, spot.z, 0.06, 3.0, slant), False)]


class Lamp(Look):
    """A lamp post with an arm over the road, or a plain mast."""

    def __init__(self, height: float, arm: float, colour: Colour) -> None:
        self.height, self.arm, self.colour = height, arm, colour
        self.reach = height

    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint post, arm and head."""
        top, arm = self.height, self.arm
        quads = [[(-0.09, 0), (0.09, 0), (0.05, top), (-0.05, top)]]
        colours = [scaled(self.colour, 0.85)]
        if spot.seen[2] < 40:  # the lit half of the post
            quads.append([(-0.09, 0), (0, 0), (0, top), (-0.05, top)])
            colours.append(scaled(self.colour, 1.15 if canvas.light.sun[0] < 0 else 0.7))
        if arm:
            far = arm * 1.35
            quads += [
                [(0, top - 0.12), (arm, top + 0.2), (arm, top + 0.3), (0, top)],
                [(arm, top + 0.12), (far, top + 0.16), (far, top + 0.28), (arm, top + 0.32)],
            ]
            dusk = canvas.light.mood == "dusk"
            colours += [self.colour, (255, 226, 170) if dusk else scaled(self.colour, 1.2)]
        canvas.upright(np.array(quads), spot.seen, colours, POLE)

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """A thin strip."""
        corners = np.array([[spot.x - 0.08, spot.z], [spot.x + 0.08, spot.z]])
        return [
            (_hull(corners, self.height, slant), False),
            (_disc(spot.x, spot.z, 0.2, 0.2), True),
        ]


class Walker(Look):
    """A pedestrian. direction: 0 away, 1 toward the camera, 2 to the right, 3 to the left."""

    reach = 2.0

    def __init__(self, props: Props, number: int, direction: int, pace: float) -> None:
        self.props, self.number, self.direction, self.pace = props, number, direction, pace

    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint the phase of the moment."""
        steps = spot.seconds * self.pace / 1.4
        phase = round(steps * PHASES) % PHASES if self.pace else 2
        sideways, mirror = self.direction > 1, self.direction == 3
        if not sideways:  # the second half of a step mirrors the first, and each half turns back
            mirror = phase > PHASES // 2
            phase %= PHASES // 2
            phase = min(phase, PHASES // 2 - phase)
        sprite = self.props.walker(self.number, phase, sideways, self.direction == 0)
        lit = 0.4 + 0.6 * spot.lit
        canvas.sprite(sprite, spot.seen, mirror=mirror, brightness=lit)

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """A person's length on the ground."""
        corners = _disc(spot.x, spot.z, 0.2, 0.15)[::3]
        return [(_hull(corners, 1.65, slant), False), (_disc(spot.x, spot.z, 0.28, 0.18), True)]


class Rider(Look):
    """A bicycle or motorcycle with its rider, or parked without. Directions as for Walker."""

    reach = 2.5

    def __init__(
        self, props: Props, number: int, direction: int, motor: bool, manned: bool
    ) -> None:
        self.props, self.number, self.direction = props, number, direction
        self.motor, self.manned = motor, manned

    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint the phase of the moment."""
        phase = round(spot.seconds * PHASES) % PHASES if self.manned and not self.motor else 1
        sideways = self.direction > 1
        sprite = self.props.rider(self.number, phase, sideways, self.motor, self.manned)
        lit = 0.4 + 0.6 * spot.lit
        canvas.sprite(sprite, spot.seen, mirror=self.direction == 3, brightness=lit)

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """A strip as long as the bicycle."""
        wide, long = (0.9, 0.2) if self.direction > 1 else (0.25, 0.8)
        corners = _disc(spot.x, spot.z, wide * 0.8, long * 0.8)[::3]
        height = 1.6 if self.manned else 0.9
        return [(_hull(corners, height, slant), False), (_disc(spot.x, spot.z, wide, long), True)]


class Driving(Look):
    """A vehicle, parked or moving. turned: radians from the road's direction (pi: toward us)."""

    def __init__(self, vehicle: Vehicle, mesh: Mesh, turned: float) -> None:
        self.vehicle, self.mesh, self.turned = vehicle, mesh, turned
        self.reach = vehicle.length / 2 + 1

    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint its faces."""
        lit = 0.5 + 0.5 * spot.lit
        paint_mesh(canvas, self.mesh, spot.seen, spot.heading + self.turned, lit)

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """The body's shadow and the dark ground under it."""
        half, long = self.vehicle.width / 2, self.vehicle.length / 2
        cos, sin = math.cos(spot.heading + self.turned), math.sin(spot.heading + self.turned)
        corners = np.array([[-half, -long], [half, -long], [half, long], [-half, long]])
        turned = corners @ np.array([[cos, -sin], [sin, cos]]) + (spot.x, spot.z)
        wider = corners * 1.02 @ np.array([[cos, -sin], [sin, cos]]) + (spot.x, spot.z)
        return [(_hull(turned, self.vehicle.height * 0.9, slant), False), (wider, True)]


class Building(Look):
    """A house with its front to the road. sign: -1 on the left side, +1 on the right."""

    def __init__(self, facade: Facade, sign: int, bend: float, covered: bool) -> None:
        """bend: how much x changes from its near to its far end. covered: whether a house at
        least as high hides the near end."""
        self.facade, self.sign, self.bend, self.covered = facade, sign, bend, covered
        self.reach = facade.wide / 2 + facade.depth

    def _corners(self, spot: Spot) -> tuple[np.ndarray, np.ndarray]:
        half = np.array([self.bend / 2, self.facade.wide / 2])
        place = np.array([spot.x, spot.z])
        return place - half, place + half

    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint the near end, the roof and the front."""
        facade, sign = self.facade, self.sign
        (x0, z0), (x1, z1) = self._corners(spot)
        high, deep = facade.high, facade.depth
        ridge = high + deep * 0.32 if facade.gable else high
        end = [[x0, 0, z0], [x0 + sign * deep, 0, z0], [x0 + sign * deep, high, z0], [x0, high, z0]]
        light = canvas.light
        gable = light.facing((0.0, 0.0, -1.0))
        if facade.gable:
            peak = np.array([[x0, high - 0.05, z0], [x0 + sign * deep, high - 0.05, z0],
                             [x0 + sign * deep / 2, ridge, z0]])  # fmt: skip
            canvas.polygon(peak, facade.side.mean, facade.side.labels, gable)
        if not self.covered:
            corners = np.array(end if sign > 0 else [end[1], end[0], end[3], end[2]], float)
            canvas.surface(facade.side, corners, gable)
        if facade.gable:
            roof = np.array([[x0 - sign * 0.3, high, z0 - 0.3], [x1 - sign * 0.3, high, z1 + 0.3],
                             [x1 + sign * deep / 2, ridge, z1 + 0.3],
                             [x0 + sign * deep / 2, ridge, z0 - 0.3]])  # fmt: skip
            slope = light.facing((-sign * 0.5, 0.86, 0.0))
            canvas.polygon(roof, facade.roof, facade.side.labels, slope)
        front = [[x0, 0, z0], [x1, 0, z1], [x1, high, z1], [x0, high, z0]]
        if sign > 0:
            front = [front[1], front[0], front[3], front[2]]
        lit = light.facing((-sign * 1.0, 0.0, 0.0))
        canvas.surface(facade.front, np.array(front, float), lit)

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """The block's shadow, and the dark line where it stands."""
        (x0, z0), (x1, z1) = self._corners(spot)
        deep = self.sign * self.facade.depth
        corners = np.array([[x0, z0], [x1, z1], [x1 + deep, z1], [x0 + deep, z0]])
        foot = np.array(
            [[x0 - self.sign * 0.25, z0], [x1 - self.sign * 0.25, z1], [x1, z1], [x0, z0]]
        )
        return [(_hull(corners, self.facade.high, slant), False), (foot, True)]


class Barrier(Look):
    """A piece of hedge, wall or fence along the road."""

    def __init__(
        self, surface: Surface, long: float, high: float, thick: float, sign: int, bend: float
    ) -> None:
        self.surface, self.long, self.high = surface, long, high
        self.thick, self.sign, self.bend = thick, sign, bend
        self.reach = long

    def paint(self, canvas: Canvas, spot: Spot) -> None:
        """Paint top, near end and front."""
        x0, x1 = spot.x - self.bend / 2, spot.x + self.bend / 2
        z0, z1 = spot.z - self.long / 2, spot.z + self.long / 2
        high, deep = self.high, self.sign * self.thick
        light = canvas.light
        if self.thick and spot.seen[2] < 45:
            colour = self.surface.mean
            top = np.array(
                [[x0, high, z0], [x1, high, z1], [x1 + deep, high, z1], [x0 + deep, high, z0]]
            )
            if canvas.camera.y > high:
                canvas.polygon(top, colour, self.surface.labels, light.facing((0, 1, 0)))
            end = np.array([[x0, 0, z0], [x0 + deep, 0, z0], [x0 + deep, high, z0], [x0, high, z0]])
            canvas.polygon(end, colour, self.surface.labels, light.facing((0, 0, -1)) * 0.9)
        front = [[x0, 0, z0], [x1, 0, z1], [x1, high, z1], [x0, high, z0]]
        if self.sign > 0:
            front = [front[1], front[0], front[3], front[2]]
        lit = light.facing((-self.sign * 1.0, 0.0, 0.0)) * (0.5 + 0.5 * spot.lit)
        if spot.seen[2] > PLAIN:
            canvas.polygon(np.array(front, float), self.surface.mean, self.surface.labels, lit)
        else:
            canvas.surface(self.surface, np.array(front, float), lit)

    def shadows(self, spot: Spot, slant: tuple[float, float]) -> Shadows:
        """A strip along it."""
        x0, x1 = spot.x - self.bend / 2, spot.x + self.bend / 2
        z0, z1 = spot.z - self.long / 2, spot.z + self.long / 2
        deep = self.sign * max(self.thick, 0.1)
        corners = np.array([[x0, z0], [x1, z1], [x1 + deep, z1], [x0 + deep, z0]])
        return [(_hull(corners, self.high, slant), False)]
