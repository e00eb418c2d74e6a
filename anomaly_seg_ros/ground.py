"""Where a pixel meets the ground: distances in bird's-eye view from one camera over a flat road."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Pinhole:
    """Intrinsics of a picture without distortion, in pixels; a pixel's centre is a whole number."""

    fx: float
    fy: float
    cx: float
    cy: float

    def ray(self, column: float, row: float) -> tuple[float, float]:
        """x (right) and y (down) of the viewing ray at depth 1 of the optical frame."""
        return (column - self.cx) / self.fx, (row - self.cy) / self.fy


@dataclass(frozen=True)
class Mount:
    """How the camera is mounted: height of its centre over the road in metres (0: unknown), pitch
    in radians, positive when it looks down. No roll, and no yaw against what is called forward."""

    height: float = 0.0
    pitch: float = 0.0


@dataclass(frozen=True)
class GroundPoint:
    """A point of the road, in metres; NaN in all when the pixel looks at no road."""

    forward: float  # from the point of the road below the camera
    right: float
    optical: tuple[float, float, float]  # x right, y down, z forward in the camera's optical frame

    @property
    def distance(self) -> float:
        """From the point of the road below the camera, in bird's-eye view."""
        return math.hypot(self.forward, self.right)

    @property
    def known(self) -> bool:
        """Whether the pixel looks at the road."""
        return not math.isnan(self.forward)


NOWHERE = GroundPoint(math.nan, math.nan, (math.nan, math.nan, math.nan))


def ground_point(column: float, row: float, lens: Pinhole, mount: Mount) -> GroundPoint:
    """Where the viewing ray of a pixel meets a flat road; NOWHERE on the horizon and above, and
    where the height is unknown.

    With the ray (x, y, 1) in the optical frame (x right, y down, z forward) and pitch p, the ray
    falls by y cos p + sin p and goes forward by cos p - y sin p per unit of depth.
    """
    x, y = lens.ray(column, row)
    fall = y * math.cos(mount.pitch) + math.sin(mount.pitch)
    if not fall > 0 or not mount.height > 0:
        return NOWHERE
    depth = mount.height / fall
    forward = math.cos(mount.pitch) - y * math.sin(mount.pitch)
    return GroundPoint(forward * depth, x * depth, (x * depth, y * depth, depth))
