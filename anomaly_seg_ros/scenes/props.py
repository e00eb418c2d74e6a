"""The stock of a sequence: what can stand on its street, made when first needed, then kept.

Every piece depends on the seed and its number alone, so the order of asking changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar, cast

from anomaly_seg_ros.scenes import facades, furniture, people, plants, riders, unknown, vehicles
from anomaly_seg_ros.scenes.bodywork import build_mesh
from anomaly_seg_ros.scenes.canvas import Sprite, Surface
from anomaly_seg_ros.scenes.light import Light
from anomaly_seg_ros.scenes.solids import Mesh
from anomaly_seg_ros.scenes.style import Style
from anomaly_seg_ros.scenes.texture import Colour, rng_for

Made = TypeVar("Made")

FACADES, TREES, BUSHES, BARRIERS, SIGNS, PEOPLE, RIDERS = 9, 6, 4, 3, 8, 12, 6
"""How many different ones a sequence has; unknown objects get new numbers all the time."""


class Facade:
    """A building to be placed: its size and its surfaces."""

    def __init__(self, seed: int, number: int, style: Style, lit: bool) -> None:
        rng = rng_for(seed, 23, number)
        kind = {"suburb": "house", "country": "house", "industrial": "hall"}.get(style.kind, "city")
        if kind == "city" and rng.random() < (0.35 if style.kind == "boulevard" else 0.12):
            kind = "tower"
        if style.kind == "industrial" and rng.random() < 0.25:
            kind = "tower"
        self.kind = kind
        self.wide, self.high = {
            "city": (rng.uniform(8, 16), rng.uniform(8.5, 20)),
            "tower": (rng.uniform(14, 22), rng.uniform(14, 30)),
            "house": (rng.uniform(8, 13), rng.uniform(3.4, 7.0)),
            "hall": (rng.uniform(16, 28), rng.uniform(6, 10)),
        }[kind]
        self.depth = rng.uniform(8, 13)
        self.gable = kind == "house" or (kind == "city" and rng.random() < 0.5)
        self.front, self.side, self.roof = facades.draw_facade(
            seed, number, self.wide, self.high, kind, lit
        )


class Props:
    """Makes and keeps the pieces of one sequence."""

    def __init__(self, seed: int, style: Style, light: Light) -> None:
        self.seed, self.style, self.light = seed, style, light
        across = light.sun[0] * max(light.strength, 0.3)
        up = max(0.3, light.sun[1])
        norm = math.hypot(across, up)
        self.sun = (across / norm, up / norm)
        self._kept: dict[tuple[str, object], object] = {}

    def _keep(self, kind: str, key: object, make: Callable[[], Made]) -> Made:
        if (kind, key) not in self._kept:
            if kind == "unknown" and len(self._kept) > 600:
                self._kept.clear()
            self._kept[kind, key] = make()
        return cast(Made, self._kept[kind, key])

    def facade(self, number: int) -> Facade:
        """A building."""
        number %= FACADES
        lit = self.light.lamps
        return self._keep("facade", number, lambda: Facade(self.seed, number, self.style, lit))

    def tree(self, number: int) -> Sprite:
        """A tree."""
        number %= TREES
        style = self.style
        return self._keep(
            "tree", number,
            lambda: plants.draw_tree(self.seed, number, style.leaves, style.season, self.sun),
        )  # fmt: skip

    def bush(self, number: int) -> Sprite:
        """A bush."""
        number %= BUSHES
        return self._keep(
            "bush", number, lambda: plants.draw_bush(self.seed, number, self.style.leaves, self.sun)
        )

    def barrier(self, kind: str, number: int) -> Surface:
        """A stretch of hedge, wall or fence."""
        number %= BARRIERS
        if kind == "hedge":
            leaves = self.style.leaves
            return self._keep(kind, number, lambda: plants.draw_hedge(self.seed, number, leaves))
        make = furniture.draw_wall if kind == "wall" else furniture.draw_fence
        return self._keep(kind, number, lambda: make(self.seed, number))

    def sign(self, number: int) -> Sprite:
        """A traffic sign, or a board where the number is one before a multiple of SIGNS."""
        number %= SIGNS
        make = furniture.draw_board if number == SIGNS - 1 else furniture.draw_sign
        return self._keep("sign", number, lambda: make(self.seed, number, self.sun))

    def traffic_light(self, state: int) -> Sprite:
        """A traffic light: 0 red, 1 amber, 2 green."""
        return self._keep(
            "light", state, lambda: furniture.draw_traffic_light(self.seed, state, self.sun)
        )

    def vehicle(self, kind: str, number: int) -> vehicles.Vehicle:
        """A vehicle of a kind."""
        return self._keep(kind, number, lambda: vehicles.draw_vehicle(self.seed, number, kind))

    def mesh(self, kind: str, number: int) -> Mesh:
        """The faces of the same vehicle."""
        vehicle = self.vehicle(kind, number)
        return self._keep(kind + " mesh", number, lambda: build_mesh(vehicle, self.light))

    def walker(self, number: int, phase: int, sideways: bool, away: bool) -> Sprite:
        """A pedestrian in a phase of the step."""
        number %= PEOPLE

        def make() -> Sprite:
            outfit = people.draw_outfit(self.seed, number)
            return people.walker(outfit, phase, sideways, away, self.sun)

        return self._keep("walker", (number, phase, sideways, away), make)

    def rider(self, number: int, phase: int, sideways: bool, motor: bool, manned: bool) -> Sprite:
        """A bicycle or motorcycle."""
        number %= RIDERS
        key = (number, phase, sideways, motor, manned)
        return self._keep(
            "rider", key,
            lambda: riders.rider(self.seed, number, phase, sideways, motor, manned, self.sun),
        )  # fmt: skip

    def unknown(self, number: int) -> Sprite:
        """An unknown object; no two numbers are alike."""
        return self._keep(
            "unknown", number, lambda: unknown.draw_unknown(self.seed, number, self.sun)
        )

    def pole_colour(self) -> Colour:
        """The paint of the lamp posts."""
        rng = rng_for(self.seed, 24)
        colours: list[Colour] = [(128, 132, 134), (70, 76, 74), (44, 60, 52), (158, 156, 150)]
        return colours[int(rng.integers(4))]
