"""Pictures for people: class colours, anomaly heat, contours and a legend over the camera image.

The heat goes from nothing through violet and orange to bright yellow: its lightness rises evenly
(the upper part of the Inferno colour map), so that it reads in sunlight, in gray and with every
kind of colour vision. Mask regions get a light line within a dark one, which no background
swallows. All of it is a few whole-image OpenCV calls, however many regions there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np

from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.imaging.legend import Color, Legend, draw_legend

UNLABELLED = 255  # class id where the network did not look or knows no class
REFERENCE_HEIGHT = 480  # image height, or width where that is less, at which style lengths hold


@dataclass(frozen=True)
class OverlayStyle:
    """How strong the layers are: opacities in 0..1, lengths in pixels of a 640 x 480 image."""

    class_opacity: float = 0.38
    heat_opacity: float = 0.85  # at the top of the display range
    heat_start: float = 0.2  # nothing is drawn below this fraction of the display range
    mask_opacity: float = 0.5  # fill of mask regions where there is no score to show
    light_width: float = 1.8  # line around mask regions
    dark_width: float = 1.4  # line on either side of it
    text_height: float = 11.0
    legend_min_area: float = 0.002  # smaller fractions of the image stay out of the legend
    light: Color = (255, 255, 255)
    dark: Color = (20, 12, 28)
    fill: Color = (245, 150, 30)


def draw_overlay(
    image: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    score: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    palette: np.ndarray,
    display: tuple[float, float],
    class_names: Mapping[int, str] | None = None,
    legend: bool = True,
    style: OverlayStyle = OverlayStyle(),
) -> np.ndarray:
    """Draw what was detected over `image`; returns a new uint8 [H, W, 3] RGB.

    image: uint8 [H, W, 3] RGB. labels: uint8 [H, W] class ids, 255 stays clear. score: float32
    [H, W], NaN stays clear. mask: uint8 [H, W], non-zero is anomalous. palette: uint8 [256, 3] RGB
    by class id. display: the scores at which heat begins and is full. class_names: for the legend,
    which is left out where it would cover too much of a small image.
    Raises DetectorError when shapes or dtypes do not fit together.
    """
    _check(image, labels, score, mask, palette, display)
    unit = min(image.shape[0], image.shape[1] * 0.75) / REFERENCE_HEIGHT
    drawn = image
    if labels is not None:
        drawn = _lay_over(drawn, labels, _class_layer(palette.tobytes(), style.class_opacity))
    if score is not None:
        levels = score_levels(score, display)
        drawn = _lay_over(drawn, levels, _heat_layer(style.heat_opacity, style.heat_start))
    if drawn is image:
        drawn = image.copy()
    if mask is not None:
        _draw_regions(drawn, mask, _line_layer(style, max(unit, 0.7), score is None))
    if legend:
        names = class_names or {}
        present = () if labels is None else _present(labels, style.legend_min_area)
        explained = Legend(
            width=image.shape[1],
            text_height=max(10.0, style.text_height * unit),
            classes=tuple((names.get(c, f"class {c}"), _color(palette[c])) for c in present),
            score_range=None if score is None else (float(display[0]), float(display[1])),
            ramp=_ramp(style.heat_opacity, style.heat_start),
            region=None if mask is None else _region_key(style, filled=score is None),
        )
        draw_legend(drawn, explained)
    return drawn


# A layer is two tables by pixel value, uint8 [256, 1, 3]: the colour to add, already weighted by
# its opacity, and how much of the image below to keep.
Layer = tuple[np.ndarray, np.ndarray]


def _lay_over(image: np.ndarray, values: np.ndarray, layer: Layer) -> np.ndarray:
    added, kept = layer
    below = cv2.multiply(image, cv2.applyColorMap(values, kept), scale=1 / 255)
    return cv2.add(below, cv2.applyColorMap(values, added), dst=below)


def _layer(colors: np.ndarray, opacity: np.ndarray) -> Layer:
    """colors: [256, 3] in 0..255, opacity: [256] in 0..1."""
    added = np.rint(colors * opacity[:, None]).astype(np.uint8)
    kept = np.repeat(np.rint(255 * (1 - opacity)).astype(np.uint8)[:, None], 3, axis=1)
    return added.reshape(256, 1, 3), kept.reshape(256, 1, 3)


@lru_cache(maxsize=8)
def _class_layer(palette: bytes, opacity: float) -> Layer:
    opacities = np.full(256, opacity)
    opacities[UNLABELLED] = 0
    return _layer(np.frombuffer(palette, np.uint8).reshape(256, 3), opacities)


@lru_cache(maxsize=8)
def _heat_layer(opacity: float, start: float) -> Layer:
    level = np.linspace(0, 1, 256)
    inferno = np.rint(100 + 145 * level).astype(np.uint8)  # violet to yellow, without the black end
    colors = cv2.applyColorMap(inferno[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    rise = np.clip((level - start) / (1 - start), 0, 1)
    return _layer(colors, opacity * rise * (1.5 - 0.5 * rise))


@lru_cache(maxsize=8)
def _ramp(opacity: float, start: float) -> bytes:
    """The heat as it looks on a gray road: 256 RGB triples."""
    road = np.full((256, 1, 3), 105, np.uint8)
    return _lay_over(
        road, np.arange(256, dtype=np.uint8)[:, None], _heat_layer(opacity, start)
    ).tobytes()


@lru_cache(maxsize=8)
def _line_layer(style: OverlayStyle, unit: float, fill: bool) -> tuple[Layer, float]:
    """Colours by blurred mask value, and the blur. The value tells the distance to the edge."""
    half = style.light_width * unit / 2
    reach = half + style.dark_width * unit + 0.5
    sigma = 0.6 * reach
    shares = np.clip(np.arange(256) / 255, 1e-6, 1 - 1e-6)
    distance = np.array([sigma * NormalDist().inv_cdf(float(share)) for share in shares])
    light = np.clip(half + 0.5 - np.abs(distance), 0, 1)
    dark = np.clip(reach - np.abs(distance), 0, 1)
    inside = np.clip(distance + 0.5, 0, 1) * (style.mask_opacity if fill else 0)
    color, opacity = np.zeros((256, 3)), np.zeros(256)
    for layer, alpha in ((style.fill, inside), (style.dark, dark), (style.light, light)):
        color = color * (1 - alpha[:, None]) + np.array(layer) * alpha[:, None]
        opacity = opacity * (1 - alpha) + alpha
    return _layer(color / np.maximum(opacity, 1e-9)[:, None], opacity), sigma


def _draw_regions(image: np.ndarray, mask: np.ndarray, line: tuple[Layer, float]) -> None:
    """Draw the contours into `image`, working only where the mask is."""
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0:
        return
    layer, sigma = line
    margin = int(4 * sigma) + 2
    rows = slice(max(0, top - margin), top + height + margin)
    columns = slice(max(0, left - margin), left + width + margin)
    grown = cv2.dilate(mask[rows, columns], np.ones((3, 3), np.uint8))  # a single pixel shows too
    _, solid = cv2.threshold(grown, 0, 255, cv2.THRESH_BINARY)
    soft = cv2.GaussianBlur(solid, (0, 0), sigma)
    image[rows, columns] = _lay_over(image[rows, columns], soft, layer)


def score_levels(score: np.ndarray, display: tuple[float, float]) -> np.ndarray:
    """Place of each score in the display range: uint8 [H, W], NaN at 0."""
    low, high = display
    clipped = cv2.patchNaNs(np.clip(score, low, high), low)
    gain = 255 / (high - low)
    return cv2.addWeighted(clipped, gain, clipped, 0, -low * gain, dtype=cv2.CV_8U)


def _present(labels: np.ndarray, min_area: float) -> tuple[int, ...]:
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()[:UNLABELLED]
    return tuple(np.flatnonzero(counts >= max(1.0, min_area * labels.size)).tolist())


def _region_key(style: OverlayStyle, filled: bool) -> tuple[Color, ...]:
    lines = (style.dark, style.light, style.dark)
    return (*lines, style.fill) if filled else lines


def _color(rgb: np.ndarray) -> Color:
    return int(rgb[0]), int(rgb[1]), int(rgb[2])


def _check(
    image: np.ndarray,
    labels: np.ndarray | None,
    score: np.ndarray | None,
    mask: np.ndarray | None,
    palette: np.ndarray,
    display: tuple[float, float],
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DetectorError(
            f"overlay over {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3] RGB"
        )
    size = image.shape[:2]
    for name, array, dtype in (
        ("labels", labels, np.uint8),
        ("score", score, np.float32),
        ("mask", mask, np.uint8),
    ):
        if array is not None and (array.shape != size or array.dtype != dtype):
            raise DetectorError(
                f"{name} are {array.dtype} {list(array.shape)}; expected {np.dtype(dtype)} "
                f"{list(size)} like the image"
            )
    if palette.shape != (256, 3) or palette.dtype != np.uint8:
        raise DetectorError(
            f"palette is {palette.dtype} {list(palette.shape)}; expected uint8 [256, 3]"
        )
    if score is not None and not -np.inf < display[0] < display[1] < np.inf:
        raise DetectorError(f"display range {display}; expected two rising finite numbers")
