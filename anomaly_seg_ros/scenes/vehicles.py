"""Cars, vans, trucks, buses and trams as solids of flat faces, drawn from any side.

A body is a side profile (points along and up) pulled across the vehicle's width, wheels and
windows put on it. Vehicle axes: x to its right, y up, z forward, metres, origin on the ground.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.scenes.camera import NEAR, clipped
from anomaly_seg_ros.scenes.canvas import Canvas
from anomaly_seg_ros.scenes.texture import Colour, mix, pick, rng_for, scaled, vary

CAR, TRUCK, BUS, TRAIN = 13, 14, 15, 16
GLASS: Colour = (46, 54, 62)
TYRE: Colour = (30, 30, 32)
RED: Colour = (176, 30, 28)
WHITE: Colour = (236, 236, 228)
PAINTS: list[Colour] = [
    (232, 232, 230), (206, 208, 210), (140, 144, 148), (78, 80, 84), (36, 37, 40), (24, 25, 28),
    (150, 28, 30), (34, 60, 120), (58, 94, 150), (126, 116, 96), (44, 76, 58), (196, 176, 60),
    (112, 40, 46), (180, 150, 120),
]  # fmt: skip


@dataclass(frozen=True)
class Vehicle:
    """A vehicle's shape and paint.

    profile: corners of the body's lower part seen from its right side, (z, y), from the rear
    bumper over the top to the front. cabin: corners of the part with the windows, or empty.
    """

    label: int
    width: float
    length: float
    height: float
    clearance: float
    profile: tuple[tuple[float, float], ...]
    cabin: tuple[tuple[float, float], ...]
    taper: float  # how much narrower the cabin is on top, m per side
    wheels: tuple[float, ...]  # z of the axles
    wheel: float  # radius
    paint: Colour
    second: Colour  # bumpers, stripe, box of a truck
    windows: tuple[tuple[float, float, float, float], ...]  # on the sides: z0, z1, y0, y1
    ends: str  # car | van | box | bus: what the rear and the front look like


def draw_vehicle(seed: int, number: int, kind: str) -> Vehicle:
    """The number-th vehicle of a seed; kind: car, van, truck, bus or tram."""
    rng = rng_for(seed, 15, number)
    paint = vary(rng, pick(rng, PAINTS), 0.12)
    if kind in ("car", "van"):
        return _car(rng, paint, "van" if kind == "van" else "")
    if kind == "truck":
        return _truck(rng, paint)
    tram = kind == "tram"
    long = rng.uniform(16, 24) if tram else rng.uniform(9.5, 12)
    high, low = (3.4, 0.3) if tram else (rng.uniform(2.9, 3.3), 0.35)
    wide = 2.4 if tram else 2.5
    back, front = -long / 2, long / 2
    nose = 0.9 if tram else 0.12
    profile = (
        (back, low),
        (back + (nose if tram else 0), high),
        (front - nose, high),
        (front, low),
    )
    if tram:
        profile = ((back, low), (back, 1.2), (back + nose, high), (front - nose, high), (front, 1.2),
                   (front, low))  # fmt: skip
    step = rng.uniform(1.4, 2.2)
    count = int((long - 2 * nose - 0.4) / step)
    start = -count * step / 2
    panes = tuple(
        (start + k * step + 0.06, start + (k + 1) * step - 0.06, 1.25 if k % 4 else 0.6, high - 0.6)
        for k in range(count)
    )
    axles = (
        (back + 2.2, front - 2.4) if not tram else (back + 3, back + 4.6, front - 4.6, front - 3)
    )
    accents: list[Colour] = [
        (200, 40, 36),
        (36, 90, 160),
        (230, 190, 50),
        (60, 130, 70),
        (236, 236, 230),
    ]
    return Vehicle(
        TRAIN if tram else BUS, wide, long, high, low, profile, (), 0, axles, 0.3 if tram else 0.48,
        vary(rng, pick(rng, accents), 0.15), vary(rng, pick(rng, accents), 0.15), panes, "bus",
    )  # fmt: skip


def _car(rng: np.random.Generator, paint: Colour, kind: str) -> Vehicle:
    kind = kind or str(rng.choice(["saloon", "hatch", "suv", "estate"], p=[0.3, 0.35, 0.2, 0.15]))
    long = {"saloon": 4.6, "hatch": 4.0, "suv": 4.5, "estate": 4.6, "van": 5.1}[kind]
    long *= rng.uniform(0.95, 1.05)
    high = {"saloon": 1.44, "hatch": 1.5, "suv": 1.72, "estate": 1.48, "van": 2.05}[kind]
    high *= rng.uniform(0.97, 1.04)
    wide = rng.uniform(1.72, 1.9) + (0.12 if kind == "van" else 0)
    low, belt = 0.2 + 0.06 * (kind == "suv"), high * rng.uniform(0.6, 0.65)
    back, front = -long / 2, long / 2
    bonnet = front - (0.75 if kind == "van" else rng.uniform(1.05, 1.25))
    tail = back + {"saloon": 0.75, "van": 0.0}.get(kind, 0.06)
    profile = (
        (back + 0.06, low), (back, low + 0.3), (back + 0.03, belt - 0.06), (tail, belt),
        (bonnet, belt), (front - 0.18, belt - 0.24), (front, low + 0.35), (front - 0.06, low),
    )  # fmt: skip
    slope = {"saloon": 0.55, "hatch": 0.35, "suv": 0.25, "estate": 0.3, "van": 0.06}[kind]
    roof_end = bonnet - rng.uniform(0.6, 0.8)
    cabin = ((tail + 0.02, belt), (tail + slope, high), (roof_end, high), (bonnet + 0.05, belt))
    middle = (tail + slope + roof_end) / 2
    y0, y1 = belt + 0.04, high - 0.08
    lean = (y1 - y0) / (high - belt)
    windows: tuple[tuple[float, float, float, float], ...]
    if kind == "van":
        windows = ((roof_end - 0.75, roof_end + 0.2, y0, y1),)
        if rng.random() < 0.4:
            windows += ((tail + 0.3, roof_end - 0.85, y0, y1),)
    else:
        windows = (
            (tail + slope * lean + 0.12, middle - 0.05, y0, y1),
            (middle + 0.05, roof_end + 0.04, y0, y1),
        )
    trim = scaled(paint, 0.85) if rng.random() < 0.7 else (58, 58, 60)
    radius = rng.uniform(0.3, 0.34) + 0.03 * (kind in ("suv", "van"))
    axles = (back + 0.78, front - 0.85)
    return Vehicle(
        CAR, wide, long, high, low, profile, cabin, 0.16 if kind != "van" else 0.1, axles, radius,
        paint, trim, windows, "van" if kind == "van" else "car",
    )  # fmt: skip


def _truck(rng: np.random.Generator, paint: Colour) -> Vehicle:
    long, high = rng.uniform(6, 9.5), rng.uniform(2.8, 3.7)
    back, front = -long / 2, long / 2
    cab = front - rng.uniform(1.7, 2.2)
    box = min(high, rng.uniform(2.4, 3.7))
    profile = ((back, 0.75), (back, box), (cab - 0.12, box), (cab - 0.12, 0.75))
    cab_high = min(high, rng.uniform(2.3, 2.8))
    cabin = ((cab, 0.45), (cab, cab_high), (front - 0.35, cab_high), (front - 0.05, 1.35),
             (front, 0.45))  # fmt: skip
    second = vary(rng, WHITE if rng.random() < 0.5 else pick(rng, PAINTS), 0.1)
    windows = ((cab + 0.5, front - 0.42, 1.45, cab_high - 0.25),)
    return Vehicle(
        TRUCK, rng.uniform(2.2, 2.5), long, max(box, cab_high), 0.45, profile, cabin, 0.04,
        (back + 1.2, front - 1.1), 0.46, paint, second, windows, "box",
    )  # fmt: skip


class _Brush:
    """Projects one vehicle's faces and paints those that face the camera."""

    def __init__(
        self, canvas: Canvas, vehicle: Vehicle, place: tuple[float, float], heading: float,
        brightness: float,
    ) -> None:  # fmt: skip
        self.canvas, self.vehicle, self.brightness = canvas, vehicle, brightness
        cos, sin = math.cos(heading), math.sin(heading)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        self.turn = turn
        rotation = canvas.camera.rotation()
        self.to_camera = rotation @ turn
        offset = np.array([place[0], 0, place[1]]) - (
            canvas.camera.x,
            canvas.camera.y,
            canvas.camera.z,
        )
        self.shift = rotation @ offset
        self.eye = turn.T @ -offset  # the camera in the vehicle's axes
        self.distance = float(np.hypot(offset[0], offset[2]))

    def face(
        self, points: list[tuple[float, float, float]] | np.ndarray, colour: Colour,
        label: bool = False, gloss: float = 0.0,
    ) -> None:  # fmt: skip
        """A flat face, corners counter-clockwise seen from outside; painted when seen from there."""
        corners = np.asarray(points, float)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if normal @ (self.eye - corners[0]) <= 0:
            return
        normal = self.turn @ (normal / max(float(np.linalg.norm(normal)), 1e-9))
        lit = self.canvas.light.facing((float(normal[0]), float(normal[1]), float(normal[2])))
        if gloss:
            colour = mix(colour, self.canvas.light.zenith, gloss)
        colour = self.canvas.tint(colour, self.distance, lit * self.brightness)
        seen = clipped(corners @ self.to_camera.T + self.shift)
        if seen is None:
            return
        pixels = self.canvas.camera.project(seen)
        self.canvas.pixels(pixels, colour, self.vehicle.label if label else None)

    def across(
        self, start: tuple[float, float], end: tuple[float, float], half: tuple[float, float],
        colour: Colour, label: bool = False, gloss: float = 0.0, inset: float = 0.0,
    ) -> None:  # fmt: skip
        """The face between two profile points (z, y), of half widths `half`, outside being up when
        going forward."""
        (z0, y0), (z1, y1), (a, b) = start, end, half
        a, b = a - inset, b - inset
        points = [(-a, y0, z0), (-b, y1, z1), (b, y1, z1), (a, y0, z0)]
        self.face(points, colour, label, gloss)

    def side(
        self, outline: list[tuple[float, float, float]], sign: int, colour: Colour,
        label: bool = False, gloss: float = 0.0,
    ) -> None:  # fmt: skip
        """A face of the side: corners (z, y, half width) going rear, top, front, bottom."""
        points = [(sign * half, y, z) for z, y, half in outline]
        self.face(points if sign > 0 else points[::-1], colour, label, gloss)


def paint_vehicle(
    canvas: Canvas, vehicle: Vehicle, place: tuple[float, float], heading: float, braking: bool
) -> None:
    """Paint a vehicle standing at world (x, z), looking along `heading` (0: away, radians)."""
    brush = _Brush(canvas, vehicle, place, heading, canvas.lit(*place) * 0.5 + 0.5)
    half, detail = vehicle.width / 2, brush.distance < 70
    low = vehicle.clearance
    for end in (1, -1):
        z = end * (vehicle.length / 2 - 0.35)
        wall = [(half - 0.12, 0.04, z), (half - 0.12, low + 0.4, z),
                (-half + 0.12, low + 0.4, z), (-half + 0.12, 0.04, z)]  # fmt: skip
        brush.face(wall if end > 0 else wall[::-1], (16, 16, 17), True)
    for sign in (-1, 1):
        inner = [(z, y, half - 0.12) for z, y in
                 ((-vehicle.length / 2 + 0.35, 0.12), (-vehicle.length / 2 + 0.35, low + 0.3),
                  (vehicle.length / 2 - 0.35, low + 0.3), (vehicle.length / 2 - 0.35, 0.12))]  # fmt: skip
        brush.side(inner, sign, (14, 14, 15), True)
    if vehicle.ends == "box":
        _body(brush, vehicle.profile, half, 0.0, vehicle.second)
        _wheels(brush, half)
        _body(brush, vehicle.cabin, half - 0.03, 0.02, vehicle.paint)
    else:
        _body(brush, vehicle.profile, half, 0.0, vehicle.paint)
        _wheels(brush, half)
        if vehicle.cabin:
            _body(brush, vehicle.cabin, half - 0.04, vehicle.taper, vehicle.paint)
    if detail:
        _windows(brush, half)
        (_bus_ends if vehicle.ends == "bus" else _ends)(brush, half, braking)


def _body(
    brush: _Brush, profile: tuple[tuple[float, float], ...], half: float, taper: float, colour: Colour
) -> None:  # fmt: skip
    """Pull a profile across: the faces over it and the two sides."""
    top, bottom = max(y for _, y in profile), min(y for _, y in profile)

    def reach(y: float) -> float:
        return half - taper * (y - bottom) / max(top - bottom, 1e-6)

    tall = brush.vehicle.ends in ("car", "van")
    for start, end in zip(profile[:-1], profile[1:], strict=True):
        gloss = 0.12 if abs(end[0] - start[0]) > abs(end[1] - start[1]) else 0.0
        brush.across(start, end, (reach(start[1]), reach(end[1])), colour, True, gloss)
    outline = [(z, y, reach(y)) for z, y in profile]
    for sign in (-1, 1):
        brush.side(outline, sign, colour, True)
        if tall and not taper:
            sill = [(z, y, half + 0.005) for z, y in profile if y < bottom + 0.42]
            low = bottom + 0.2
            band = [
                (sill[0][0], low, half + 0.005),
                (sill[-1][0], low, half + 0.005),
                sill[-1],
                sill[0],
            ]
            brush.side(band, sign, scaled(colour, 0.72))
            shine = [(z, y, half + 0.005) for z, y in (
                (profile[2][0] + 0.1, top - 0.2), (profile[2][0] + 0.1, top - 0.1),
                (profile[-3][0] - 0.1, top - 0.2), (profile[-3][0] - 0.05, top - 0.26))]  # fmt: skip
            brush.side(shine, sign, mix(colour, (255, 255, 255), 0.14))


def _wheels(brush: _Brush, half: float) -> None:
    vehicle = brush.vehicle
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for sign in (-1, 1):
        for axle in vehicle.wheels:
            rings: list[tuple[float, float, Colour, bool]] = [
                (1.16, 0.0, (18, 18, 19), False), (1.0, 0.01, TYRE, True), (0.64, 0.015, (150, 152, 156), False),
                (0.2, 0.02, (60, 60, 62), False),
            ]  # fmt: skip
            for share, out, colour, label in rings:
                radius = vehicle.wheel * share
                ring = [
                    (
                        axle - radius * math.cos(a),
                        max(0.0, vehicle.wheel + radius * math.sin(a)),
                        half + out,
                    )
                    for a in angle
                ]
                brush.side(ring, sign, colour, label)
    for z, sign in ((vehicle.wheels[0], -1), (vehicle.wheels[-1], 1)):
        at = z + sign * vehicle.wheel * 0.9
        for x in (-half + 0.02, half - 0.24):
            tread = [(x + 0.22, 0.0, at), (x + 0.22, vehicle.clearance + 0.12, at),
                     (x, vehicle.clearance + 0.12, at), (x, 0.0, at)]  # fmt: skip
            brush.face(tread if sign > 0 else tread[::-1], TYRE, True)


def _windows(brush: _Brush, half: float) -> None:
    vehicle = brush.vehicle
    belt = vehicle.cabin[0][1] if vehicle.cabin else 0.0
    rise = vehicle.height - belt

    def reach(y: float) -> float:
        inner = half - 0.04 if vehicle.cabin else half
        return inner - vehicle.taper * (y - belt) / rise + 0.01

    for z0, z1, y0, y1 in vehicle.windows:
        shift0, shift1 = 0.0, 0.0
        if vehicle.ends == "car":
            is_rear = z1 < vehicle.windows[-1][1]
            shift0, shift1 = (0.26, 0.0) if is_rear else (0.0, -0.42)
        pane = [(z0 - shift0, y0, reach(y0)), (z0, y1, reach(y1)), (z1, y1, reach(y1)),
                (z1 - shift1, y0, reach(y0))]  # fmt: skip
        upper = [(z0 - shift0 * 0.4, y0 + 0.6 * (y1 - y0), reach(y0 + 0.6 * (y1 - y0))), pane[1], pane[2],
                 (z1 - shift1 * 0.4, y0 + 0.6 * (y1 - y0), reach(y0 + 0.6 * (y1 - y0)))]  # fmt: skip
        for sign in (-1, 1):
            brush.side(pane, sign, GLASS, gloss=0.1)
            brush.side(upper, sign, GLASS, gloss=0.3)
    if vehicle.ends == "bus":
        stripe = [(-vehicle.length / 2 + 1, 0.75, half + 0.006), (-vehicle.length / 2 + 1, 1.1, half + 0.006),
                  (vehicle.length / 2 - 1, 1.1, half + 0.006), (vehicle.length / 2 - 1, 0.75, half + 0.006)]  # fmt: skip
        for sign in (-1, 1):
            brush.side(stripe, sign, vehicle.second)
    elif vehicle.ends == "car":
        for z in (
            vehicle.windows[0][1] + 0.05,
            vehicle.windows[0][0] - 0.1,
            vehicle.windows[1][1] + 0.32,
        ):
            seam = [(z, vehicle.clearance + 0.15, half + 0.006), (z, belt, half + 0.006),
                    (z + 0.018, belt, half + 0.006), (z + 0.018, vehicle.clearance + 0.15, half + 0.006)]  # fmt: skip
            for sign in (-1, 1):
                brush.side(seam, sign, scaled(vehicle.paint, 0.45))


def _plate(
    brush: _Brush, z: float, low: float, high: float, left: float, right: float, colour: Colour,
    front: bool, gloss: float = 0.0, lean: float = 0.0,
) -> None:  # fmt: skip
    """A rectangle on the rear or the front; `lean` moves its upper edge toward the middle."""
    out = 0.012 if front else -0.012
    top = z + out - lean * (1 if front else -1)
    wall = [(right, low, z + out), (right, high, top), (left, high, top), (left, low, z + out)]
    brush.face(wall if front else wall[::-1], colour, False, gloss)


def _ends(brush: _Brush, half: float, braking: bool) -> None:
    """Rear and front of a car, van or truck: glass, lamps, plates, bumpers, grille."""
    vehicle, lamps = brush.vehicle, brush.canvas.light.lamps
    back, front = -vehicle.length / 2, vehicle.length / 2
    red: Colour = (255, 60, 50) if braking or lamps else RED
    if vehicle.ends == "box":
        height = vehicle.profile[1][1]
        _plate(brush, back, 0.8, height - 0.1, -0.015, 0.015, scaled(vehicle.second, 0.5), False)
        _plate(brush, back, 0.5, 0.68, -half + 0.1, half - 0.1, (44, 44, 46), False)
        for sign in (-1, 1):
            _plate(
                brush,
                back,
                0.52,
                0.66,
                *sorted((sign * (half - 0.45), sign * (half - 0.12))),
                red,
                False,
            )
        high = vehicle.cabin[2][1]
        _glass(brush, (front - 0.07, 1.4), (front - 0.33, high - 0.15), half - 0.15)
        _plate(brush, front - 0.02, 0.75, 1.2, -half * 0.6, half * 0.6, (40, 40, 42), True)
        for sign in (-1, 1):
            pair = sorted((sign * (half - 0.5), sign * (half - 0.15)))
            _plate(brush, front - 0.01, 0.6, 0.78, *pair, (255, 252, 236) if lamps else WHITE, True)
        return
    belt, low = vehicle.cabin[0][1], vehicle.clearance
    rear_low, rear_high = vehicle.cabin[0], vehicle.cabin[1]
    front_high, front_low = vehicle.cabin[2], vehicle.cabin[3]
    share = 0.12

    def along(a: tuple[float, float], b: tuple[float, float], t: float) -> tuple[float, float]:
        return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t

    top_half = half - 0.04 - vehicle.taper
    _glass(
        brush, along(rear_low, rear_high, share), along(rear_low, rear_high, 0.88), top_half - 0.06
    )
    _glass(
        brush,
        along(front_low, front_high, share),
        along(front_low, front_high, 0.9),
        top_half - 0.02,
    )
    _plate(brush, back, low + 0.04, low + 0.3, -half + 0.04, half - 0.04, vehicle.second, False)
    _plate(brush, front, low + 0.04, low + 0.33, -half + 0.04, half - 0.04, vehicle.second, True)
    for sign in (-1, 1):
        tall = 0.42 if vehicle.ends == "van" else 0.2
        pair = sorted((sign * (half - 0.38), sign * (half - 0.05)))
        _plate(brush, back + 0.02, belt - 0.1 - tall, belt - 0.1, *pair, red, False)
        white: Colour = (255, 252, 236) if lamps else (222, 226, 228)
        pair = sorted((sign * (half - 0.45), sign * (half - 0.06)))
        _plate(brush, front - 0.09, belt - 0.4, belt - 0.25, *pair, white, True, lean=0.06)
    _plate(brush, back, low + 0.36, low + 0.48, -0.26, 0.26, WHITE, False)
    _plate(brush, front, low + 0.14, low + 0.26, -0.26, 0.26, WHITE, True)
    _plate(brush, front, low + 0.3, low + 0.42, -0.42, 0.42, (36, 36, 38), True, lean=0.04)
    for sign in (-1, 1):
        pair = sorted((sign * (half - 0.02), sign * (half + 0.17)))
        z = vehicle.cabin[3][0] - 0.45
        _plate(brush, z, belt + 0.02, belt + 0.16, *pair, scaled(vehicle.paint, 0.8), True)
        _plate(brush, z, belt + 0.02, belt + 0.16, *pair, (70, 76, 82), False)
    if lamps:
        for sign in (-1, 1):
            _lamp(brush, sign * (half - 0.25), belt - 0.32, front, (255, 248, 220), 0.12)


def _bus_ends(brush: _Brush, half: float, braking: bool) -> None:
    vehicle, lamps = brush.vehicle, brush.canvas.light.lamps
    profile = vehicle.profile
    front_low, front_high = profile[-2], profile[-3]
    if len(profile) == 4:
        front_low, front_high = profile[3], profile[2]
        back = -vehicle.length / 2
        _plate(
            brush, back, 1.7, vehicle.height - 0.5, -half + 0.25, half - 0.25, GLASS, False, 0.12
        )
        _plate(brush, back, 0.6, 1.3, -half + 0.4, half - 0.4, scaled(vehicle.paint, 0.7), False)
        for sign in (-1, 1):
            pair = sorted((sign * (half - 0.3), sign * (half - 0.08)))
            red: Colour = (255, 60, 50) if braking or lamps else RED
            _plate(brush, back, 0.7, 1.15, *pair, red, False)
        start = 0.36
    else:
        _glass(
            brush, (profile[1][0], 1.25), (profile[2][0], vehicle.height - 0.1), half - 0.2, True
        )
        start = 0.02

    def along(t: float) -> tuple[float, float]:
        return (front_low[0] + (front_high[0] - front_low[0]) * t,
                front_low[1] + (front_high[1] - front_low[1]) * t)  # fmt: skip

    _glass(brush, along(start), along(0.86), half - 0.12)
    (z0, y0), (z1, y1) = along(0.88), along(0.97)
    board = [(half * 0.6, y0, z0 + 0.02), (half * 0.6, y1, z1 + 0.02), (-half * 0.6, y1, z1 + 0.02),
             (-half * 0.6, y0, z0 + 0.02)]  # fmt: skip
    brush.face(board, (240, 150, 40) if lamps else (30, 30, 30))
    for sign in (-1, 1):
        pair = sorted((sign * (half - 0.55), sign * (half - 0.15)))
        _plate(brush, vehicle.length / 2 - 0.02, 0.55, 0.8, *pair, (255, 252, 236), True, lean=0.01)


def _glass(
    brush: _Brush, low: tuple[float, float], high: tuple[float, float], half: float, rear: bool = False
) -> None:  # fmt: skip
    """A window across, from (z, y) below to above; dark below, mirroring the sky above."""
    forward = low[0] > high[0] if not rear else False
    steps = 4
    for k in range(steps):
        (z0, y0), (z1, y1) = (
            (low[0] + (high[0] - low[0]) * t, low[1] + (high[1] - low[1]) * t)
            for t in (k / steps, (k + 1) / steps)
        )
        out = 0.015 if forward else -0.015
        wall = [
            (half, y0, z0 + out),
            (half, y1, z1 + out),
            (-half, y1, z1 + out),
            (-half, y0, z0 + out),
        ]
        brush.face(wall if forward else wall[::-1], GLASS, gloss=0.06 + 0.11 * k)


def _lamp(brush: _Brush, x: float, y: float, z: float, colour: Colour, radius: float) -> None:
    """A shining lamp on the front, when the front is seen."""
    if brush.eye[2] < z:
        return
    seen = np.array([x, y, z]) @ brush.to_camera.T + brush.shift
    if seen[2] > NEAR:
        brush.canvas.glow(seen, radius, colour)
