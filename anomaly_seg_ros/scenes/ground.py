"""The ground: one texture of the street, repeated along it, looked up for every pixel."""

from __future__ import annotations

import math

import cv2
import numpy as np

from anomaly_seg_ros.scenes.camera import Camera
from anomaly_seg_ros.scenes.light import Light
from anomaly_seg_ros.scenes.style import ROAD, Side, Style
from anomaly_seg_ros.scenes.texture import (
    Colour,
    clouds,
    grain,
    mix,
    paint,
    rng_for,
    scaled,
    to_bytes,
)

PERIOD = 48.0  # m along the road after which the texture repeats
HALF = 16.0  # m to each side; beyond, the outer strip is mirrored again and again
STRIP = 4.0  # m of plain asphalt to the right of the street: what side streets are made of
COLUMN = 0.016  # m per texel across
ROW = 0.05  # m per texel along
SKYLINE = 220.0  # m: the haze on the ground ends there, or fields would look like water
LEVELS = ((0, 0, 0.07), (0, 2, 0.28), (1, 4, 1.1), (2, 6, 1e9))
"""Halvings across, along, and up to which length of a pixel on the ground (m) it serves."""


class Ground:
    """Texture and labels of the ground, and how to paint them."""

    def __init__(self, seed: int, style: Style, light: Light) -> None:
        self._light = light
        self._style = style
        painter = _Painter(seed, style)
        texture = painter.paint()
        self._levels = []
        for across, along, _ in LEVELS:
            size = (texture.shape[1] >> across, texture.shape[0] >> along)
            self._levels.append(cv2.resize(texture, size, interpolation=cv2.INTER_AREA))
        self._ids = _label_table(style)

    def draw(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        camera: Camera,
        crossings: list[tuple[float, float]],
    ) -> None:
        """Fill everything below the horizon. crossings: where side streets start and end, z."""
        height, width = labels.shape
        first = max(0, camera.horizon()[0] - 1)
        if first >= height:
            return
        x, z = camera.ground(first)
        base = math.floor(camera.z / PERIOD) * PERIOD
        z = z + camera.z
        far = np.clip(z, camera.z - 50, camera.z + 400)
        d = x + camera.x - self._style.bends.x(far)
        cell = 8
        size = ((x.shape[1]) * cell, x.shape[0])
        column = _spread((d + HALF) / COLUMN, size)[:, cell : cell + width]
        along = _spread((z - base) / ROW, size)[:, cell : cell + width]
        outside = [side.bands[-1].start for side in self._style.sides]
        column = _fold(column, outside)
        for start, end in crossings:
            middle = float(z[:, z.shape[1] // 2].min())
            if end < middle - 60:
                continue
            inside = (along > (start - base) / ROW) & (along < (end - base) / ROW)
            room = (STRIP - 0.4) / COLUMN
            share = np.mod(column[inside], 2 * room)
            column[inside] = (2 * HALF + 0.2) / COLUMN + np.abs(room - share)
        self._look_up(image, labels, camera, first, column, along)

    def _look_up(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        camera: Camera,
        first: int,
        column: np.ndarray,
        along: np.ndarray,
    ) -> None:
        lens = camera.lens
        rows = np.arange(first, lens.height)
        angle = np.arctan((rows - (lens.height - 1) / 2) / lens.focal) + camera.pitch
        distance = camera.y / np.maximum(np.tan(angle), 1e-4)
        length = (distance**2 + camera.y**2) / (lens.focal * camera.y)
        start = 0
        bounds = [int(np.searchsorted(-length, -limit)) for *_, limit in LEVELS]
        bounds[-1] = 0
        fade = np.array([self._light.fade(min(v, SKYLINE)) for v in distance[::4]])
        fade = np.interp(np.arange(len(rows)), np.arange(len(fade)) * 4, fade)[:, None]
        for level in range(len(LEVELS) - 1, -1, -1):
            end = bounds[level - 1] if level else len(rows)
            if end <= start:
                continue
            part = np.s_[start:end]
            halve_across, halve_along, _ = LEVELS[level]
            picture = cv2.remap(
                self._levels[level],
                _at_level(column[part], halve_across),
                _at_level(along[part], halve_along),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_WRAP,
            )
            image[first + start : first + end] = picture
            start = end
        hazy = int(np.searchsorted(-fade[:, 0], -0.01))
        if hazy:
            share = fade[:hazy, :, None].astype(np.float32)
            area = image[first : first + hazy]
            haze = np.asarray(self._light.haze, np.float32)
            area[:] = (area * (1 - share) + haze * share + 0.5).astype(np.uint8)
        labels[first:] = np.take(self._ids, column.astype(np.int32), mode="clip")


def _spread(coarse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every column from every eighth one; along a row the ground runs evenly, so this is exact."""
    return cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)


def _at_level(texels: np.ndarray, halvings: int) -> np.ndarray:
    """Places in the full texture to places in one halved so many times."""
    return (texels + 0.5) * 0.5**halvings - 0.5 if halvings else texels


def _fold(column: np.ndarray, outer: list[float]) -> np.ndarray:
    """Mirror what lies outside the texture back into its outer strips, from |d| = outer on."""
    middle = HALF / COLUMN
    if column.min() > 0 and column.max() < 2 * middle:
        return column.copy()
    result = column.copy()
    for sign, start in zip((-1, 1), outer, strict=True):
        beyond = sign * (column - middle) > middle
        room = max(HALF - start, 0.5) / COLUMN
        share = np.mod(sign * (column[beyond] - middle) - middle, 2 * room)
        result[beyond] = middle + sign * (middle - np.abs(room - np.abs(share - room)))
    return result


def _label_table(style: Style) -> np.ndarray:
    """Label of every texel across the texture, uint8 [columns]."""
    at = (np.arange(round((2 * HALF + STRIP) / COLUMN)) + 0.5) * COLUMN - HALF
    table = np.full(len(at), ROAD, np.uint8)
    for side in style.sides:
        for band in side.bands:
            inside = (side.sign * at >= band.start) & (side.sign * at < min(band.end, HALF))
            table[inside] = band.label
    return table


class _Painter:
    """Paints the texture, uint8 [PERIOD / ROW, (2 HALF + STRIP) / COLUMN, 3]."""

    def __init__(self, seed: int, style: Style) -> None:
        self.style = style
        self.rng = rng_for(seed, 6)
        self.shape = (round(PERIOD / ROW), round((2 * HALF + STRIP) / COLUMN))
        self.coarse = clouds(self.rng, (400, 562), 10, 5)
        self.coarse = cv2.resize(self.coarse, self.shape[::-1], interpolation=cv2.INTER_LINEAR)
        self.fine = grain(self.rng, self.shape)
        self.picture = np.zeros((*self.shape, 3), np.uint8)

    def columns(self, start: float, end: float) -> slice:
        """Texture columns of d from start to end."""
        low, high = sorted((start, end))
        return slice(
            max(0, round((low + HALF) / COLUMN)),
            min(round(2 * HALF / COLUMN), round((high + HALF) / COLUMN)),
        )

    def fill(self, where: slice, colour: Colour, blotch: float, speckle: float) -> None:
        """Noise of one colour over some columns."""
        if where.stop <= where.start:
            return
        values = blotch * self.coarse[:, where] + speckle * self.fine[:, where]
        self.picture[:, where] = paint(values, colour)

    def paint(self) -> np.ndarray:
        """The whole street."""
        style = self.style
        plain = round(2 * HALF / COLUMN)
        self.fill(slice(plain, self.shape[1]), style.asphalt, 0.07, 0.09)
        for side in style.sides:
            for band in side.bands:
                where = self.columns(side.sign * band.start, side.sign * band.end)
                self.band(band.material, where)
        self.wear()
        self.cracks()
        for side in style.sides:
            self.lines(side)
        if style.tram:
            self.rails()
        return self.picture

    def band(self, material: str, where: slice) -> None:
        """One strip of one material."""
        style, rng = self.style, self.rng
        if material == "asphalt":
            self.fill(where, style.asphalt, 0.07, 0.09)
        elif material == "parking":
            tone = rng.uniform(0.8, 1.15)
            self.fill(where, scaled(style.asphalt, tone), 0.08, 0.1)
            if rng.random() < 0.5:
                self.joints(where, 0.25, 0.2, 0.16)
        elif material == "cycle":
            reds: list[Colour] = [(138, 74, 62), (84, 108, 92), (96, 96, 98), (82, 96, 122)]
            self.fill(where, reds[int(rng.integers(4))], 0.06, 0.07)
        elif material == "kerb":
            tone = rng.uniform(0.95, 1.25)
            self.fill(where, scaled((168, 166, 160), tone), 0.06, 0.06)
            self.joints(where, 1.0, 10, 0.35)
        elif material == "grass":
            self.fill(where, style.grass, 0.22, 0.16)
            if where.stop > where.start:
                dry = np.clip(self.coarse[:, where] * 1.6 - 0.5, 0, 1)[..., None]
                soil = np.asarray(scaled((134, 112, 82), 1.0), np.float32)
                area = self.picture[:, where].astype(np.float32)
                self.picture[:, where] = to_bytes(area + (soil - area) * dry * 0.7)
        elif material == "gravel":
            self.fill(where, (152, 142, 126), 0.1, 0.2)
        elif material == "paving":
            self.fill(where, style.paving, 0.07, 0.05)
            length, width = rng.choice([0.2, 0.4, 0.6, 1.2]), rng.choice([0.2, 0.4, 0.6])
            self.joints(where, float(length), float(width), float(rng.uniform(0.1, 0.35)))

    def joints(self, where: slice, along: float, across: float, depth: float) -> None:
        """The pattern of slabs or stones: dark joints and a tone for each stone."""
        if where.stop <= where.start:
            return
        rng = self.rng
        rows = max(2, round(along / ROW))
        cols = max(3, round(across / COLUMN))
        row = np.arange(self.shape[0])
        col = np.arange(where.stop - where.start)
        line = row // rows
        shifted = col[None, :] + (line % 2 * (cols // 2))[:, None]
        joint = (row % rows == 0)[:, None] | (shifted % cols == 0)
        tones = rng.uniform(-0.1, 0.1, (self.shape[0] // rows + 1, shifted.max() // cols + 1))
        factor = 1 + tones[line[:, None], shifted // cols] - depth * joint
        area = self.picture[:, where]
        self.picture[:, where] = to_bytes(area * factor[..., None].astype(np.float32))

    def wear(self) -> None:
        """Tracks of tyres, repaired patches, manholes and stains."""
        style, rng = self.style, self.rng
        at = (np.arange(self.shape[1]) + 0.5) * COLUMN - HALF
        factor = np.ones(self.shape[1], np.float32)
        depth = rng.uniform(-0.07, 0.12)
        for side in style.sides:
            for lane in range(side.lanes):
                for offset in (-0.8, 0.8):
                    away = at - style.lane(side, lane) - offset
                    factor += depth * np.exp(-((away / 0.32) ** 2)).astype(np.float32)
        where = self.columns(-style.left.edge, style.right.edge)
        area = self.picture[:, where] * factor[None, where, None]
        self.picture[:, where] = to_bytes(area)
        for _ in range(rng.poisson(5)):
            row, tall = int(rng.integers(0, self.shape[0])), int(rng.uniform(0.6, 9) / ROW)
            left = rng.uniform(-style.left.edge, style.right.edge - 1)
            wide = rng.uniform(0.4, 2.8)
            columns = self.columns(left, min(left + wide, style.right.edge))
            patch = self.picture[row : row + tall, columns]
            tone = rng.uniform(0.72, 1.18)
            patch[:] = to_bytes(patch * tone)
            seam = scaled(style.asphalt, 0.55)
            corners = (columns.start, row), (columns.stop, row + tall)
            cv2.rectangle(self.picture, *corners, seam, 1)
        for _ in range(rng.poisson(6)):
            centre = self.spot(-style.left.edge + 0.6, style.right.edge - 0.6)
            size = rng.uniform(0.25, 0.36)
            axes = (round(size / COLUMN), round(size / ROW))
            cv2.ellipse(self.picture, centre, axes, 0, 0, 360, scaled(style.asphalt, 0.6), -1)
            cv2.ellipse(self.picture, centre, axes, 0, 0, 360, scaled(style.asphalt, 1.25), 2)
            inner = (max(1, axes[0] * 2 // 3), max(1, axes[1] * 2 // 3))
            cv2.ellipse(self.picture, centre, inner, 0, 0, 360, scaled(style.asphalt, 0.85), 2)
        for _ in range(rng.poisson(14)):
            centre = self.spot(-style.left.edge, style.right.edge)
            axes = (int(rng.uniform(4, 22)), int(rng.uniform(3, 16)))
            stain = scaled(style.asphalt, rng.uniform(0.8, 0.95))
            cv2.ellipse(self.picture, centre, axes, 0, 0, 360, stain, -1)

    def spot(self, start: float, end: float) -> tuple[int, int]:
        """A random texel between two d."""
        column = (self.rng.uniform(start, end) + HALF) / COLUMN
        return int(column), int(self.rng.integers(20, self.shape[0] - 20))

    def cracks(self) -> None:
        """Cracks and tar seams over the carriageway."""
        style, rng = self.style, self.rng
        dark = scaled(style.asphalt, rng.uniform(0.62, 0.8))
        for _ in range(rng.poisson(rng.uniform(0, 8))):
            start = np.array(self.spot(-style.left.edge, style.right.edge), np.float64)
            steps = rng.normal(0, 1, (int(rng.integers(10, 60)), 2)) * (8, 3)
            steps += rng.normal(0, 1, 2) * (5, 4)
            path = (start + np.cumsum(steps, axis=0)).astype(np.int32)
            low, high = ((d + HALF) / COLUMN for d in (-style.left.edge, style.right.edge))
            path[:, 0] = np.clip(path[:, 0], low, high - 2)
            cv2.polylines(self.picture, [path], False, dark, int(rng.integers(1, 3)), cv2.LINE_AA)

    def stripe(
        self, d: float, width: float, colour: Colour, period: int, share: float, wear: float
    ) -> None:
        """A painted line at d: `period` dashes over the texture, or solid when share is 1."""
        columns = self.columns(d - width / 2, d + width / 2)
        row = np.arange(self.shape[0])
        on = (row * period / self.shape[0]) % 1 < share
        worn = np.clip(
            1.15 - wear * (0.8 + self.coarse[:, columns] + 0.5 * self.fine[:, columns]), 0, 1
        )
        cover = (worn * on[:, None])[..., None].astype(np.float32)
        area = self.picture[:, columns].astype(np.float32)
        self.picture[:, columns] = to_bytes(area + (np.asarray(colour, np.float32) - area) * cover)

    def lines(self, side: Side) -> None:
        """The markings of one side: lane borders, edge, middle."""
        style, rng = self.style, self.rng
        wear = rng.uniform(0.1, 0.75)
        width = rng.uniform(0.1, 0.18)
        dashes = int(rng.choice([4, 5, 6, 8]))
        share = rng.uniform(0.3, 0.6)
        for lane in range(1, side.lanes):
            d = side.sign * lane * style.lane_width
            self.stripe(d, width, (214, 212, 204), dashes, share, wear)
        outer = side.sign * (side.lanes * style.lane_width - 0.15)
        if rng.random() < 0.6:
            self.stripe(outer, width, (214, 212, 204), 1, 1.0, wear)
        if side.sign > 0 and rng.random() < 0.88:
            kind = rng.random()
            if kind < 0.55:
                self.stripe(0.0, width, style.marking, dashes, share, wear)
            elif kind < 0.8:
                self.stripe(0.0, width, style.marking, 1, 1.0, wear)
            else:
                self.stripe(-0.14, width, style.marking, 1, 1.0, wear)
                self.stripe(0.14, width, style.marking, 1, 1.0, wear)

    def rails(self) -> None:
        """Tram rails in the innermost lanes."""
        for side in self.style.sides:
            for offset in (-0.72, 0.72):
                d = self.style.lane(side, 0) + offset
                self.stripe(d, 0.16, mix(self.style.asphalt, (60, 56, 52), 0.6), 1, 1.0, 0.1)
                self.stripe(d, 0.05, (170, 166, 160), 1, 1.0, 0.2)
