"""The picture under the brush: colours with anti-aliasing, labels without, same geometry."""

from __future__ import annotations

import math

import cv2
import numpy as np

from anomaly_seg_ros.scenes.camera import NEAR, Camera, clipped
from anomaly_seg_ros.scenes.light import Light
from anomaly_seg_ros.scenes.texture import Colour, scaled

ANOMALY = 254  # in the labels while a frame is painted
KEEP = None  # paint colours only
SHIFT = 4  # fractional bits of polygon corners


class Sprite:
    """A flat picture with transparency, standing upright on its lower edge.

    picture: uint8 [h, w, 4] RGBA. labels: one id for all, or uint8 [h, w] with 255 as "void".
    metres: width of the picture in metres. Half-size copies are kept for far away.
    """

    def __init__(self, picture: np.ndarray, labels: int | np.ndarray, metres: float) -> None:
        self.metres = metres
        self.pictures = [_bled(picture)]
        self.labels = labels
        while min(self.pictures[-1].shape[:2]) > 6:
            height, width = self.pictures[-1].shape[:2]
            smaller = ((width + 1) // 2, (height + 1) // 2)
            self.pictures.append(
                cv2.resize(self.pictures[-1], smaller, interpolation=cv2.INTER_AREA)
            )

    @property
    def tall(self) -> float:
        """Height in metres."""
        height, width = self.pictures[0].shape[:2]
        return self.metres * height / width


def _bled(picture: np.ndarray) -> np.ndarray:
    """Give the transparent pixels the colour of their neighbours: no dark seam when resized."""
    alpha = picture[..., 3:].astype(np.float32)
    weighted = np.concatenate([picture[..., :3] * alpha, alpha], axis=2)
    near = cv2.blur(weighted, (9, 9))
    far = weighted.sum(axis=(0, 1), keepdims=True)
    seen = np.where(near[..., 3:] > 1, near[..., :3] / np.maximum(near[..., 3:], 1), 0)
    mean = far[..., :3] / np.maximum(far[..., 3:], 1)
    around = np.where(near[..., 3:] > 1, seen, mean)
    result = picture.copy()
    result[..., :3] = np.where(alpha > 127, picture[..., :3], around.astype(np.uint8))
    return result


class Surface:
    """A texture on a flat rectangle (a facade, a wall), with reduced copies made on demand."""

    def __init__(self, picture: np.ndarray, labels: int) -> None:
        self.picture = picture
        self.labels = labels
        self._reduced: dict[tuple[int, int], np.ndarray] = {}

    def reduced(self, across: int, down: int) -> np.ndarray:
        """The picture with width / 2**across and height / 2**down."""
        key = (across, down)
        if key not in self._reduced:
            height, width = self.picture.shape[:2]
            size = (max(1, width >> across), max(1, height >> down))
            self._reduced[key] = (
                cv2.resize(self.picture, size, interpolation=cv2.INTER_AREA) if any(key)
                else self.picture
            )  # fmt: skip
        return self._reduced[key]


class Canvas:
    """Picture and labels of one frame, painted from far to near."""

    def __init__(self, camera: Camera, light: Light) -> None:
        lens = camera.lens
        self.camera = camera
        self.light = light
        self.image = np.zeros((lens.height, lens.width, 3), np.uint8)
        self.labels = np.full((lens.height, lens.width), 255, np.uint8)
        self.shade: np.ndarray | None = None  # brightness of the ground, set by the shadows
        self._tables: dict[tuple[int, int], np.ndarray] = {}

    def tint(self, colour: Colour, distance: float, brightness: float = 1.0) -> Colour:
        """A colour in this light, seen through the haze."""
        fade = self.light.fade(distance)
        haze = self.light.haze
        red, green, blue = (
            min(255.0, c * brightness) * (1 - fade) + h * fade
            for c, h in zip(colour, haze, strict=True)
        )
        return red, green, blue

    def table(self, distance: float, brightness: float) -> np.ndarray:
        """`tint` as a lookup table, uint8 [1, 256, 3]."""
        key = (round(self.light.fade(distance) * 64), round(brightness * 64))
        if key not in self._tables:
            fade = key[0] / 64
            levels = np.minimum(np.arange(256.0) * key[1] / 64, 255)[:, None]
            table = levels * (1 - fade) + np.asarray(self.light.haze) * fade
            self._tables[key] = (table + 0.5).astype(np.uint8)[None]
        return self._tables[key]

    def pixels(
        self, corners: np.ndarray, colour: Colour | None, label: int | None, smooth: bool = True
    ) -> None:
        """A polygon in pixels [N, 2]; None paints no colour, or no label."""
        if not self._visible(corners):
            return
        fixed = np.round(corners * (1 << SHIFT)).astype(np.int32)
        if colour is not None:
            line = cv2.LINE_AA if smooth else cv2.LINE_8
            cv2.fillPoly(self.image, [fixed], colour, line, SHIFT)
        if label is not None:
            cv2.fillPoly(self.labels, [fixed], label, cv2.LINE_8, SHIFT)

    def polygon(
        self, points: np.ndarray, colour: Colour | None, label: int | None, brightness: float = 1.0
    ) -> None:
        """A polygon in world metres [N, 3]."""
        seen = clipped(self.camera.seen(points))
        if seen is None:
            return
        if colour is not None:
            colour = self.tint(colour, float(seen[:, 2].mean()), brightness)
        self.pixels(self.camera.project(seen), colour, label)

    def _visible(self, corners: np.ndarray) -> bool:
        height, width = self.labels.shape
        low, high = corners.min(axis=0), corners.max(axis=0)
        return bool(
            high[0] >= 0 and high[1] >= 0 and low[0] < width and low[1] < height
            and np.abs(corners).max() < 30000
        )  # fmt: skip

    def _window(self, corners: np.ndarray) -> tuple[int, int, int, int] | None:
        height, width = self.labels.shape
        left, top = np.floor(corners.min(axis=0)).astype(int) - 1
        right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 2
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, width), min(bottom, height)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def sprite(
        self,
        sprite: Sprite,
        foot: tuple[float, float, float],
        *,
        mirror: bool = False,
        size: float = 1.0,
        brightness: float = 1.0,
        label: int | None = None,
    ) -> None:
        """Stand a sprite on a world point, facing the camera; `label` overrides its own."""
        camera = self.camera
        seen = camera.seen(np.array([foot]))[0]
        if seen[2] < NEAR + 0.4:
            return
        half = sprite.metres * size / 2
        up = camera.rotation()[:, 1] * sprite.tall * size
        right = np.array([-half if mirror else half, 0.0, 0.0])
        corners = camera.project(np.array([seen - right, seen + right, seen - right + up]))
        if abs(corners).max() > 20000:
            return
        window = self._window(np.vstack([corners, corners[1:2] + corners[2:] - corners[:1]]))
        if window is None:
            return
        full_height, full_width = sprite.pictures[0].shape[:2]
        scale = math.dist(corners[0], corners[1]) / full_width
        level = min(len(sprite.pictures) - 1, max(0, round(-math.log2(max(scale, 1e-6)) - 0.35)))
        picture = sprite.pictures[level]
        height, width = picture.shape[:2]
        left, top, right_edge, bottom = window
        shape = (right_edge - left, bottom - top)
        matrix = _affine(corners - (left, top), width, height)
        warped = cv2.warpAffine(picture, matrix, shape, flags=cv2.INTER_LINEAR)
        alpha = np.ascontiguousarray(warped[..., 3])
        colours = cv2.LUT(warped[..., :3], self.table(float(seen[2]), brightness))
        area = np.s_[top:bottom, left:right_edge]
        _blend(self.image[area], colours, alpha)
        inside = alpha > 127
        if label is None and isinstance(sprite.labels, np.ndarray):
            matrix = _affine(corners - (left, top), full_width, full_height)
            flags = cv2.INTER_NEAREST
            ids = cv2.warpAffine(sprite.labels, matrix, shape, flags=flags, borderValue=255)
            self.labels[area][inside] = ids[inside]
        else:
            self.labels[area][inside] = sprite.labels if label is None else label

    def surface(
        self, surface: Surface, corners: np.ndarray, brightness: float, label: int | None = None
    ) -> None:
        """A texture on a rectangle in world metres [4, 3]: bottom left, bottom right, top right,
        top left, as the texture is seen. It may reach behind the camera at one end."""
        seen = self.camera.seen(corners)
        depth = seen[:, 2]
        start, end = 0.0, 1.0
        edge = 1.0  # m: what is closer would be enormous in pixels
        if max(depth[0], depth[1]) <= edge:
            return
        if depth[0] < edge:
            start = float((edge - depth[0]) / (depth[1] - depth[0]))
        if depth[1] < edge:
            end = float((edge - depth[0]) / (depth[1] - depth[0]))
        lower, upper = seen[1] - seen[0], seen[2] - seen[3]
        shown = np.array(
            [seen[0] + start * lower, seen[0] + end * lower,
             seen[3] + end * upper, seen[3] + start * upper]
        )  # fmt: skip
        if shown[:, 2].min() < edge / 2:
            return
        target = self.camera.project(shown)
        window = self._window(target)
        if window is None or np.abs(target).max() > 30000:
            return
        full_height, full_width = surface.picture.shape[:2]
        wide = max(1.0, float(np.ptp(target[:, 0]))) / max(end - start, 1e-3)
        high = float(max(target[0, 1] - target[3, 1], target[1, 1] - target[2, 1], 1.0))
        across = int(np.clip(round(math.log2(full_width / wide) + 0.2), 0, 5))
        down = int(np.clip(round(math.log2(full_height / high) + 0.5), 0, 5))
        picture = surface.reduced(across, down)
        height, width = picture.shape[:2]
        left, top, right, bottom = window
        source = np.array(
            [[start * width, height], [end * width, height], [end * width, 0], [start * width, 0]]
        ) - 0.5  # fmt: skip
        moved = (target - (left, top)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source.astype(np.float32), moved)
        shape = (right - left, bottom - top)
        warped = cv2.warpPerspective(
            picture, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        table = self.table(float(shown[:, 2].mean()), brightness)
        colours = cv2.LUT(np.ascontiguousarray(warped[..., :3]), table)
        alpha = np.zeros(shape[::-1], np.uint8)
        fixed = np.round(moved * (1 << SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(alpha, fixed, 255, cv2.LINE_AA, SHIFT)
        if picture.shape[2] == 4:
            alpha = cv2.multiply(alpha, np.ascontiguousarray(warped[..., 3]), scale=1 / 255)
        _blend(self.image[top:bottom, left:right], colours, alpha)
        ids = self.labels[top:bottom, left:right]
        cv2.fillConvexPoly(
            ids, fixed, surface.labels if label is None else label, cv2.LINE_8, SHIFT
        )

    def lit(self, x: float, z: float) -> float:
        """How bright the ground is at a world point, 1 without shadow: what stands there shares it."""
        if self.shade is None:
            return 1.0
        seen = self.camera.seen(np.array([[x, 0.0, z]]))
        if seen[0, 2] < NEAR:
            return 1.0
        column, row = np.round(self.camera.project(seen)[0] / 2).astype(int)
        height, width = self.shade.shape
        if not (0 <= row < height and 0 <= column < width):
            return 1.0
        return float(self.shade[row, column]) / 255

    def glow(self, seen: np.ndarray, radius: float, colour: Colour) -> None:
        """A shining lamp at a point in camera axes [3]; `radius` in metres. No label."""
        size = max(0.7, radius * self.camera.lens.focal / float(seen[2]))
        column, row = np.round(self.camera.project(seen[None])[0] * (1 << SHIFT)).astype(int)
        if max(abs(column), abs(row)) > 30000 << SHIFT:
            return
        bright = self.tint(colour, float(seen[2]) * 0.3)
        centre, reach = (int(column), int(row)), int(size * (1 << SHIFT))
        cv2.circle(self.image, centre, reach, bright, -1, cv2.LINE_AA, SHIFT)


def _affine(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """Sprite pixels to picture pixels: bottom left, bottom right, top left go to the corners."""
    right = (corners[1] - corners[0]) / width
    down = (corners[0] - corners[2]) / height
    origin = corners[2] + 0.5 * (right + down)
    return np.array([[right[0], down[0], origin[0]], [right[1], down[1], origin[1]]])


def _blend(target: np.ndarray, colours: np.ndarray, alpha: np.ndarray) -> None:
    """target = colours * alpha + target * (1 - alpha), in place."""
    share = cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR)
    kept = cv2.multiply(target, cv2.bitwise_not(share), scale=1 / 255)
    cv2.add(cv2.multiply(colours, share, scale=1 / 255), kept, dst=target)
