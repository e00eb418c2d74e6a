"""Unknown objects pasted into labelled road frames.

Objects are pasted at the frame's stored resolution, before any scaling or blurring, so that
sharpness does not give them away; their light follows the background, and some wear a procedural
or foreign texture so that shape alone must do.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.data.label_spaces import OUTLIER, VOID
from training.data.labelled_frames import DatasetError

HORIZON = 0.45  # of the frame height, a road camera's usual horizon
CAMERA_HEIGHT = 1.4  # metres, above the road


@dataclass(frozen=True)
class Cutouts:
    """RGBA objects uint8 [h, w, 4], alpha = matte, of one split."""

    images: tuple[np.ndarray, ...]
    full_body: tuple[bool, ...]

    @classmethod
    def read(cls, folder: Path, split: str) -> Cutouts:
        """Objects of `folder/cutouts.csv` whose split is `split` (train or val)."""
        table = folder / "cutouts.csv"
        if not table.is_file():
            raise DatasetError(f"{table} not found: outlier pasting needs the cut-outs folder")
        images, full_body = [], []
        with table.open(newline="") as stream:
            for row in csv.DictReader(stream):
                if row["split"] != split:
                    continue
                image = cv2.imread(str(folder / row["file"]), cv2.IMREAD_UNCHANGED)
                if image is None or image.ndim != 3 or image.shape[2] != 4:
                    raise DatasetError(f"{folder / row['file']} is no RGBA image")
                images.append(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA))
                full_body.append(row["full_body"] == "1")
        return cls(tuple(images), tuple(full_body))


def _noise_texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Colourful noise of several octaves, float32 [h, w, 3] in 0..255."""
    base = rng.uniform(0, 255, 3).astype(np.float32)
    texture = np.broadcast_to(base, (height, width, 3)).copy()
    for _ in range(rng.integers(1, 4)):
        cells = int(rng.integers(2, 24))
        grid = rng.normal(0, rng.uniform(10, 60), (cells, cells, 3)).astype(np.float32)
        interpolation = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_CUBIC
        texture += cv2.resize(grid, (width, height), interpolation=interpolation)
    if rng.random() < 0.4:  # stripes
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 24)
        ys, xs = np.mgrid[:height, :width].astype(np.float32)
        phase = (np.cos(angle) * xs + np.sin(angle) * ys) / period
        texture += (np.sign(np.sin(2 * np.pi * phase)) * rng.uniform(15, 70))[..., None]
    return np.clip(texture, 0, 255)


def _placement(
    rng: np.random.Generator, frame: tuple[int, int], aspect: float, stretch: float
) -> tuple[int, int, int, int]:
    """Box of an object of true `aspect` (width / height): top, left, height, width, stored px."""
    rows, columns = frame
    kind = rng.random()
    if kind < 0.5:  # stands on the ground, as large as its distance says
        foot = float(np.clip(rng.normal(0.68, 0.14), HORIZON + 0.03, 1.08))
        metres = float(np.exp(rng.uniform(np.log(0.2), np.log(2.8))))
        longest = metres / CAMERA_HEIGHT * (foot - HORIZON)
    elif kind < 0.8:  # somewhere below the horizon, any size
        foot = float(np.clip(rng.normal(0.62, 0.18), 0.2, 1.1))
        longest = float(np.exp(rng.uniform(np.log(0.035), np.log(0.65))))
    else:  # anywhere: birds, balloons, things on poles
        longest = float(np.exp(rng.uniform(np.log(0.035), np.log(0.4))))
        foot = float(rng.uniform(longest, 1.0))
    longest = max(longest, 0.03)
    height = longest * min(1.0, 1.0 / aspect) * rows
    width = longest * min(1.0, aspect) * rows / stretch
    box_height, box_width = max(3, round(height)), max(2, round(width))
    left = int(rng.uniform(-0.25 * box_width, columns - 0.75 * box_width))
    return round(foot * rows) - box_height, left, box_height, box_width


def paste_outlier(
    image: np.ndarray,
    label: np.ndarray,
    cutouts: Cutouts,
    rng: np.random.Generator,
    *,
    stretch: float = 1.0,
    texture_share: float = 0.3,
    donor: np.ndarray | None = None,
) -> None:
    """Paste one object in place: image uint8 [H, W, 3]; label uint8 [H, W] gets OUTLIER, rims VOID.

    With probability `texture_share` the object wears noise or, where `donor` (uint8 [h, w, 3]) is
    given, a piece of another picture instead of its own texture.
    """
    pick = int(rng.integers(len(cutouts.images)))
    cutout = cutouts.images[pick]
    if rng.random() < 0.5:
        cutout = cutout[:, ::-1]
    rows, columns = label.shape
    aspect = cutout.shape[1] / cutout.shape[0] * float(np.exp(rng.normal(0, 0.12)))
    top, left, height, width = _placement(rng, (rows, columns), aspect, stretch)
    if not cutouts.full_body[pick] and rng.random() < 0.5:
        top = rows - int(height * rng.uniform(0.7, 1.0))  # hide the cut edge below the frame
    sized = cv2.resize(cutout, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha: np.ndarray = sized[..., 3:] / 255.0
    colour: np.ndarray = sized[..., :3]
    if rng.random() < texture_share:
        if donor is not None and rng.random() < 0.5:
            y = int(rng.integers(0, max(1, donor.shape[0] - height)))
            x = int(rng.integers(0, max(1, donor.shape[1] - width)))
            piece = donor[y : y + height, x : x + width]
            colour = cv2.resize(piece, (width, height)).astype(np.float32)
        else:
            shade = colour.mean(axis=2, keepdims=True) - colour.mean()
            colour = _noise_texture(rng, height, width) + 0.5 * shade
    y0, y1, x0, x1 = max(top, 0), min(top + height, rows), max(left, 0), min(left + width, columns)
    if y1 - y0 < 3 or x1 - x0 < 2:
        return
    window = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    alpha, colour = alpha[window], colour[window]
    under = image[y0:y1, x0:x1].astype(np.float32)
    if rng.random() < 0.7:  # light of the place
        weight = alpha / max(float(alpha.sum()), 1.0)
        mean = (colour * weight).sum(axis=(0, 1))
        shift = under.mean(axis=(0, 1)) - mean
        colour = mean + (colour - mean) * rng.uniform(0.6, 1.1) + shift * rng.uniform(0.2, 0.9)
    else:
        colour = colour * rng.uniform(0.5, 1.3)
    if rng.random() < 0.5 and alpha.shape[0] > 4:  # feather the rim
        alpha = np.asarray(cv2.GaussianBlur(alpha, (3, 3), 0)).reshape(alpha.shape)
    if rng.random() < 0.4:
        _contact_shadow(image, y1, x0, x1, rng)
        under = image[y0:y1, x0:x1].astype(np.float32)
    image[y0:y1, x0:x1] = np.clip(under + alpha * (colour - under), 0, 255).astype(np.uint8)
    solid = alpha[..., 0]
    region = label[y0:y1, x0:x1]
    region[(solid > 0.15) & (solid <= 0.5)] = VOID
    region[solid > 0.5] = OUTLIER


def _contact_shadow(
    image: np.ndarray, foot: int, left: int, right: int, rng: np.random.Generator
) -> None:
    rows, columns = image.shape[:2]
    half = max(2, int((right - left) * 0.55))
    depth = max(2, half // 5)
    y0, y1 = max(0, foot - depth), min(rows, foot + depth)
    centre = (left + right) // 2 + int(rng.normal(0, 0.2 * half))
    x0, x1 = max(0, centre - half), min(columns, centre + half)
    if y1 - y0 < 2 or x1 - x0 < 2:
        return
    ys = (np.arange(y0, y1, dtype=np.float32)[:, None] - foot) / depth
    xs = (np.arange(x0, x1, dtype=np.float32)[None] - centre) / half
    dark = np.clip(1.0 - ys**2 - xs**2, 0, 1)[..., None] * rng.uniform(0.2, 0.6)
    image[y0:y1, x0:x1] = (image[y0:y1, x0:x1] * (1.0 - dark)).astype(np.uint8)
