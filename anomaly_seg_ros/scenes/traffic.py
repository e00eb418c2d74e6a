"""What drives: endless streams of vehicles and cyclists, known at any time without the past."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.scenes.layout import Layout, Thing
from anomaly_seg_ros.scenes.looks import Driving, Look, Rider
from anomaly_seg_ros.scenes.props import Props
from anomaly_seg_ros.scenes.style import Style
from anomaly_seg_ros.scenes.texture import rng_for

KINDS = ("car", "van", "truck", "bus", "motorcycle")
KIND_SHARES = (0.7, 0.1, 0.08, 0.06, 0.06)


@dataclass(frozen=True)
class Stream:
    """Vehicles in one lane, `gap` metres apart on average, all at one speed (m/s along z)."""

    number: int
    d: float
    speed: float
    gap: float
    kind: str  # mixed | tram | cyclist


class Traffic:
    """All that drives in a sequence."""

    def __init__(self, seed: int, style: Style, props: Props, layout: Layout) -> None:
        self.seed, self.style, self.props, self.layout = seed, style, props, layout
        rng = rng_for(seed, 32)
        self.streams: list[Stream] = []
        busy = 0.3 + style.density

        def stream(d: float, speed: float, gap: float, kind: str = "mixed") -> None:
            self.streams.append(Stream(len(self.streams), d, speed, gap, kind))

        for lane in range(style.other.lanes):
            if rng.random() < 0.75:
                gap = rng.uniform(25, 60) / busy
                stream(style.lane(style.other, lane), -rng.uniform(5, 12), gap)
        for lane in range(1, style.own.lanes):
            if rng.random() < 0.8:
                gap = rng.uniform(25, 55) / busy
                stream(style.lane(style.own, lane), style.speed * rng.uniform(0.6, 1.4), gap)
        if style.tram:
            stream(style.lane(style.other, 0), -rng.uniform(6, 10), rng.uniform(90, 160), "tram")
            rails = self.streams[-1]  # nobody else drives there: a car would run through a tram
            free = [other for other in self.streams[:-1] if abs(other.d - rails.d) > 1]
            self.streams = [*free, rails]
        if rng.random() < 0.6:
            for side in style.sides:
                way = side.sign * style.traffic
                inner = side.parking - 1.7 if side.parking else side.edge - 0.55
                gap = rng.uniform(40, 110)
                stream(side.sign * inner, way * rng.uniform(3, 5), gap, "cyclist")
        self.leader: Look | None = None
        self._gap = rng.uniform(9, 30)
        self._phase = rng.uniform(0, 6.3)
        draw = rng.random()
        if draw < 0.12:
            self.leader = Rider(props, int(rng.integers(99)), 0, bool(rng.random() < 0.6), True)
        elif draw < 0.55:
            kind = "tram" if style.tram and rng.random() < 0.35 else self._kind(rng)
            self.leader = self._look(kind, int(rng.integers(60)), 0.0)

    def _kind(self, rng: np.random.Generator) -> str:
        return str(rng.choice(KINDS, p=KIND_SHARES))

    def _look(self, kind: str, number: int, turned: float) -> Look:
        if kind in ("motorcycle", "cyclist"):
            return Rider(self.props, number, 0 if turned == 0 else 1, kind == "motorcycle", True)
        return Driving(self.props.vehicle(kind, number), self.props.mesh(kind, number), turned)

    def at(self, seconds: float, z: float, sight: float) -> Iterator[Thing]:
        """Everything that drives between z - 15 and z + sight now."""
        for stream in self.streams:
            moved = stream.speed * seconds
            first = math.floor((z - 15 - moved) / stream.gap) - 1
            last = math.ceil((z + sight - moved) / stream.gap) + 1
            for number in range(first, last):
                rng = rng_for(self.seed, 33, stream.number, number)
                if rng.random() < 0.25:
                    continue
                place = (number + rng.uniform(-0.2, 0.2)) * stream.gap + moved
                if not z - 15 < place < z + sight:
                    continue
                kind = self._kind(rng) if stream.kind == "mixed" else stream.kind
                turned = 0.0 if stream.speed > 0 else math.pi
                look = self._look(kind, int(rng.integers(60)), turned)
                yield Thing(look, stream.d + rng.uniform(-0.2, 0.2), place)
        if self.leader is not None:
            gap = self._gap + 3 * math.sin(0.23 * seconds + self._phase)
            if isinstance(self.leader, Driving):
                gap += self.leader.vehicle.length / 2
            lane = self.style.lane(self.style.own, 0)
            yield Thing(self.leader, lane + self.layout.swerve(z + gap)[0], z + gap)
