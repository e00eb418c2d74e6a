"""From a vehicle's shape to its faces: body, wheels, windows, lamps.

A body is a side profile pulled across the vehicle's width; wheels and windows are put on it.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from anomaly_seg_ros.scenes.light import Light
from anomaly_seg_ros.scenes.solids import Mesh, Solid
from anomaly_seg_ros.scenes.texture import Colour, mix, scaled
from anomaly_seg_ros.scenes.vehicles import WHITE, Vehicle

GLASS: Colour = (46, 54, 62)
TYRE: Colour = (30, 30, 32)
DARK: Colour = (40, 40, 42)
SHINE: Colour = (255, 252, 236)
RED: Colour = (176, 30, 28)
ON: Colour = (255, 60, 50)
Point = tuple[float, float]


def build_mesh(vehicle: Vehicle, light: Light) -> Mesh:
    """All faces of a vehicle in the order of painting."""
    made = Solid(vehicle.label, light)
    half, low, long = vehicle.width / 2, vehicle.clearance, vehicle.length / 2
    for end in (1, -1):
        made.plate(
            end * (long - 0.35), (0.12 - half, half - 0.12), (0.04, low + 0.4), (16, 16, 17),
            end > 0, True,
        )  # fmt: skip
    inner = [(-long + 0.35, 0.12), (-long + 0.35, low + 0.3), (long - 0.35, low + 0.3),
             (long - 0.35, 0.12)]  # fmt: skip
    made.fine = True
    made.sides([(z, y, half - 0.12) for z, y in inner], (14, 14, 15), True)
    made.fine = False
    box = vehicle.ends == "box"
    _body(made, vehicle, vehicle.profile, half, 0.0, vehicle.second if box else vehicle.paint)
    _wheels(made, vehicle)
    if vehicle.cabin:
        inset, taper = (0.03, 0.02) if box else (0.04, vehicle.taper)
        # The back wall of a truck's cab stands behind the load: painted, it would cover it.
        _body(made, vehicle, vehicle.cabin, half - inset, taper, vehicle.paint, not box)
    made.fine = True
    _windows(made, vehicle)
    {"bus": _bus_ends, "box": _truck_ends}.get(vehicle.ends, _car_ends)(made, vehicle)
    return made.finished()


def _body(
    made: Solid,
    vehicle: Vehicle,
    profile: tuple[Point, ...],
    half: float,
    taper: float,
    colour: Colour,
    closed: bool = True,
) -> None:
    """Pull a profile across: the faces over it (the rearmost only if closed) and the two sides."""
    top, bottom = max(y for _, y in profile), min(y for _, y in profile)

    def reach(y: float) -> float:
        return half - taper * (y - bottom) / max(top - bottom, 1e-6)

    for start, end in pairwise(profile if closed else profile[1:]):
        gloss = 0.12 if abs(end[0] - start[0]) > abs(end[1] - start[1]) else 0.0
        made.across(start, end, (reach(start[1]), reach(end[1])), colour, True, gloss)
    made.sides([(z, y, reach(y)) for z, y in profile], colour, True)
    if taper or vehicle.ends not in ("car", "van"):
        return
    out = half + 0.005
    back, front, sill = profile[0][0], profile[-1][0], bottom + 0.2
    lower = [(back, sill, out), (front, sill, out), (front, bottom, out), (back, bottom, out)]
    made.sides(lower, scaled(colour, 0.72))
    rear, nose = profile[2][0] + 0.1, profile[-3][0] - 0.05
    shine = [(rear, top - 0.2, out), (rear, top - 0.1, out), (nose - 0.05, top - 0.2, out),
             (nose, top - 0.26, out)]  # fmt: skip
    made.sides(shine, mix(colour, (255, 255, 255), 0.14))


def _wheels(made: Solid, vehicle: Vehicle) -> None:
    half, radius = vehicle.width / 2, vehicle.wheel
    angle = np.linspace(0, 2 * np.pi, 18, endpoint=False).tolist()
    rings: list[tuple[float, float, Colour, bool]] = [
        (1.16, 0.0, (18, 18, 19), False), (1.0, 0.01, TYRE, True),
        (0.64, 0.015, (150, 152, 156), False), (0.2, 0.02, (60, 60, 62), False),
    ]  # fmt: skip
    for axle in vehicle.wheels:
        for share, out, colour, outer in rings:
            size = radius * share
            made.fine = share != 1.0
            ring = [
                (axle - size * math.cos(a), max(0.0, radius + size * math.sin(a)), half + out)
                for a in angle
            ]
            made.sides(ring, colour, outer)
    made.fine = False
    for axle, sign in ((vehicle.wheels[0], -1), (vehicle.wheels[-1], 1)):
        at, up = axle + sign * radius * 0.9, (0.0, vehicle.clearance + 0.12)
        for x in (0.02 - half, half - 0.24):
            made.plate(at, (x, x + 0.22), up, TYRE, sign > 0, True)


def _windows(made: Solid, vehicle: Vehicle) -> None:
    half = vehicle.width / 2
    belt = vehicle.cabin[0][1] if vehicle.cabin else 0.0
    inner = half - 0.04 if vehicle.cabin else half

    def at(z: float, y: float) -> tuple[float, float, float]:
        return z, y, inner - vehicle.taper * (y - belt) / (vehicle.height - belt) + 0.01

    car = vehicle.ends == "car"
    for z0, z1, y0, y1 in vehicle.windows:
        last = z1 >= vehicle.windows[-1][1]
        rear = 0.26 if car and not last else 0.0
        fore = 0.42 if car and last else 0.0
        middle = y0 + 0.6 * (y1 - y0)
        pane = [at(z0 - rear, y0), at(z0, y1), at(z1, y1), at(z1 + fore, y0)]
        upper = [at(z0 - rear * 0.4, middle), pane[1], pane[2], at(z1 + fore * 0.4, middle)]
        made.sides(pane, GLASS, gloss=0.1)
        made.sides(upper, GLASS, gloss=0.3)

    def strip(z0: float, z1: float, y0: float, y1: float, colour: Colour) -> None:
        out = half + 0.006
        made.sides([(z0, y0, out), (z0, y1, out), (z1, y1, out), (z1, y0, out)], colour)

    if vehicle.ends == "bus":
        strip(1 - vehicle.length / 2, vehicle.length / 2 - 1, 0.75, 1.1, vehicle.second)
    elif car:
        first, second = vehicle.windows
        for z in (first[1] + 0.05, first[0] - 0.1, second[1] + 0.32):
            strip(z, z + 0.018, vehicle.clearance + 0.15, belt, scaled(vehicle.paint, 0.45))
        for z in (first[1] - 0.25, second[1] - 0.1):
            strip(z, z + 0.16, belt - 0.16, belt - 0.13, scaled(vehicle.paint, 0.6))


def _truck_ends(made: Solid, vehicle: Vehicle) -> None:
    half, back, front = vehicle.width / 2, -vehicle.length / 2, vehicle.length / 2
    lamps = made.light.lamps
    height = vehicle.profile[1][1]
    made.plate(back, (-0.015, 0.015), (0.8, height - 0.1), scaled(vehicle.second, 0.5), False)
    made.plate(back, (0.1 - half, half - 0.1), (0.5, 0.68), DARK, False)
    _glass(made, (front - 0.07, 1.4), (front - 0.33, vehicle.cabin[2][1] - 0.15), half - 0.15, True)
    made.plate(front - 0.02, (-half * 0.6, half * 0.6), (0.75, 1.2), DARK, True)
    for sign in (-1, 1):
        tail = (sign * (half - 0.45), sign * (half - 0.12))
        made.plate(back, tail, (0.52, 0.66), ON if lamps else RED, False)
        head = (sign * (half - 0.5), sign * (half - 0.15))
        made.plate(front - 0.01, head, (0.6, 0.78), SHINE if lamps else WHITE, True)
        mirror = (sign * (half + 0.02), sign * (half + 0.22))
        for end in (True, False):
            made.plate(front - 0.3, mirror, (1.5, 2.0), DARK, end, True)


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _car_ends(made: Solid, vehicle: Vehicle) -> None:
    """Rear and front of a car or van: glass, lamps, plates, bumpers, grille, mirrors."""
    half, back, front = vehicle.width / 2, -vehicle.length / 2, vehicle.length / 2
    lamps, low, belt = made.light.lamps, vehicle.clearance, vehicle.cabin[0][1]
    rear_low, rear_high, front_high, front_low = vehicle.cabin
    inner = half - 0.04 - vehicle.taper
    _glass(made, _between(rear_low, rear_high, 0.12), _between(rear_low, rear_high, 0.88),
           inner - 0.06, False)  # fmt: skip
    _glass(made, _between(front_low, front_high, 0.12), _between(front_low, front_high, 0.9),
           inner - 0.02, True)  # fmt: skip
    whole = (0.04 - half, half - 0.04)
    made.plate(back, whole, (low + 0.04, low + 0.3), vehicle.second, False)
    made.plate(front, whole, (low + 0.04, low + 0.33), vehicle.second, True)
    tall = 0.42 if vehicle.ends == "van" else 0.2
    for sign in (-1, 1):
        tail = (sign * (half - 0.38), sign * (half - 0.05))
        made.plate(back + 0.02, tail, (belt - 0.1 - tall, belt - 0.1), ON if lamps else RED, False)
        head = (sign * (half - 0.45), sign * (half - 0.06))
        colour = SHINE if lamps else (222, 226, 228)
        made.plate(front - 0.09, head, (belt - 0.4, belt - 0.25), colour, True, lean=0.06)
        mirror = (sign * (half - 0.02), sign * (half + 0.17))
        z = front_low[0] - 0.45
        made.plate(z, mirror, (belt + 0.02, belt + 0.16), scaled(vehicle.paint, 0.8), True, True)
        made.plate(z, mirror, (belt + 0.02, belt + 0.16), (70, 76, 82), False, True)
        if lamps:
            made.lamps.append(((sign * (half - 0.25), belt - 0.32, front), 0.12, (255, 248, 220)))
    made.plate(back, (-0.26, 0.26), (low + 0.36, low + 0.48), WHITE, False)
    made.plate(front, (-0.26, 0.26), (low + 0.14, low + 0.26), WHITE, True)
    made.plate(front, (-0.42, 0.42), (low + 0.3, low + 0.42), (36, 36, 38), True, lean=0.04)


def _bus_ends(made: Solid, vehicle: Vehicle) -> None:
    half, back, front = vehicle.width / 2, -vehicle.length / 2, vehicle.length / 2
    lamps, high = made.light.lamps, vehicle.height
    profile = vehicle.profile
    low, top, start = profile[-2], profile[-3], 0.02
    if len(profile) == 4:  # a bus; a tram has pointed ends
        low, top, start = profile[3], profile[2], 0.36
        made.plate(back, (0.25 - half, half - 0.25), (1.7, high - 0.5), GLASS, False)
        grille = scaled(vehicle.paint, 0.7)
        made.plate(back, (0.4 - half, half - 0.4), (0.6, 1.3), grille, False)
        for sign in (-1, 1):
            tail = (sign * (half - 0.3), sign * (half - 0.08))
            made.plate(back, tail, (0.7, 1.15), ON if lamps else RED, False)
    else:
        _glass(made, (profile[1][0], 1.25), (profile[2][0], high - 0.1), half - 0.2, False)
    _glass(made, _between(low, top, start), _between(low, top, 0.86), half - 0.12, True)
    (z0, y0), (z1, y1) = _between(low, top, 0.88), _between(low, top, 0.97)
    wide = half * 0.6
    board = [(wide, y0, z0 + 0.02), (wide, y1, z1 + 0.02), (-wide, y1, z1 + 0.02),
             (-wide, y0, z0 + 0.02)]  # fmt: skip
    made.face(board, (240, 150, 40) if lamps else (30, 30, 30))
    for sign in (-1, 1):
        head = (sign * (half - 0.55), sign * (half - 0.15))
        made.plate(front - 0.02, head, (0.55, 0.8), SHINE, True, lean=0.01)


def _glass(made: Solid, low: Point, high: Point, half: float, front: bool) -> None:
    """A window across, from (z, y) below to above; dark below, mirroring the sky above."""
    out = 0.015 if front else -0.015
    for k in range(3):
        (z0, y0), (z1, y1) = _between(low, high, k / 3), _between(low, high, (k + 1) / 3)
        wall = [(half, y0, z0 + out), (half, y1, z1 + out), (-half, y1, z1 + out),
                (-half, y0, z0 + out)]  # fmt: skip
        made.face(wall if front else wall[::-1], GLASS, gloss=0.06 + 0.14 * k)
