"""Sprites made of rounded parts: each part is a shape, a texture and a shading."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from anomaly_seg_ros.scenes.canvas import Sprite
from anomaly_seg_ros.scenes.texture import Colour, relief, to_bytes

Point = tuple[float, float]


class Sculpture:
    """A transparent picture that parts are put on, later ones in front.

    Coordinates are shares of the width: x to the right from 0 to 1, y up from the lower edge.
    """

    def __init__(self, width: int, tall: float, sun: tuple[float, float]) -> None:
        """width: in pixels. tall: height as a share of the width. sun: where light comes from."""
        self.size = width
        self.shape = (max(4, round(width * tall)), width)
        self.picture = np.zeros((*self.shape, 4), np.uint8)
        self.labels = np.full(self.shape, 255, np.uint8)
        self.sun = sun

    def _fixed(self, points: Sequence[Point] | np.ndarray) -> np.ndarray:
        places = np.asarray(points, np.float64) * self.size
        places[:, 1] = self.shape[0] - places[:, 1]
        return np.round((places - 0.5) * 16).astype(np.int32)

    def blank(self) -> np.ndarray:
        """An empty mask, uint8 [h, w]."""
        return np.zeros(self.shape, np.uint8)

    def polygon(self, points: Sequence[Point] | np.ndarray) -> np.ndarray:
        """Mask of a polygon."""
        mask = self.blank()
        cv2.fillPoly(mask, [self._fixed(points)], 255, cv2.LINE_AA, 4)
        return mask

    def ellipse(self, x: float, y: float, wide: float, high: float, turn: float = 0) -> np.ndarray:
        """Mask of an ellipse with these half axes, turned counter-clockwise by degrees."""
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        tilt = np.deg2rad(turn)
        along, up = wide * np.cos(angle), high * np.sin(angle)
        ring = np.stack(
            [x + along * np.cos(tilt) - up * np.sin(tilt),
             y + along * np.sin(tilt) + up * np.cos(tilt)], axis=1,
        )  # fmt: skip
        return self.polygon(ring)

    def limb(
        self, path: Sequence[Point], widths: Sequence[float], mask: np.ndarray | None = None
    ) -> np.ndarray:
        """Mask of a bent limb along a path, with a full width at each point; drawn into `mask`
        where one is given."""
        if mask is None:
            mask = self.blank()
        for (start, wide), (end, thin) in zip(
            list(zip(path, widths, strict=True))[:-1],
            list(zip(path, widths, strict=True))[1:],
            strict=True,
        ):
            a, b = np.asarray(start, float), np.asarray(end, float)
            along = b - a
            normal = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
            corners = [a + normal * wide / 2, b + normal * thin / 2,
                       b - normal * thin / 2, a - normal * wide / 2]  # fmt: skip
            cv2.fillPoly(mask, [self._fixed(np.array(corners))], 255, cv2.LINE_AA, 4)
        for (x, y), wide in zip(path, widths, strict=True):
            centre = self._fixed([(x, y)])[0]
            cv2.circle(
                mask, tuple(map(int, centre)), int(wide / 2 * self.size * 16), 255, -1, 16, 4
            )
        return mask

    def put(
        self,
        mask: np.ndarray,
        texture: Colour | np.ndarray,
        depth: float = 0.08,
        label: int = 255,
        tone: np.ndarray | None = None,
    ) -> None:
        """Add a part. texture: a colour or uint8 [h, w, 3]. depth: how far it is rounded, as a
        share of the width; 0 keeps it flat. tone: more shading, float [h, w]."""
        left, top, wide, high = cv2.boundingRect(mask)
        if not wide:
            return
        area = np.s_[top : top + high, left : left + wide]
        cover = mask[area]
        colours = np.asarray(texture, np.float32)
        if colours.ndim == 3:
            colours = colours[area]
        shading = np.ones(cover.shape, np.float32)
        if depth > 0:
            padded = cv2.copyMakeBorder(cover, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=0)
            shading = relief(padded, self.sun, max(2.0, depth * self.size))[2:-2, 2:-2]
        if tone is not None:
            shading = shading * tone[area]
        new = to_bytes(colours * shading[..., None])
        share = (cover.astype(np.float32) / 255)[..., None]
        old = self.picture[area]
        alpha = np.maximum(old[..., 3], cover)
        under = np.where(old[..., 3:] > 0, old[..., :3], new).astype(np.float32)
        self.picture[area][..., :3] = to_bytes(under + (new - under) * share)
        self.picture[area][..., 3] = alpha
        self.labels[area][cover > 127] = label

    def sprite(self, metres: float, label: int | None = None) -> Sprite:
        """The finished sprite; its labels are those of the parts unless one is given for all."""
        return Sprite(self.picture, self.labels if label is None else label, metres)
