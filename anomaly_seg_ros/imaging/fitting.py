"""Camera size to network size and back, one geometry for both directions.

A fit is a rectangle of the camera image (the source) that is resized onto a rectangle of the
network input (the target): squash fills the input and ignores the aspect ratio, letterbox keeps it
and pads, crop keeps it and leaves out camera borders.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from anomaly_seg_ros.errors import DetectorError

FITS = ("squash", "letterbox", "crop")
LETTERBOX_GRAY = 114  # near the mean of street images: about zero once a network normalises it
# A letterboxed picture is a multiple of this in size. Centred, its edges then fall between the
# cells of a stride-4 output, so no cell mixes picture and padding. The aspect ratio bends by at
# most half of it over the picture's size; the way back is exact all the same.
LETTERBOX_ALIGN = 8


class Rectangle(NamedTuple):
    """Pixels [top, top + height) x [left, left + width) of an image."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index an array [H, W, ...]."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class Fitting:
    """Brings images of one camera size to one network size, and maps back. Make one and keep it.

    camera, network: (height, width) in pixels. fit: squash, letterbox or crop. antialias: shrink by
    area averaging; without it fine texture aliases. `source` is what the network sees of the camera
    image, `target` where that lies in the network input.
    Raises DetectorError for an unknown fit or a size below 1 pixel.
    """

    def __init__(
        self,
        camera: tuple[int, int],
        network: tuple[int, int],
        fit: str = "squash",
        antialias: bool = True,
    ) -> None:
        if fit not in FITS:
            raise DetectorError(f"unknown fit '{fit}'; expected one of {', '.join(FITS)}")
        if min(*camera, *network) < 1:
            raise DetectorError(
                f"cannot fit camera size {camera} to network size {network}; "
                "expected 1 pixel or more"
            )
        self.camera = (int(camera[0]), int(camera[1]))
        self.network = (int(network[0]), int(network[1]))
        self.mode = fit
        self.antialias = antialias
        self.source, self.target = _rectangles(self.camera, self.network, fit)
        self._samples: dict[
            tuple[int, int], _Samples
        ] = {}  # by grid; a bundle has one or two grids

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Resize uint8 [H, W, 3] of the camera to uint8 [h, w, 3] of the network, C-contiguous.

        Nothing is copied when the sizes agree. Raises DetectorError for another shape.
        """
        if image.shape != (*self.camera, 3) or image.dtype != np.uint8:
            raise DetectorError(
                f"image is {image.dtype} {list(image.shape)}; expected uint8 {[*self.camera, 3]}"
            )
        size = (self.target.height, self.target.width)
        picture = _resize_image(image[self.source.slices], size, self.antialias)
        if size == self.network:
            return np.ascontiguousarray(picture)
        canvas = np.full((*self.network, 3), LETTERBOX_GRAY, np.uint8)
        canvas[self.target.slices] = picture
        return canvas

    def restore(self, values: np.ndarray, *, nearest: bool, fill: float) -> np.ndarray:
        """Bring a map of the network back to the camera: [h', w'] to [H, W], dtype kept.

        values: any grid that covers the whole network input evenly (at stride 4, h' = h / 4); each
        value belongs to the middle of its cell. A picture [h', w', 3] becomes [H, W, 3]. nearest:
        for class ids and masks, any dtype; else bilinear, float32 or uint8. fill: the value where
        the network did not look. Raises DetectorError for another shape.
        """
        if values.size == 0 or values.shape[2:] not in ((), (3,)) or values.ndim < 2:
            raise DetectorError(f"map of shape {list(values.shape)}; expected [h, w] or [h, w, 3]")
        samples = self._samples_of((values.shape[0], values.shape[1]))
        if nearest:
            seen = values.take(samples.columns, axis=1).take(samples.rows, axis=0)
        elif samples.maps is None:
            size = (self.source.width, self.source.height)
            seen = cv2.resize(values[samples.cells.slices], size, interpolation=cv2.INTER_LINEAR)
        else:
            seen = cv2.remap(values, *samples.maps, cv2.INTER_LINEAR)
        if seen.shape[:2] == self.camera:
            return seen
        restored = np.full(self.camera + values.shape[2:], fill, values.dtype)
        restored[self.source.slices] = seen
        return restored

    def _samples_of(self, grid: tuple[int, int]) -> _Samples:
        if grid not in self._samples:
            self._samples[grid] = _Samples(self, grid)
        return self._samples[grid]


class _Samples:
    """Where in one grid the source pixels lie."""

    def __init__(self, fitting: Fitting, grid: tuple[int, int]) -> None:
        network, source, target = fitting.network, fitting.source, fitting.target
        positions = []  # per axis: grid coordinate of every source pixel's middle, in cells
        bounds = []  # per axis: first and last cell that lie within the target, clear of padding
        cells = []  # per axis: first cell and number of cells under the target, in network pixels
        for axis in (0, 1):
            start, length = target[axis], target[axis + 2]
            scale = grid[axis] / network[axis]
            middles = (np.arange(source[axis + 2]) + 0.5) / source[axis + 2]
            positions.append((start + middles * length) * scale)
            first = -(-start * grid[axis] // network[axis])
            last = (start + length) * grid[axis] // network[axis] - 1
            if first > last:  # a picture thinner than one cell
                first = last = min(grid[axis] - 1, int((start + length / 2) * scale))
            bounds.append((first, last))
            cells.append((start * grid[axis], length * grid[axis]))
        self.rows, self.columns = (
            np.clip(np.floor(p), *b).astype(np.intp) for p, b in zip(positions, bounds, strict=True)
        )
        self.maps: tuple[np.ndarray, np.ndarray] | None = None  # x and y for cv2.remap
        self.cells = Rectangle(0, 0, *grid)
        if all(value % network[axis] == 0 for axis in (0, 1) for value in cells[axis]):
            (top, height), (left, width) = (
                (cells[axis][0] // network[axis], cells[axis][1] // network[axis])
                for axis in (0, 1)
            )
            self.cells = Rectangle(top, left, height, width)
        else:
            y, x = (
                np.clip(p - 0.5, *b).astype(np.float32)
                for p, b in zip(positions, bounds, strict=True)
            )
            self.maps = (np.tile(x, (len(y), 1)), np.tile(y[:, None], (1, len(x))))


def _rectangles(
    camera: tuple[int, int], network: tuple[int, int], fit: str
) -> tuple[Rectangle, Rectangle]:
    """Source in the camera image and target in the network input."""
    source, target = Rectangle(0, 0, *camera), Rectangle(0, 0, *network)
    if fit == "letterbox":
        scale = min(network[0] / camera[0], network[1] / camera[1])
        size = [_picture_length(camera[axis] * scale, network[axis]) for axis in (0, 1)]
        target = _centred(size, network)
    elif fit == "crop":
        scale = max(network[0] / camera[0], network[1] / camera[1])
        size = [min(camera[axis], max(1, round(network[axis] / scale))) for axis in (0, 1)]
        source = _centred(size, camera)
    return source, target


def _picture_length(wanted: float, available: int) -> int:
    align = LETTERBOX_ALIGN if available % LETTERBOX_ALIGN == 0 else 1
    return min(available, max(1, align, round(wanted / align) * align))


def _centred(size: list[int], within: tuple[int, int]) -> Rectangle:
    return Rectangle((within[0] - size[0]) // 2, (within[1] - size[1]) // 2, size[0], size[1])


def _resize_image(image: np.ndarray, size: tuple[int, int], antialias: bool) -> np.ndarray:
    """Area averaging along axes that shrink, bilinear along axes that grow: uint8 [h, w, 3]."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    shrunk = (min(height, size[0]), min(width, size[1])) if antialias else (height, width)
    while height % 2 == width % 2 == 0 and height >= 2 * shrunk[0] and width >= 2 * shrunk[1]:
        height, width = height // 2, width // 2  # exact halving is many times faster
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if shrunk != (height, width):
        # In one call with a growing axis INTER_AREA would turn into blocks: hence the two steps.
        image = cv2.resize(image, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != size:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return image
