"""Facades: walls of many materials with windows, doors, shops, balconies and cornices."""

from __future__ import annotations

import cv2
import numpy as np

from anomaly_seg_ros.scenes.canvas import Surface
from anomaly_seg_ros.scenes.texture import (
    Colour,
    clouds,
    mix,
    paint,
    pick,
    rng_for,
    scaled,
    to_bytes,
    vary,
)

BUILDING, WALL = 2, 3
SCALE = 28  # texels per metre

PLASTERS: list[Colour] = [
    (214, 204, 184), (226, 214, 170), (196, 178, 152), (232, 226, 214), (206, 164, 130),
    (178, 186, 188), (212, 190, 176), (162, 152, 142), (190, 200, 180), (224, 196, 150),
]  # fmt: skip
BRICKS: list[Colour] = [
    (150, 84, 64),
    (128, 74, 62),
    (168, 116, 88),
    (122, 96, 82),
    (182, 150, 118),
]
STONES: list[Colour] = [(176, 168, 154), (150, 146, 140), (194, 186, 166), (130, 126, 122)]
PANELS: list[Colour] = [(172, 174, 176), (146, 152, 160), (196, 196, 190), (122, 136, 148)]
FRAMES: list[Colour] = [(236, 234, 228), (92, 72, 56), (70, 74, 78), (206, 200, 188), (52, 66, 58)]
ACCENTS: list[Colour] = [
    (176, 44, 40), (34, 82, 142), (38, 104, 68), (214, 160, 40), (46, 46, 50), (232, 230, 226),
    (120, 42, 84), (222, 108, 40), (64, 140, 160),
]  # fmt: skip


def wall_texture(rng: np.random.Generator, shape: tuple[int, int], material: str) -> np.ndarray:
    """A plain wall, uint8 [h, w, 3]: plaster, brick, stone, panel, wood or metal."""
    height, width = shape
    soft = clouds(rng, shape, 4, 5)
    row, col = np.arange(height)[:, None], np.arange(width)[None, :]
    if material in ("brick", "stone"):
        colour = vary(rng, pick(rng, BRICKS if material == "brick" else STONES), 0.12)
        rows, cols = (3, 8) if material == "brick" else (int(rng.integers(9, 18)), 26)
        line = row // rows
        block = (col + line % 2 * (cols // 2)) // cols
        spread = 0.1 if material == "brick" else 0.06
        tones = rng.normal(0, spread, (height // rows + 1, width // cols + 2)).astype(np.float32)
        joint = (row % rows == 0) | ((col + line % 2 * (cols // 2)) % cols == 0)
        values = tones[line, block] + 0.06 * soft + (0.1 if rng.random() < 0.5 else -0.12) * joint
        return paint(values, colour)
    if material in ("panel", "metal"):
        colour = vary(rng, pick(rng, PANELS), 0.15)
        if material == "metal":
            ribs = 0.07 * np.sin(col * (2 * np.pi / rng.uniform(6, 14))) + 0 * row
            return paint(ribs + 0.05 * soft, colour)
        high, wide = int(rng.uniform(1.0, 3.2) * SCALE), int(rng.uniform(1.2, 4) * SCALE)
        joint = (row % high < 1) | (col % wide < 1)
        tones = rng.normal(0, 0.025, (height // high + 1, width // wide + 1)).astype(np.float32)
        return paint(tones[row // high, col // wide] + 0.05 * soft - 0.22 * joint, colour)
    if material == "wood":
        colour = vary(rng, pick(rng, [(196, 186, 164), (120, 86, 60), (168, 176, 172)]), 0.2)
        boards = row % 5 == 0
        tones = rng.normal(0, 0.04, height // 5 + 1).astype(np.float32)
        return paint(tones[row // 5] + 0.05 * soft - 0.16 * boards, colour)
    speckle = rng.normal(0, 0.018, shape).astype(np.float32)
    return paint(0.06 * soft + speckle, vary(rng, pick(rng, PLASTERS), 0.14))


class _Facade:
    """One facade while it is painted. Places are given in metres from the lower left."""

    def __init__(self, rng: np.random.Generator, wide: float, high: float, lit: bool) -> None:
        self.rng, self.wide, self.high, self.lit = rng, wide, high, lit
        self.shape = (max(8, round(high * SCALE)), max(8, round(wide * SCALE)))
        self.picture = np.zeros((*self.shape, 3), np.uint8)
        self._panes: dict[tuple[int, int], list[np.ndarray]] = {}
        self.frame = pick(rng, FRAMES)
        self.glass = vary(rng, (58, 68, 78), 0.25)
        self.trim = vary(rng, pick(rng, STONES), 0.15)

    def area(self, x: float, y: float, wide: float, high: float) -> tuple[int, int, int, int]:
        """left, top, right, bottom in texels, inside the picture."""
        left, right = round(x * SCALE), round((x + wide) * SCALE)
        bottom, top = (self.shape[0] - round(v * SCALE) for v in (y, y + high))
        return max(0, left), max(0, top), min(self.shape[1], right), min(self.shape[0], bottom)

    def fill(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        """A plain rectangle."""
        left, top, right, bottom = self.area(x, y, wide, high)
        self.picture[top:bottom, left:right] = to_bytes(np.asarray(colour))

    def shade(self, x: float, y: float, wide: float, high: float, factor: float) -> None:
        """Darken or lighten a rectangle."""
        left, top, right, bottom = self.area(x, y, wide, high)
        part = self.picture[top:bottom, left:right]
        self.picture[top:bottom, left:right] = to_bytes(part * np.float32(factor))

    def pane(self, x: float, y: float, wide: float, high: float) -> None:
        """A glass pane: one of a few that the facade has of each size."""
        left, top, right, bottom = self.area(x, y, wide, high)
        rows, cols = bottom - top, right - left
        if rows < 2 or cols < 2:
            return
        kinds = self._panes.setdefault((rows, cols), [])
        if len(kinds) < 7:
            kinds.append(self._pane(rows, cols))
            self.picture[top:bottom, left:right] = kinds[-1]
        else:
            self.picture[top:bottom, left:right] = kinds[int(self.rng.integers(7))]

    def _pane(self, rows: int, cols: int) -> np.ndarray:
        """What a pane mirrors, perhaps a curtain, perhaps light inside: uint8 [rows, cols, 3]."""
        rng = self.rng
        bright = rng.uniform(0.6, 1.7)
        ramp = np.linspace(1.25, 0.8, rows, dtype=np.float32)[:, None, None]
        colours = np.asarray(scaled(self.glass, bright), np.float32) * ramp * np.ones((1, cols, 1))
        if rng.random() < 0.4:
            slope = np.arange(cols)[None, :] * 0.8 + np.arange(rows)[:, None]
            edge = rng.uniform(0.2, 0.9) * (rows + cols)
            colours[slope < edge] *= rng.uniform(1.15, 1.6)
        kind = rng.random()
        if self.lit and kind < 0.35:
            colours[:] = vary(rng, (250, 206, 130), 0.15)
        elif kind < 0.55:
            curtain = np.asarray(vary(rng, (206, 200, 190), 0.15), np.float32)
            if rng.random() < 0.5:
                colours[: int(rows * rng.uniform(0.2, 0.9))] = curtain * 0.8
            else:
                share = max(1, int(cols * rng.uniform(0.12, 0.35)))
                colours[:, :share] = curtain * 0.7
                colours[:, -share:] = curtain * 0.7
        return to_bytes(colours)

    def window(self, x: float, y: float, wide: float, high: float, bars: tuple[int, int]) -> None:
        """A window with reveal, frame, bars and sill."""
        self.shade(x - 0.06, y, wide + 0.12, high + 0.1, 0.72)
        self.fill(x, y, wide, high, self.frame)
        cols, rows = bars
        for i in range(cols):
            for j in range(rows):
                pane_wide, pane_high = (wide - 0.07) / cols, (high - 0.07) / rows
                place = x + 0.07 + i * pane_wide, y + 0.07 + j * pane_high
                self.pane(*place, pane_wide - 0.07, pane_high - 0.07)
        self.fill(x - 0.1, y - 0.1, wide + 0.2, 0.1, scaled(self.trim, 1.08))
        self.shade(x - 0.1, y - 0.22, wide + 0.2, 0.12, 0.8)

    def door(self, x: float, wide: float, high: float) -> None:
        """A door with frame and a pane."""
        colour = vary(self.rng, pick(self.rng, ACCENTS), 0.3)
        self.fill(x - 0.1, 0, wide + 0.2, high + 0.12, scaled(self.trim, 0.95))
        self.fill(x, 0, wide, high, colour)
        self.shade(x + wide / 2 - 0.02, 0, 0.04, high, 0.6)
        if self.rng.random() < 0.6:
            self.pane(x + 0.15, high * 0.5, wide - 0.3, high * 0.42)

    def shop(self, x: float, wide: float, high: float) -> None:
        """A shop front: panes, a sign band with something like writing, perhaps an awning."""
        rng = self.rng
        accent = vary(rng, pick(rng, ACCENTS), 0.2)
        self.fill(x, 0, wide, high, scaled(accent, 0.55))
        count = max(1, round(wide / rng.uniform(1.2, 2.6)))
        each = (wide - 0.2) / count
        for k in range(count):
            self.pane(x + 0.15 + k * each, 0.45, each - 0.12, high - 1.25)
            if rng.random() < 0.6:
                for _ in range(int(rng.integers(1, 5))):
                    spot = x + 0.2 + k * each + rng.uniform(0, max(0.1, each - 0.6))
                    self.fill(spot, 0.5, rng.uniform(0.1, 0.4), rng.uniform(0.2, 1.1),
                              vary(rng, pick(rng, ACCENTS), 0.4))  # fmt: skip
        door = x + rng.uniform(0.1, max(0.2, wide - 1.2))
        self.fill(door, 0, 1.0, high - 0.8, scaled(accent, 0.8))
        self.pane(door + 0.1, 0.2, 0.8, high - 1.2)
        self.fill(x, high - 0.75, wide, 0.65, accent)
        ink = mix(accent, (250, 250, 244), 0.85) if sum(accent) < 420 else scaled(accent, 0.25)
        at = x + rng.uniform(0.2, 0.4 * wide)
        while at < x + wide - 0.4 and rng.random() < 0.93:
            step = rng.uniform(0.12, 0.3)
            self.fill(at, high - 0.6, step - 0.05, rng.uniform(0.2, 0.35), ink)
            at += step
        if rng.random() < 0.4:
            left, top, right, bottom = self.area(x, high - 1.2, wide, 0.55)
            stripes = (np.arange(right - left) // max(4, SCALE // 3)) % 2
            pale = np.asarray((228, 224, 214), np.float32)
            colours = np.where(stripes[None, :, None] == 1, np.asarray(accent, np.float32), pale)
            ramp = np.linspace(1.1, 0.75, max(1, bottom - top), dtype=np.float32)[:, None, None]
            self.picture[top:bottom, left:right] = to_bytes(colours * ramp)
            self.shade(x, high - 1.5, wide, 0.3, 0.6)

    def balcony(self, x: float, y: float, wide: float) -> None:
        """A slab, a railing, and the shadow under it."""
        self.shade(x, y - 0.65, wide, 0.5, 0.68)
        self.fill(x, y - 0.15, wide, 0.16, scaled(self.trim, 0.95))
        if self.rng.random() < 0.4:
            self.fill(x, y, wide, 0.95, vary(self.rng, (160, 170, 172), 0.2))
            return
        colour = scaled(self.frame, 0.55)
        for at in np.arange(x, x + wide, 0.13):
            self.fill(float(at), y, 0.05, 0.95, colour)
        self.fill(x, y + 0.92, wide, 0.07, colour)


def draw_facade(
    seed: int, number: int, wide: float, high: float, kind: str, lit: bool
) -> tuple[Surface, Surface, Colour]:
    """The number-th facade of a seed, about wide x high metres: front, side wall, roof colour.

    kind: city (shops below), house, hall (industrial) or tower (glass and concrete).
    """
    rng = rng_for(seed, 10, number)
    made = _Facade(rng, wide, high, lit)
    materials = {
        "hall": ["metal", "panel", "brick"],
        "tower": ["panel", "stone", "panel"],
        "house": ["plaster", "plaster", "brick", "wood"],
    }.get(kind, ["plaster", "plaster", "brick", "stone", "panel"])
    material = str(rng.choice(materials))
    state = rng_for(seed, 11, number)
    made.picture = wall_texture(state, made.shape, material)
    side = wall_texture(rng_for(seed, 11, number), (made.shape[0], 280), material)
    if kind == "hall":
        _hall(made)
    elif kind == "tower":
        _tower(made)
    else:
        _storeys(made, kind)
    _weather(rng, made.picture)
    _weather(rng, side)
    if kind != "hall":
        windows = _Facade(rng, 10, high, lit)
        windows.picture = side
        for y in np.arange(1.2, high - 2.2, 3.0):
            for x in (2.2, 6.6):
                if rng.random() < 0.35:
                    windows.window(x, float(y), 1.0, 1.4, (1, 1))
    tiles: list[Colour] = [(140, 74, 56), (112, 66, 54), (84, 82, 84), (98, 92, 86), (62, 64, 70)]
    roof = vary(rng, pick(rng, tiles), 0.15)
    return Surface(made.picture, BUILDING), Surface(side, BUILDING), roof


def _storeys(made: _Facade, kind: str) -> None:
    rng, wide, high = made.rng, made.wide, made.high
    shops = kind == "city" and rng.random() < 0.6
    ground = rng.uniform(3.4, 4.4) if shops else rng.uniform(2.8, 3.4)
    storey = rng.uniform(2.7, 3.5)
    count = max(1, round(wide / rng.uniform(2.0, 3.6)))
    pitch = wide / count
    glass_wide = min(pitch - 0.5, rng.uniform(0.9, 1.9))
    glass_high = rng.uniform(1.2, min(2.2, storey - 0.9))
    bars = (int(rng.integers(1, 4)), int(rng.integers(1, 3)))
    shutters = rng.random() < 0.2 and pitch - glass_wide > 1.0
    colour = vary(rng, pick(rng, ACCENTS), 0.3)
    balconies = rng.choice(count + 1, size=min(count, int(rng.integers(0, 3))), replace=False)
    if kind == "house":
        balconies = balconies[:0]
    floor = 0.0 if not shops else ground
    if shops:
        at = 0.0
        while at < wide - 1:
            step = min(wide - at, rng.uniform(3, 8))
            made.shop(at, step, ground - 0.15)
            at += step
        made.fill(0, ground - 0.15, wide, 0.2, made.trim)
    while floor + storey <= high + 0.35:
        for k in range(count):
            x = (k + 0.5) * pitch - glass_wide / 2
            y = floor + 0.9
            if floor == 0 and k == count // 2:
                made.door(x, min(1.1, glass_wide), 2.15)
                continue
            made.window(x, y, glass_wide, min(glass_high, high - y - 0.2), bars)
            if shutters:
                made.fill(x - 0.48, y, 0.42, glass_high, colour)
                made.fill(x + glass_wide + 0.06, y, 0.42, glass_high, colour)
            if floor > 0 and k in balconies:
                made.balcony((k + 0.5) * pitch - pitch * 0.46, floor + 0.1, pitch * 0.92)
        floor += storey
        if rng.random() < 0.35:
            made.fill(0, floor - 0.06, wide, 0.16, made.trim)
    made.shade(0, high - 0.62, wide, 0.25, 0.75)
    made.fill(0, high - 0.4, wide, 0.4, made.trim)


def _hall(made: _Facade) -> None:
    rng, wide, high = made.rng, made.wide, made.high
    at = rng.uniform(0.5, 2)
    while at < wide - 4:
        step = rng.uniform(3, 5)
        if rng.random() < 0.55:
            gate = min(high - 1.2, rng.uniform(3, 4.2))
            colour = vary(rng, pick(rng, [*PANELS, *ACCENTS]), 0.2)
            made.fill(at, 0, step - 0.4, gate, colour)
            for y in np.arange(0.3, gate, 0.45):
                made.shade(at, float(y), step - 0.4, 0.06, 0.8)
        else:
            made.door(at + 0.5, 1.0, 2.1)
        at += step + rng.uniform(0, 3)
    for x in np.arange(0.6, wide - 2.2, 2.4):
        made.window(float(x), high - 1.9, 2.0, 1.0, (2, 1))
    if rng.random() < 0.5:
        made.fill(wide * 0.3, high - 0.8, wide * 0.4, 0.6, vary(rng, pick(rng, ACCENTS), 0.2))


def _tower(made: _Facade) -> None:
    rng, wide, high = made.rng, made.wide, made.high
    storey, pitch = rng.uniform(3.0, 3.8), rng.uniform(1.2, 2.6)
    band = rng.uniform(0.3, 1.3)
    post = rng.uniform(0.08, 0.5)
    floor = rng.uniform(3.5, 4.5)
    made.shop(0, wide, floor - 0.2)
    while floor + storey < high + 0.3:
        for x in np.arange(0, wide, pitch):
            made.pane(float(x) + post, floor + band, pitch - post, storey - band)
        floor += storey
    made.fill(0, high - 0.5, wide, 0.5, made.trim)


def _weather(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Dirt: darker near the ground and in streaks, in place."""
    height, width = picture.shape[:2]
    streaks = cv2.resize(
        rng.uniform(-1, 1, (3, max(2, width // 6))).astype(np.float32), (width, height)
    )
    up = np.arange(height, 0, -1, dtype=np.float32)[:, None] / SCALE
    factor = 1 - 0.16 * np.exp(-up / 0.8) + rng.uniform(0.01, 0.05) * streaks
    picture[:] = to_bytes(picture * factor[..., None])
