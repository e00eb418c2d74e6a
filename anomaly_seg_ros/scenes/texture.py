"""Random numbers by key, and the noise and shading that every surface is made of."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[float, float, float]


def rng_for(*keys: int) -> np.random.Generator:
    """A generator that depends on the keys only: the same keys, the same numbers, anywhere."""
    return np.random.default_rng([int(key) & 0xFFFF_FFFF_FFFF_FFFF for key in keys])


def clouds(
    rng: np.random.Generator, shape: tuple[int, int], cells: float, octaves: int = 4
) -> np.ndarray:
    """Smooth noise, float32 [h, w] of about -1..1, that tiles in both directions.

    cells: how many bumps the coarsest octave has along the longer side.
    """
    height, width = shape
    longer = max(height, width)
    total = np.zeros(shape, np.float32)
    weight, norm = 1.0, 0.0
    for octave in range(octaves):
        count = cells * 2**octave
        rows = max(2, round(count * height / longer))
        cols = max(2, round(count * width / longer))
        if rows > height or cols > width:
            break
        grid = rng.uniform(-1, 1, (rows, cols)).astype(np.float32)
        total += weight * _stretch(grid, height, width)
        norm += weight
        weight *= 0.55
    return total * (1.6 / max(norm, 1e-6))


def _stretch(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize with wrap-around, so that the result tiles."""
    rows, cols = grid.shape
    padded = np.pad(grid, 2, mode="wrap")
    size = (round(width * (cols + 4) / cols), round(height * (rows + 4) / rows))
    top, left = round(2 * height / rows), round(2 * width / cols)
    large = cv2.resize(padded, size, interpolation=cv2.INTER_CUBIC)
    return large[top : top + height, left : left + width]


def grain(rng: np.random.Generator, shape: tuple[int, int], tile: int = 256) -> np.ndarray:
    """White noise, float32 [h, w], standard deviation 1, one random tile repeated with shifts."""
    patch = rng.standard_normal((tile, tile), dtype=np.float32)
    rows = -(-shape[0] // tile)
    cols = -(-shape[1] // tile)
    return np.tile(patch, (rows, cols))[: shape[0], : shape[1]]


def paint(values: np.ndarray, colour: Colour, contrast: float = 1.0) -> np.ndarray:
    """Colour times (1 + contrast * values): uint8 [h, w, 3] from noise [h, w] of -1..1."""
    levels = cv2.convertScaleAbs(values.astype(np.float32), alpha=contrast * 127, beta=128)
    factor = 1 + (np.arange(256, dtype=np.float32) - 128) / 127
    table = to_bytes(factor[:, None] * np.asarray(colour, np.float32))[None]
    return cv2.LUT(cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR), table)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Rounded and clipped to 0..255, uint8, same shape."""
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that lies `share` (0..1) of the way from first to second."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def scaled(colour: Colour, factor: float) -> Colour:
    """A colour made lighter or darker, kept in 0..255."""
    red, green, blue = (min(255.0, max(0.0, channel * factor)) for channel in colour)
    return red, green, blue


def vary(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """A colour near the given one: brightness and channels shifted by up to `amount` (share)."""
    level = 1 + rng.uniform(-amount, amount)
    red, green, blue = (
        float(np.clip(channel * level * (1 + rng.uniform(-amount, amount) / 2), 0, 255))
        for channel in colour
    )
    return red, green, blue


def pick(rng: np.random.Generator, choices: Sequence[Colour]) -> Colour:
    """One of the colours."""
    return choices[int(rng.integers(len(choices)))]


def relief(mask: np.ndarray, light: tuple[float, float], depth: float) -> np.ndarray:
    """Shading of a shape as if it were inflated: float32 [h, w] of about 0.5..1.3.

    mask: uint8 [h, w], non-zero inside. light: direction to the light (right, up). depth: how
    many pixels from the edge the surface still bends.
    """
    inside = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    share = np.clip(inside / depth, 0, 1)
    height = cv2.GaussianBlur(np.sqrt(share * (2 - share)), (0, 0), max(1.0, depth / 8)) * depth
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    norm = np.sqrt(slope_x**2 + slope_y**2 + 1)
    facing = (-slope_x * light[0] + slope_y * light[1] + 0.8) / (norm * 1.25)
    return 0.62 + 0.55 * np.clip(facing, -0.25, 1.2)
