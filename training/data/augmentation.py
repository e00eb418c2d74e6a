"""Random views, light, weather and sensor effects for training crops (OpenCV, uint8 in and out)."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.label_spaces import VOID


def random_view(
    image: np.ndarray,
    label: np.ndarray,
    crop: tuple[int, int],
    heights: tuple[float, float],
    rng: np.random.Generator,
    *,
    stretch: float = 1.0,
    label_stride: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Scale, shift, flip and stretch: image [*crop, 3] and label [crop / label_stride].

    The frame is seen at a height drawn from `heights` (pixels, log-uniform) and its aspect ratio
    jittered, as squashing cameras of 4:3 to 2:1 into one network input does.
    """
    rows, columns = label.shape
    height = float(np.exp(rng.uniform(*np.log(heights))))
    width = height * columns * stretch / rows * float(np.exp(rng.uniform(-0.12, 0.3)))
    window_rows = min(rows, max(8, round(crop[0] / height * rows)))
    window_columns = min(columns, max(8, round(crop[1] / width * columns)))
    top = int(rng.integers(0, rows - window_rows + 1))
    left = int(rng.integers(0, columns - window_columns + 1))
    view = image[top : top + window_rows, left : left + window_columns]
    ids = label[top : top + window_rows, left : left + window_columns]
    if rng.random() < 0.5:
        view, ids = view[:, ::-1], ids[:, ::-1]
    shrinks = window_rows > crop[0] and window_columns > crop[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if not shrinks and rng.random() < 0.3:
        interpolation = cv2.INTER_CUBIC
    view = cv2.resize(np.ascontiguousarray(view), crop[::-1], interpolation=interpolation)
    grid = (crop[1] // label_stride, crop[0] // label_stride)
    ids = cv2.resize(np.ascontiguousarray(ids), grid, interpolation=cv2.INTER_NEAREST)
    return view, ids


def vary_class_colours(
    image: np.ndarray, label: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Give each class of the frame its own cast and contrast: other countries' walls and hills."""
    ids = np.where(label == VOID, 31, label % 31)
    gains = 1.0 + rng.normal(0, 0.12, (32, 1)) + rng.normal(0, 0.06, (32, 3))
    shifts = rng.normal(0, 12, (32, 1)) + rng.normal(0, 7, (32, 3))
    gain = cv2.blur(gains[ids].astype(np.float32), (3, 3))
    shift = cv2.blur(shifts[ids].astype(np.float32), (3, 3))
    return np.clip(image * gain + shift, 0, 255).astype(np.uint8)


def _vary_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, contrast, gamma and white balance as one table per channel, then saturation."""
    levels = np.arange(256, dtype=np.float32) / 255.0
    gamma = float(np.exp(rng.normal(0, 0.2)))
    contrast, exposure = float(np.exp(rng.normal(0, 0.15))), float(rng.normal(0.02, 0.07))
    curve = (levels**gamma - 0.45) * contrast + 0.45 + exposure
    table = np.clip(curve[:, None] * np.exp(rng.normal(0, 0.07, 3)) * 255, 0, 255)
    image = cv2.LUT(image, table.astype(np.uint8).reshape(1, 256, 3))
    if rng.random() < 0.6:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = float(rng.uniform(0.2, 1.5)) if rng.random() < 0.9 else 0.0
        image = cv2.addWeighted(image, keep, grey, 1.0 - keep, 0)
    if rng.random() < 0.3:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + int(rng.integers(-12, 13))) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image


def _cast_shadows(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows, columns = image.shape[:2]
    shade = np.zeros((rows, columns), np.float32)
    for _ in range(rng.integers(1, 4)):
        centre = rng.uniform((0, 0.35 * rows), (columns, rows))
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 8))))
        radii = rng.uniform(0.1, 0.5, angles.size) * columns
        offsets = np.stack((np.cos(angles) * radii, np.sin(angles) * radii * 0.4), axis=1)
        cv2.fillPoly(shade, [(centre + offsets).astype(np.int32)], 1.0)
    blur = 2 * int(rng.integers(0, 8)) + 1
    dark = 1.0 - cv2.GaussianBlur(shade, (blur, blur), 0) * float(rng.uniform(0.2, 0.6))
    return (image * dark[..., None]).astype(np.uint8)


def _fog(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows = image.shape[0]
    distance = np.exp(-np.abs(np.arange(rows) / rows - rng.uniform(0.3, 0.5)) * rng.uniform(1, 5))
    veil = (distance * rng.uniform(0.2, 0.7)).astype(np.float32)[:, None, None]
    colour = rng.uniform(150, 235) + rng.normal(0, 5, 3)
    return np.clip(image * (1 - veil) + colour * veil, 0, 255).astype(np.uint8)


def _rain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows, columns = image.shape[:2]
    drops = (rng.random((rows, columns)) < rng.uniform(0.001, 0.006)).astype(np.float32)
    length = int(rng.integers(7, 21))
    kernel = np.zeros((length, length), np.float32)
    tilt = float(rng.uniform(-0.3, 0.3)) * length
    cv2.line(kernel, (round(length / 2 - tilt), 0), (round(length / 2 + tilt), length - 1), 1.0)
    streaks = np.clip(cv2.filter2D(drops, -1, kernel), 0, 1)[..., None] * rng.uniform(40, 110)
    return np.clip(image + streaks, 0, 255).astype(np.uint8)


def _vary_sharpness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.random()
    if kind < 0.25:
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.8)))
    if kind < 0.35:
        length = int(rng.integers(3, 10))
        kernel = np.zeros((length, length), np.float32)
        angle, middle = rng.uniform(0, np.pi), (length - 1) / 2
        step = np.array((np.cos(angle), np.sin(angle))) * middle
        ends = [tuple(round(v) for v in middle + sign * step) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    if kind < 0.65:  # sharpen: the low-resolution sets are softer than a camera is
        soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 2.5)))
        amount = float(rng.uniform(0.5, 2.5))
        return cv2.addWeighted(image, 1 + amount, soft, -amount, 0)
    return image


def vary_camera(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, shadows, weather, sharpness, noise and compression; uint8 [H, W, 3] RGB."""
    if rng.random() < 0.75:
        image = _vary_light(image, rng)
    if rng.random() < 0.15:
        image = _cast_shadows(image, rng)
    if rng.random() < 0.08:
        image = _fog(image, rng)
    if rng.random() < 0.04:
        image = _rain(image, rng)
    image = _vary_sharpness(image, rng)
    if rng.random() < 0.3:
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(1, 10)))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        decoded = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
        return image if decoded is None else np.asarray(decoded)
    return image
