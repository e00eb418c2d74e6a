"""The pinhole camera: where it stands in the world, and what it sees of the ground.

World: x to the right, y up, z forward along the road, in metres; the ground is y = 0.
Camera: x to the right, y down, z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR = 0.6  # m, nothing closer to the camera is drawn


@dataclass(frozen=True)
class Lens:
    """Size of the picture and focal length, in pixels; the principal point is the centre."""

    height: int
    width: int
    focal: float

    @cached_property
    def centre(self) -> np.ndarray:
        """The pixel (column, row) on the optical axis, float64 [2]."""
        return np.array([(self.width - 1) / 2, (self.height - 1) / 2])


@dataclass(frozen=True)
class Camera:
    """A lens at a place. yaw: to the right, pitch: down, roll: clockwise, in radians."""

    lens: Lens
    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    roll: float

    @cached_property
    def rotation(self) -> np.ndarray:
        """World axes to camera axes, float64 [3, 3]."""
        sin_yaw, cos_yaw = math.sin(self.yaw), math.cos(self.yaw)
        sin_pitch, cos_pitch = math.sin(self.pitch), math.cos(self.pitch)
        sin_roll, cos_roll = math.sin(self.roll), math.cos(self.roll)
        turn = np.array([[cos_yaw, 0, -sin_yaw], [0, -1, 0], [sin_yaw, 0, cos_yaw]])
        tilt = np.array([[1, 0, 0], [0, cos_pitch, -sin_pitch], [0, sin_pitch, cos_pitch]])
        lean = np.array([[cos_roll, sin_roll, 0], [-sin_roll, cos_roll, 0], [0, 0, 1]])
        return lean @ tilt @ turn

    @cached_property
    def place(self) -> np.ndarray:
        """x, y, z, float64 [3]."""
        return np.array([self.x, self.y, self.z])

    def seen(self, points: np.ndarray) -> np.ndarray:
        """World points [N, 3] in camera axes [N, 3]; the last column is the depth in metres."""
        return (points - self.place) @ self.rotation.T

    def project(self, seen: np.ndarray) -> np.ndarray:
        """Points in camera axes [N, 3], all with positive depth, to pixels [N, 2]."""
        return seen[:, :2] * (self.lens.focal / seen[:, 2:]) + self.lens.centre

    def horizon(self) -> tuple[int, int]:
        """Highest and lowest row of the horizon line over the width of the picture."""
        lens = self.lens
        middle = (lens.height - 1) / 2 - lens.focal * math.tan(self.pitch)
        lean = abs(math.tan(self.roll)) * lens.width / 2
        return math.floor(middle - lean), math.ceil(middle + lean)

    def ground(self, top: int, cell: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Where the pixels from row `top` down meet the ground, on a grid of every cell-th column.

        Returns x and z in metres relative to the camera's foot, float64 [rows, columns], with
        one cell more on each side, so that `spread` can interpolate up to the edges. Rows and
        columns above the horizon lie far away.
        """
        lens = self.lens
        cells = -(-lens.width // cell) + 2
        right = (cell * (np.arange(cells) - 0.5) - 0.5 - (lens.width - 1) / 2) / lens.focal
        down = (np.arange(top, lens.height) - (lens.height - 1) / 2) / lens.focal
        axes = self.rotation
        ray = [
            axes[0, k] * right[None, :] + (axes[1, k] * down + axes[2, k])[:, None]
            for k in range(3)
        ]
        reach = self.y / np.maximum(-ray[1], 2e-3)
        return ray[0] * reach, ray[2] * reach


def clipped(seen: np.ndarray, near: float = NEAR) -> np.ndarray | None:
    """A polygon in camera axes [N, 3] cut at depth `near`; None when it lies wholly before it."""
    inside = seen[:, 2] >= near
    if inside.all():
        return seen
    if not inside.any():
        return None
    kept: list[np.ndarray] = []
    for current, following in zip(seen, np.roll(seen, -1, axis=0), strict=True):
        if current[2] >= near:
            kept.append(current)
        if (current[2] >= near) != (following[2] >= near):
            share = (near - current[2]) / (following[2] - current[2])
            kept.append(current + share * (following - current))
    return np.array(kept) if len(kept) >= 3 else None
