"""The picture under the brush: colours with anti-aliasing, labels without, same geometry."""

from __future__ import annotations

import math

import cv2
import numpy as np

from anomaly_seg_ros.scenes.camera import NEAR, Camera, clipped
from anomaly_seg_ros.scenes.light import Light
from anomaly_seg_ros.scenes.texture import Colour

ANOMALY = 254  # in the labels while a frame is painted
SHIFT = 4  # fractional bits of polygon corners
SMALLEST = 2.0  # px: lower sprites are not painted


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
    alpha = cv2.extractChannel(picture, 3)
    solid = np.where(alpha > 0, 255, 0).astype(np.uint8)
    colours = cv2.copyTo(cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB), solid)
    around = np.ones((5, 5), np.uint8)
    result: np.ndarray = np.empty_like(colours)
    result[:] = np.asarray(cv2.mean(colours, solid)[:3]).astype(np.uint8)
    cv2.copyTo(cv2.dilate(colours, around), cv2.dilate(solid, around), result)
    cv2.copyTo(colours, solid, result)
    return cv2.merge([*cv2.split(result), alpha])


class Surface:
    """A texture on a flat rectangle (a facade, a wall), with reduced copies made on demand."""

    def __init__(self, picture: np.ndarray, labels: int) -> None:
        self.picture = picture
        self.labels = labels
        tone = picture[..., :3].mean(axis=(0, 1))
        self.mean: Colour = (float(tone[0]), float(tone[1]), float(tone[2]))
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

    def __init__(
        self, camera: Camera, light: Light, tables: dict[tuple[int, int], np.ndarray]
    ) -> None:
        """tables: where lookup tables are kept, the same for all frames of one light."""
        lens = camera.lens
        self.camera = camera
        self.light = light
        self.rotation = camera.rotation
        self._up = tuple(self.rotation[:, 1].tolist())
        self._centre = tuple(lens.centre.tolist())
        self.image = np.zeros((lens.height, lens.width, 3), np.uint8)
        self.labels = np.full((lens.height, lens.width), 255, np.uint8)
        self.shade: np.ndarray | None = None  # brightness of the ground, set by the shadows
        self._tables = tables

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

    def pixels(self, corners: np.ndarray, colour: Colour | None, label: int | None) -> None:
        """A polygon in pixels [N, 2]; None paints no colour, or no label."""
        if not self.visible(corners):
            return
        fixed = np.round(corners * (1 << SHIFT)).astype(np.int32)
        if colour is not None:
            cv2.fillPoly(self.image, [fixed], colour, cv2.LINE_AA, SHIFT)
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

    def polygons(self, shapes: np.ndarray, colour: Colour) -> None:
        """Polygons of one colour that do not overlap, in world metres [K, N, 3]; no label."""
        seen = self.camera.seen(shapes.reshape(-1, 3))
        depth = seen[:, 2]
        if depth.min() < NEAR:
            for shape in shapes:
                self.polygon(shape, colour, None)
            return
        pixels = self.camera.project(seen)
        if self.visible(pixels):
            fixed = np.round(pixels.reshape(*shapes.shape[:2], 2) * (1 << SHIFT)).astype(np.int32)
            tinted = self.tint(colour, float(depth.mean()))
            cv2.fillPoly(self.image, list(fixed), tinted, cv2.LINE_AA, SHIFT)

    def upright(
        self, shapes: np.ndarray, seen: np.ndarray, colours: list[Colour], label: int
    ) -> None:
        """Convex polygons [K, N, 2], to the right and up in metres, that face the camera at a point
        in camera axes [3]."""
        x, y, z = seen.tolist()
        if z < NEAR + 0.2:
            return
        flat = shapes.reshape(-1, 2)
        places = flat[:, 1:] * self.rotation[:, 1] + (x, y, z)
        places[:, 0] += flat[:, 0]
        pixels = self.camera.project(places)
        if not self.visible(pixels):
            return
        fixed = np.round(pixels.reshape(shapes.shape) * (1 << SHIFT)).astype(np.int32)
        for outline, colour in zip(fixed, colours, strict=True):
            tinted = self.tint(colour, z)
            cv2.fillConvexPoly(self.image, outline, tinted, cv2.LINE_AA, SHIFT)
            cv2.fillConvexPoly(self.labels, outline, label, cv2.LINE_8, SHIFT)

    def visible(self, corners: np.ndarray) -> bool:
        """Whether a shape with these corners in pixels [N, 2] touches the picture."""
        height, width = self.labels.shape
        low, high = corners.min(axis=0), corners.max(axis=0)
        return bool(
            high[0] >= 0 and high[1] >= 0 and low[0] < width and low[1] < height
            and np.abs(corners).max() < 30000
        )  # fmt: skip

    def _window(
        self, left: float, top: float, right: float, bottom: float
    ) -> tuple[int, int, int, int] | None:
        """Whole pixels around a box, inside the picture: left, top, right, bottom."""
        height, width = self.labels.shape
        if right < 0 or bottom < 0 or left >= width or top >= height:
            return None
        box = (max(0, math.floor(left) - 1), max(0, math.floor(top) - 1),
               min(width, math.ceil(right) + 2), min(height, math.ceil(bottom) + 2))  # fmt: skip
        return box if box[0] < box[2] and box[1] < box[3] else None

    def sprite(
        self,
        sprite: Sprite,
        seen: np.ndarray,
        *,
        mirror: bool = False,
        size: float = 1.0,
        brightness: float = 1.0,
    ) -> None:
        """Stand a sprite on a point in camera axes [3], facing the camera."""
        x, y, z = seen.tolist()
        if z < NEAR + 0.4:
            return
        lens, tall = self.camera.lens, sprite.tall * size
        half = (-0.5 if mirror else 0.5) * sprite.metres * size
        zoom = lens.focal / z
        lean_x, lean_y, lean_z = self._up
        above = lens.focal / (z + lean_z * tall)
        middle, base = self._centre
        left, right = middle + (x - half) * zoom, middle + (x + half) * zoom
        foot = base + y * zoom
        corner = (middle + (x - half + lean_x * tall) * above, base + (y + lean_y * tall) * above)
        shift = corner[0] - left
        window = self._window(
            min(left, right) + min(shift, 0), corner[1], max(left, right) + max(shift, 0), foot
        )
        if window is None or abs(corner[1]) > 20000 or foot - corner[1] < SMALLEST:
            return
        full_height, full_width = sprite.pictures[0].shape[:2]
        shrunk = full_width / max(abs(right - left), 1e-6)
        level = min(len(sprite.pictures) - 1, max(0, round(math.log2(shrunk) - 0.35)))
        picture = sprite.pictures[level]
        low_x, low_y, high_x, high_y = window
        shape = (high_x - low_x, high_y - low_y)

        def matrix(height: int, width: int) -> np.ndarray:
            """Sprite pixels to pixels of the window."""
            across = (right - left) / width
            down_x, down_y = -shift / height, (foot - corner[1]) / height
            return np.array(
                [[across, down_x, corner[0] - low_x + 0.5 * (across + down_x)],
                 [0.0, down_y, corner[1] - low_y + 0.5 * down_y]]
            )  # fmt: skip

        warped = cv2.warpAffine(picture, matrix(*picture.shape[:2]), shape, flags=cv2.INTER_LINEAR)
        alpha = cv2.extractChannel(warped, 3)
        colours = cv2.LUT(warped[..., :3], self.table(z, brightness))
        area = np.s_[low_y:high_y, low_x:high_x]
        _blend(self.image[area], colours, alpha)
        inside = alpha > 127
        if isinstance(sprite.labels, np.ndarray):
            ids = cv2.warpAffine(
                sprite.labels, matrix(full_height, full_width), shape,
                flags=cv2.INTER_NEAREST, borderValue=255,
            )  # fmt: skip
            np.copyto(self.labels[area], ids, where=inside)
        else:
            np.copyto(self.labels[area], np.uint8(sprite.labels), where=inside)

    def surface(self, surface: Surface, corners: np.ndarray, brightness: float) -> None:
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
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = target.tolist()
        box = min(x0, x3), min(y2, y3), max(x1, x2), max(y0, y1)
        window = self._window(*box)
        if window is None or max(map(abs, box)) > 30000:
            return
        full_height, full_width = surface.picture.shape[:2]
        wide = max(1.0, box[2] - box[0]) / max(end - start, 1e-3)
        high = max(y0 - y3, y1 - y2, 1.0)
        across = min(5, max(0, round(math.log2(full_width / wide) + 0.2)))
        down = min(5, max(0, round(math.log2(full_height / high) + 0.5)))
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
        colours = cv2.LUT(warped[..., :3], table)
        alpha = np.zeros(shape[::-1], np.uint8)
        fixed = np.round(moved * (1 << SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(alpha, fixed, 255, cv2.LINE_AA, SHIFT)
        if picture.shape[2] == 4:
            alpha = cv2.multiply(alpha, cv2.extractChannel(warped, 3), scale=1 / 255)
        _blend(self.image[top:bottom, left:right], colours, alpha)
        ids = self.labels[top:bottom, left:right]
        cv2.fillConvexPoly(ids, fixed, surface.labels, cv2.LINE_8, SHIFT)

    def lit(self, seen: np.ndarray) -> np.ndarray:
        """How bright the ground is at points in camera axes [N, 3], 1 without shadow: what stands
        there shares it."""
        result = np.ones(len(seen))
        if self.shade is None:
            return result
        ahead = np.flatnonzero(seen[:, 2] > NEAR)
        places = np.round(self.camera.project(seen[ahead]) / 2).astype(int)
        height, width = self.shade.shape
        held = ((places >= 0) & (places < (width, height))).all(axis=1)
        result[ahead[held]] = self.shade[places[held, 1], places[held, 0]] / 255
        return result

    def glow(self, seen: np.ndarray, radius: float, colour: Colour) -> None:
        """A shining lamp at a point in camera axes [3]; `radius` in metres. No label."""
        size = max(0.7, radius * self.camera.lens.focal / float(seen[2]))
        column, row = np.round(self.camera.project(seen[None])[0] * (1 << SHIFT)).astype(int)
        if max(abs(column), abs(row)) > 30000 << SHIFT:
            return
        bright = self.tint(colour, float(seen[2]) * 0.3)
        centre, reach = (int(column), int(row)), int(size * (1 << SHIFT))
        cv2.circle(self.image, centre, reach, bright, -1, cv2.LINE_AA, SHIFT)


def _blend(target: np.ndarray, colours: np.ndarray, alpha: np.ndarray) -> None:
    """target = colours * alpha + target * (1 - alpha), in place."""
    share = cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR)
    kept = cv2.multiply(target, cv2.bitwise_not(share), scale=1 / 255)
    cv2.add(cv2.multiply(colours, share, scale=1 / 255), kept, dst=target)
