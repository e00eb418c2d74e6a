"""A drive along a procedural road: any frame of it, at any time, in any order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.classes import VOID
from anomaly_seg_ros.scenes.camera import Camera, Lens
from anomaly_seg_ros.scenes.canvas import ANOMALY, Canvas, Sprite
from anomaly_seg_ros.scenes.ground import Ground
from anomaly_seg_ros.scenes.light import Sensor, Sky, draw_light
from anomaly_seg_ros.scenes.style import draw_style
from anomaly_seg_ros.scenes.texture import rng_for
from anomaly_seg_ros.scenes.unknown import draw_unknown

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
        self._sky = Sky(seed, self.lens.focal, self.size, self.light)
        self._sensor = Sensor(seed, self.size, self.light)
        self._sway = rng_for(seed, 8).uniform(0, 2 * math.pi, 8)
        self._sprites: dict[int, Sprite] = {}

    def camera(self, index: int) -> Camera:
        """Where the camera is and looks at a frame."""
        style = self.style
        seconds = index / self.frames_per_second
        z = style.speed * seconds
        d = style.lane(style.own, 0) + 0.15 * math.sin(0.31 * seconds + self._sway[0])
        bounce = 0.0035 * math.sin(5.1 * seconds + self._sway[1])
        horizon = (style.horizon - 0.5) * self.lens.height
        return Camera(
            self.lens,
            x=float(style.bends.x(z)) + d,
            y=style.camera_height + 0.02 * math.sin(4.3 * seconds + self._sway[2]),
            z=z,
            yaw=math.atan(float(style.bends.slope(z))) + 0.012 * math.sin(0.7 * seconds),
            pitch=math.atan(-horizon / self.lens.focal) + bounce,
            roll=0.006 * math.sin(0.9 * seconds + self._sway[3]),
        )

    def frame(self, index: int) -> SceneFrame:
        """The frame with this number (from 0, any order). Raises ValueError for negative ones."""
        if index < 0:
            raise ValueError(f"frame {index} was asked for, expected 0 or more")
        camera = self.camera(index)
        canvas = Canvas(camera, self.light)
        pose = np.array([camera.yaw, camera.pitch, camera.roll])
        self._sky.draw(canvas.image, canvas.labels, self.lens.focal, pose)
        self._ground.draw(canvas.image, canvas.labels, camera, [])
        if self.anomalies:
            first = int(camera.z // 15)
            for number in range(first + 8, first - 1, -1):
                rng = rng_for(self.seed, 9, number)
                z = 15 * number + rng.uniform(0, 15)
                d = rng.uniform(-self.style.left.front, self.style.right.front)
                x = float(self.style.bends.x(z)) + d
                if number not in self._sprites:
                    self._sprites[number] = draw_unknown(self.seed, number, (0.4, 0.6))
                canvas.sprite(self._sprites[number], (x, 0.0, z))
        image = self._sensor.develop(canvas.image, index)
        anomaly = _anomaly_map(canvas.labels)
        labels = canvas.labels
        labels[labels == ANOMALY] = VOID
        return SceneFrame(image, labels, anomaly, index, index / self.frames_per_second)


def _anomaly_map(labels: np.ndarray) -> np.ndarray:
    """1 on unknown objects, 255 on pieces of them too small to see, else 0."""
    unknown = (labels == ANOMALY).astype(np.uint8)
    if not unknown.any():
        return unknown
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(unknown, connectivity=8)
    tiny = stats[:, cv2.CC_STAT_AREA] < TINY
    tiny[0] = False
    if tiny.any():
        unknown[tiny[pieces]] = VOID
    return unknown
