"""Time of day and weather: the sun, the haze, and what the camera makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.scenes.style import Style
from anomaly_seg_ros.scenes.texture import Colour, clouds, mix, rng_for, scaled, vary

MOODS = ("sunny", "bright", "overcast", "low sun", "dusk", "fog")
MOOD_SHARES = (0.3, 0.2, 0.22, 0.12, 0.08, 0.08)


@dataclass(frozen=True)
class Light:
    """The light of a sequence. Colours are RGB 0..255."""

    mood: str
    sun: tuple[float, float, float]  # unit vector to the sun: right, up, along the road
    strength: float  # 0: no shadows, 1: hard sun
    zenith: Colour
    haze: Colour  # the colour of the horizon, into which far things fade
    sight: float  # m, over which contrast falls to 1/e
    clouds: float  # 0..1 share of the sky
    shadow: Colour  # what full shadow multiplies the ground with, 0..1
    tone: np.ndarray  # uint8 [1, 256, 3]: exposure, white balance and contrast
    lamps: bool  # whether vehicles and windows shine

    def facing(self, normal: tuple[float, float, float]) -> float:
        """Brightness of a surface with this unit normal: about 0.55 in shade to 1.15 in the sun."""
        lit = max(0.0, sum(a * b for a, b in zip(normal, self.sun, strict=True)))
        ambient = 0.86 + 0.08 * normal[1]
        return ambient + 0.1 * (1 - self.strength) + self.strength * (0.5 * lit - 0.2)

    def on(self, normals: np.ndarray) -> np.ndarray:
        """`facing` of many normals [N, 3]: float64 [N]."""
        lit = np.maximum(normals @ np.asarray(self.sun), 0)
        ambient = 0.86 + 0.08 * normals[:, 1]
        return ambient + 0.1 * (1 - self.strength) + self.strength * (0.5 * lit - 0.2)

    def slant(self) -> tuple[float, float]:
        """How far the shadow of one metre of height reaches over the ground, in x and z."""
        up = max(self.sun[1], 0.2)
        return -self.sun[0] / up, -self.sun[2] / up

    def fade(self, distance: float) -> float:
        """Share of the haze in what is seen from a distance, 0..1."""
        return 1 - math.exp(-max(0.0, distance) / self.sight)


def draw_light(seed: int) -> Light:
    """Light and weather of a seed."""
    rng = rng_for(seed, 2)
    mood = str(rng.choice(MOODS, p=MOOD_SHARES))
    height = math.radians(
        {"low sun": rng.uniform(9, 20), "dusk": rng.uniform(4, 9)}.get(mood, rng.uniform(28, 62))
    )
    around = rng.uniform(-math.pi, math.pi)
    sun = (
        math.cos(height) * math.sin(around),
        math.sin(height),
        math.cos(height) * math.cos(around),
    )
    strength = {
        "sunny": rng.uniform(0.8, 1.0),
        "bright": rng.uniform(0.4, 0.7),
        "low sun": rng.uniform(0.6, 0.9),
        "overcast": rng.uniform(0.0, 0.12),
    }.get(mood, 0.0)
    zenith, haze = _sky_colours(rng, mood)
    exposure = rng.uniform(0.86, 1.25) * {"dusk": 0.5, "low sun": 0.92, "fog": 0.95}.get(mood, 1.0)
    warmth = rng.normal(0, 0.035) + {"low sun": 0.07, "dusk": -0.06}.get(mood, 0.0)
    return Light(
        mood=mood,
        sun=sun,
        strength=strength,
        zenith=zenith,
        haze=haze,
        sight={"fog": rng.uniform(45, 110), "sunny": rng.uniform(500, 1500)}.get(
            mood, rng.uniform(250, 900)
        ),
        clouds={"sunny": rng.uniform(0, 0.45), "bright": rng.uniform(0.4, 0.85)}.get(
            mood, rng.uniform(0.5, 1.0)
        ),
        shadow=(rng.uniform(0.40, 0.52), rng.uniform(0.44, 0.55), rng.uniform(0.52, 0.62)),
        tone=_tone(exposure, warmth, rng.normal(0, 0.02), rng.uniform(0.85, 1.2)),
        lamps=mood == "dusk" or (mood in ("fog", "overcast") and rng.random() < 0.35),
    )


def _sky_colours(rng: np.random.Generator, mood: str) -> tuple[Colour, Colour]:
    if mood in ("sunny", "bright"):
        zenith: Colour = vary(rng, (72, 122, 196), 0.15)
        haze: Colour = vary(rng, (198, 214, 232), 0.06)
    elif mood == "low sun":
        zenith, haze = vary(rng, (110, 140, 184), 0.12), vary(rng, (250, 214, 168), 0.06)
    elif mood == "dusk":
        zenith, haze = vary(rng, (86, 96, 140), 0.15), vary(rng, (206, 160, 140), 0.12)
    else:
        grey = vary(rng, (196, 202, 210), 0.1)
        zenith, haze = mix(grey, (120, 130, 146), rng.uniform(0.1, 0.6)), grey
    return zenith, haze


def _tone(exposure: float, warmth: float, green: float, contrast: float) -> np.ndarray:
    """The lookup table of a simple camera: gain per channel, then an S-curve with a soft knee."""
    levels = np.arange(256, dtype=np.float64)[:, None] / 255
    gains = exposure * np.array([1 + warmth, 1 + green, 1 - warmth])
    lifted = levels * gains
    lifted = np.where(lifted > 0.8, 0.8 + 0.2 * np.tanh((lifted - 0.8) / 0.2), lifted)
    curved = 0.5 + np.sign(lifted - 0.5) * 0.5 * np.abs(2 * lifted - 1) ** (1 / contrast)
    mixed = 0.4 * lifted + 0.6 * curved
    return np.clip(mixed * 255 + 0.5, 0, 255).astype(np.uint8)[None]


class Sensor:
    """What the camera adds to a picture: vignetting, softness, noise, compression."""

    def __init__(self, seed: int, size: tuple[int, int], light: Light) -> None:
        height, width = size
        rng = rng_for(seed, 3)
        self._tone = light.tone
        across = (np.arange(width) - width / 2) / (width / 2)
        down = (np.arange(height) - height / 2) / (height / 2)
        fall = 1 - rng.uniform(0, 0.28) * (across[None] ** 2 + down[:, None] ** 2) / 2
        self._vignette = np.repeat((fall * 255).astype(np.uint8)[..., None], 3, axis=2)
        strength = rng.uniform(0.6, 3.2) * (1.6 if light.mood == "dusk" else 1.0)
        bank = rng.standard_normal((height + 64, width + 64, 3), dtype=np.float32) * strength
        luma = rng.standard_normal((height + 64, width + 64, 1), dtype=np.float32) * strength
        self._noise = np.clip(bank * 0.6 + luma * 0.7, -60, 60).astype(np.int16)
        self._blur = rng.uniform(0.35, 0.75) if rng.random() < 0.75 else 0.0
        self._quality = int(rng.integers(65, 94)) if rng.random() < 0.4 else 0
        self._seed = seed

    def develop(self, image: np.ndarray, index: int) -> np.ndarray:
        """The picture as the camera gives it, uint8 [H, W, 3]; the noise depends on the index."""
        height, width = image.shape[:2]
        rng = rng_for(self._seed, 4, index)
        toned = cv2.LUT(cv2.multiply(image, self._vignette, scale=1 / 255), self._tone)
        if self._blur:
            toned = cv2.GaussianBlur(toned, (3, 3), self._blur)
        top, left = rng.integers(0, 65, 2)
        noise = self._noise[top : top + height, left : left + width]
        noisy = cv2.add(toned, noise, dtype=cv2.CV_8U)
        if not self._quality:
            return noisy
        done, packed = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not done:
            raise RuntimeError("OpenCV could not write a JPEG; its build lacks the codec")
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))


class Sky:
    """A panorama at infinity: sky, clouds, sun and a skyline, turned with the camera."""

    def __init__(
        self, seed: int, focal: float, size: tuple[int, int], light: Light, style: Style
    ) -> None:
        rng = rng_for(seed, 5)
        height, width = size
        self._half = width  # px to each side of straight ahead
        self.rows = round(height * 0.85)  # px above the horizon
        shape = (self.rows, 2 * self._half)
        up = np.linspace(1, 0, self.rows, dtype=np.float32)[:, None] ** 0.75
        haze, zenith = (np.asarray(c, np.float32) for c in (light.haze, light.zenith))
        picture = haze + (zenith - haze) * up[..., None] * np.ones((1, shape[1], 1), np.float32)
        small = (max(2, shape[0] // 2), shape[1] // 2)
        puffs = clouds(rng, small, rng.uniform(4, 9), 6)
        puffs = cv2.resize(puffs, shape[::-1], interpolation=cv2.INTER_CUBIC)
        cover = np.clip((puffs - 0.75 + 1.5 * light.clouds) * 1.5, 0, 1)[..., None]
        shade = np.roll(puffs, 6, axis=0)[..., None] - puffs[..., None]
        white = np.asarray(mix(light.haze, (250, 250, 250), 0.6), np.float32)
        picture += cover * 0.85 * (white * (1 + 0.12 * np.clip(shade * 3, -1, 1)) - picture)
        if light.mood in ("sunny", "bright", "low sun") and light.sun[2] > 0.2:
            self._sun(picture, focal, light)
        self.picture = np.clip(picture + rng.normal(0, 0.7, (*shape, 1)), 0, 255).astype(np.uint8)
        self.labels = np.full(shape, 10, np.uint8)
        self._skyline(rng, focal, light, style)

    def _skyline(self, rng: np.random.Generator, focal: float, light: Light, style: Style) -> None:
        """Wooded hills and, in towns, far houses along the horizon."""
        wide = self.picture.shape[1]
        town = style.kind in ("city", "boulevard", "industrial")
        for layer in range(3):
            far = 1 - layer / 3
            fade = 0.3 + 0.32 * far
            up = focal * rng.uniform(0.012, 0.045) * (0.6 + far)
            line = clouds(rng, (8, wide), rng.uniform(3, 9), 7)[0]
            rough = rng.normal(0, 0.09, wide // 3 + 1).repeat(3)[:wide] * (1 - 0.7 * far)
            top = np.maximum(1, up * (1 + 0.5 * line + rough)).astype(int)
            colour = mix(scaled(style.leaves, 0.85), light.haze, fade)
            self._silhouette(top, colour, 8)
            if town and layer:
                at = 0
                while at < wide:
                    step = int(focal * rng.uniform(0.02, 0.07)) + 2
                    high = int(focal * rng.uniform(0.02, 0.085) * (1.3 - 0.3 * layer))
                    wall = vary(rng, (176, 166, 154), 0.2)
                    block = np.zeros(wide, int)
                    block[at : at + step] = high
                    if rng.random() < 0.75:
                        self._silhouette(block, mix(wall, light.haze, fade - 0.15), 2)
                    at += step + int(rng.uniform(-0.3, 0.5) * step)

    def _silhouette(self, top: np.ndarray, colour: Colour, label: int) -> None:
        reach = min(int(top.max()) + 1, self.rows)
        rows = np.arange(reach, 0, -1)[:, None]
        inside = rows <= top[None, :]
        self.picture[-reach:][inside] = np.asarray(colour).astype(np.uint8)
        self.labels[-reach:][inside] = label

    def _sun(self, picture: np.ndarray, focal: float, light: Light) -> None:
        column = self._half + focal * light.sun[0] / light.sun[2]
        row = self.rows - focal * light.sun[1] / math.hypot(light.sun[0], light.sun[2])
        ys, xs = np.ogrid[: picture.shape[0], : picture.shape[1]]
        away = np.sqrt((xs - column) ** 2 + (ys - row) ** 2) / focal
        glow = np.clip(np.exp(-away * 7) * 0.6 + (away < 0.02), 0, 1).astype(np.float32)
        picture += glow[..., None] * (np.array([255, 250, 232], np.float32) - picture)

    def draw(self, image: np.ndarray, labels: np.ndarray, focal: float, pose: np.ndarray) -> None:
        """Fill the rows down to the horizon. pose: yaw, pitch, roll of the camera, radians."""
        yaw, pitch, roll = (float(value) for value in pose)
        height, width = labels.shape
        bottom = (height - 1) / 2 - focal * math.tan(pitch)
        rows = min(height, math.ceil(bottom + abs(math.tan(roll)) * width / 2) + 2)
        if rows <= 0:
            return
        cos, sin = math.cos(roll), math.sin(roll)
        centre = ((width - 1) / 2, (height - 1) / 2)
        origin_x = self._half + focal * math.tan(yaw)
        origin_y = self.rows - 1.0
        back = np.array(
            [
                [cos, -sin, origin_x - cos * centre[0] + sin * centre[1]],
                [sin, cos, origin_y - sin * centre[0] - cos * centre[1] + focal * math.tan(pitch)],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (width, rows)
        image[:rows] = cv2.warpAffine(
            self.picture, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        labels[:rows] = cv2.warpAffine(
            self.labels, back, size,
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
