"""Shapes and paints of cars, vans, trucks, buses and trams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.scenes.texture import Colour, pick, rng_for, scaled, vary

CAR, TRUCK, BUS, TRAIN = 13, 14, 15, 16
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
    profile: tuple[tuple[float, float], ...]
    if tram:
        profile = ((back, low), (back, 1.2), (back + nose, high),
                   (front - nose, high), (front, 1.2), (front, low))  # fmt: skip
    else:
        profile = ((back, low), (back, high), (front - nose, high), (front, low))
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
