"""A drive along a procedural road: any frame of it, at any time, in any order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.classes import VOID
from anomaly_seg_ros.scenes.camera import Camera, Lens
from anomaly_seg_ros.scenes.canvas import ANOMALY, Canvas
from anomaly_seg_ros.scenes.ground import Ground
from anomaly_seg_ros.scenes.layout import STRETCH, Layout, Stretch, Thing
from anomaly_seg_ros.scenes.light import Sensor, Sky, draw_light
from anomaly_seg_ros.scenes.looks import Shadows, Spot
from anomaly_seg_ros.scenes.props import Props
from anomaly_seg_ros.scenes.shadows import cast
from anomaly_seg_ros.scenes.style import draw_style
from anomaly_seg_ros.scenes.texture import rng_for
from anomaly_seg_ros.scenes.traffic import Traffic

SIGHT = 2.5 * STRETCH  # m: what is farther is left to the skyline
SHADED = 55.0  # m: farther things cast no shadow that one could see
TINY = 12  # px: smaller pieces of an unknown object are void


@dataclass(frozen=True)
class SceneFrame:
    """One frame. image: uint8 [H, W, 3] RGB. labels: uint8 [H, W], Cityscapes train ids 0..18,
    255 void (unknown objects are void here). anomaly: uint8 [H, W], 0 known, 1 unknown object,
    255 void. index: the number it was asked for by. seconds: time since the start of the drive."""

    image: np.ndarray
    labels: np.ndarray
    anomaly: np.ndarray
    index: int
    seconds: float


class RoadSequence:
    """A drive of a seed. `frame(i)` depends on seed, size, frame rate and i alone."""

    def __init__(
        self,
        seed: int,
        size: tuple[int, int] = (480, 640),
        frames_per_second: float = 15.0,
        anomalies: bool = True,
    ) -> None:
        """size: (H, W) in pixels, at least 32 each. Raises ValueError for sizes or rates below."""
        height, width = size
        if height < 32 or width < 32:
            raise ValueError(f"scene size is {size}, expected (height, width) of at least 32 each")
        if not frames_per_second > 0:
            raise ValueError(f"frames_per_second is {frames_per_second}, expected more than 0")
        self.seed, self.size, self.frames_per_second = seed, (height, width), frames_per_second
        self.anomalies = anomalies
        self.style = draw_style(seed)
        self.light = draw_light(seed)
        self.lens = Lens(height, width, width / 2 / math.tan(self.style.field_of_view / 2))
        self._ground = Ground(seed, self.style, self.light)
        self._sky = Sky(seed, self.lens.focal, self.size, self.light, self.style)
        self._sensor = Sensor(seed, self.size, self.light)
        self._sway = rng_for(seed, 8).uniform(0, 2 * math.pi, 8)
        self._props = Props(seed, self.style, self.light)
        self._layout = Layout(seed, self.style, self._props, anomalies)
        self._traffic = Traffic(seed, self.style, self._props, self._layout)
        self._tables: dict[tuple[int, int], np.ndarray] = {}
        self._slant = self.light.slant()

    def camera(self, index: int) -> Camera:
        """Where the camera is and looks at a frame."""
        style = self.style
        seconds = index / self.frames_per_second
        z = style.speed * seconds
        shift, turn = self._layout.swerve(z)
        d = style.lane(style.own, 0) + 0.15 * math.sin(0.31 * seconds + self._sway[0]) + shift
        bounce = 0.0035 * math.sin(5.1 * seconds + self._sway[1])
        horizon = (style.horizon - 0.5) * self.lens.height
        return Camera(
            self.lens,
            x=float(style.bends.x(z)) + d,
            y=style.camera_height + 0.02 * math.sin(4.3 * seconds + self._sway[2]),
            z=z,
            yaw=math.atan(float(style.bends.slope(z)) + turn) + 0.012 * math.sin(0.7 * seconds),
            pitch=math.atan(-horizon / self.lens.focal) + bounce,
            roll=0.006 * math.sin(0.9 * seconds + self._sway[3]),
        )

    def frame(self, index: int) -> SceneFrame:
        """The frame with this number (from 0, any order). Raises ValueError for negative ones."""
        if index < 0:
            raise ValueError(f"frame {index} was asked for, expected 0 or more")
        camera = self.camera(index)
        canvas = Canvas(camera, self.light, self._tables)
        pose = np.array([camera.yaw, camera.pitch, camera.roll])
        self._sky.draw(canvas.image, canvas.labels, self.lens.focal, pose)
        seconds = index / self.frames_per_second
        here = math.floor(camera.z / STRETCH)
        stretches = [
            self._layout.stretch(here + k) for k in range(-1, math.ceil(SIGHT / STRETCH) + 1)
        ]
        streets = [street for stretch in stretches for street in stretch.streets]
        self._ground.draw(canvas.image, canvas.labels, camera, streets)
        for stretch in stretches:
            self._crosswalks(canvas, stretch)
        things = [thing for stretch in stretches for thing in stretch.things]
        things += self._traffic.at(seconds, camera.z, SIGHT)
        self._paint(canvas, things, seconds)
        image = self._sensor.develop(canvas.image, index)
        anomaly = _anomaly_map(canvas.labels)
        labels = canvas.labels
        labels[labels == ANOMALY] = VOID
        return SceneFrame(image, labels, anomaly, index, seconds)

    def _paint(self, canvas: Canvas, things: list[Thing], seconds: float) -> None:
        """Shadows first, then the things from far to near."""
        camera = canvas.camera
        bends = self.style.bends
        places = np.array([thing.at(seconds) for thing in things])
        spots = np.stack([bends.x(places[:, 1]) + places[:, 0], 0 * places[:, 0], places[:, 1]], 1)
        headings = np.arctan(bends.slope(places[:, 1]))
        seen = camera.seen(spots)
        reach = np.array([thing.look.reach for thing in things])
        edge = self.lens.width / 2 / self.lens.focal
        shown = (seen[:, 2] > -reach) & (seen[:, 2] < SIGHT + 20)
        shadowed = shown & (np.abs(seen[:, 0]) - 3 * reach - 15 < edge * seen[:, 2])
        shown &= np.abs(seen[:, 0]) - reach < edge * np.maximum(seen[:, 2] + reach, 0) + 1
        shadows: Shadows = []
        spotted = {}
        for k in np.flatnonzero(shown | shadowed):
            heading = float(headings[k])
            spot = Spot(float(spots[k, 0]), float(spots[k, 2]), heading, seconds, seen[k])
            spotted[k] = spot
            if seen[k, 2] < SHADED + reach[k]:
                shadows += things[k].look.shadows(spot, self._slant)
        cast(canvas, shadows)
        lit = canvas.lit(seen)
        # On one ray from the camera what is nearer is nearer in depth and to the side: any sum of
        # both sorts points; a large share of the side also sorts long houses behind what is before.
        order = seen[:, 2] + 2.5 * np.abs(seen[:, 0])
        for k in np.argsort(-order, kind="stable"):
            if shown[k]:
                spotted[k].lit = float(lit[k])
                things[k].look.paint(canvas, spotted[k])

    def _crosswalks(self, canvas: Canvas, stretch: Stretch) -> None:
        """Zebra stripes over the carriageway."""
        style = self.style
        d = np.arange(0.3 - style.left.edge, style.right.edge - 0.5, 1.0)
        corners = np.array([[0, 0, -1.5], [0.5, 0, -1.5], [0.5, 0, 1.5], [0, 0, 1.5]])
        for z in stretch.crosswalks:
            if not -2 < z - canvas.camera.z < 80:
                continue
            places = np.stack([float(style.bends.x(z)) + d, 0 * d, 0 * d + z], axis=1)
            canvas.polygons(places[:, None] + corners, (198, 197, 190))


def _anomaly_map(labels: np.ndarray) -> np.ndarray:
    """1 on unknown objects, 255 on pieces of them too small to see, else 0."""
    unknown = (labels == ANOMALY).astype(np.uint8)
    left, top, wide, high = cv2.boundingRect(unknown)
    part = unknown[top : top + high, left : left + wide]
    if part.size == 0:
        return unknown
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    tiny = stats[:, cv2.CC_STAT_AREA] < TINY
    tiny[0] = False
    if tiny.any():
        part[tiny[pieces]] = VOID
    return unknown
