"""The strip along the top of an overlay that says what its colours mean.

It lies at the top because road scenes have sky there. Text is drawn large and shrunk, so that small
sizes stay clean, and kept by content: a video pays for it only when something in it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

Color = tuple[int, int, int]

MAX_SHARE = 0.3  # of the image height: a legend that needs more is left out
_DETAIL = 4  # drawn this much larger, then shrunk
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BACKGROUND: Color = (14, 16, 20)
_BACKGROUND_OPACITY = 0.7
_INK: Color = (242, 242, 242)


@dataclass(frozen=True)
class Legend:
    """What to explain, for images `width` pixels wide and text `text_height` pixels high."""

    width: int
    text_height: float
    classes: tuple[tuple[str, Color], ...]
    score_range: tuple[float, float] | None  # scores at the two ends of the ramp
    ramp: bytes  # RGB of the heat from none to full
    region: tuple[Color, ...] | None  # how an anomalous region looks, from the outside in


def draw_legend(image: np.ndarray, legend: Legend) -> None:
    """Draw the strip into `image`, uint8 [H, W, 3] RGB, unless it would take too much of it."""
    panel = _panel(legend)
    if panel is None or panel[0].shape[0] > MAX_SHARE * image.shape[0]:
        return
    added, kept = panel
    strip = image[: added.shape[0]]
    strip[:] = cv2.add(cv2.multiply(strip, kept, scale=1 / 255), added)


@lru_cache(maxsize=32)
def _panel(legend: Legend) -> tuple[np.ndarray, np.ndarray] | None:
    """Colour to add and share of the image to keep, uint8 [h, W, 3] each; None when empty."""
    pen = _Pen(legend.width * _DETAIL, legend.text_height * _DETAIL)
    for name, color in legend.classes:
        pen.place(pen.key_width + pen.text_width(name))
        pen.box([color])
        pen.write(name)
    if legend.score_range is not None:
        low, high = (f"{value:.3g}" for value in legend.score_range)
        bar = 6 * pen.text
        words = ("anomaly score " + low, high)
        pen.place(sum(pen.text_width(word) for word in words) + bar + 1.6 * pen.text)
        pen.write(words[0])
        pen.ramp(np.frombuffer(legend.ramp, np.uint8).reshape(1, -1, 3), bar)
        pen.write(high)
    if legend.region is not None:
        pen.place(pen.key_width + pen.text_width("anomaly"))
        pen.box(list(legend.region))
        pen.write("anomaly")
    return pen.finish()


class _Pen:
    """Writes items from left to right, in detail pixels, and wraps before one that does not fit."""

    def __init__(self, width: int, text: float) -> None:
        self.width, self.text = width, text
        self.margin = round(0.7 * text)
        self.line = round(1.55 * text)
        self.key = round(0.95 * text)
        self.key_width = self.key + 0.45 * text
        self.scale = cv2.getFontScaleFromHeight(_FONT, round(0.72 * text))
        self.thickness = max(1, round(text / 16))
        self.x, self.row = float(self.margin), 0
        self.next_x = self.x
        self.canvas = np.zeros((0, width, 3), np.uint8)

    def text_width(self, text: str) -> float:
        return cv2.getTextSize(text, _FONT, self.scale, self.thickness)[0][0]

    def place(self, width: float) -> None:
        """Begin an item of this width behind the last one, or on a new line."""
        if self.canvas.size == 0:
            self._add_line()
        elif self.next_x + width > self.width - self.margin:
            self.row, self.next_x = self.row + 1, float(self.margin)
            self._add_line()
        self.x = self.next_x
        self.next_x += width + 1.1 * self.text

    def box(self, rings: list[Color]) -> None:
        """A square of nested colours, the outermost first."""
        top = self._middle() - self.key // 2
        for depth, color in enumerate(rings):
            inset = depth * self.key // 7
            left = round(self.x)
            corners = (
                (left + inset, top + inset),
                (left + self.key - inset, top + self.key - inset),
            )
            cv2.rectangle(self.canvas, *corners, color, cv2.FILLED)
        self.x += self.key_width

    def write(self, text: str) -> None:
        baseline = self._middle() + round(0.36 * self.text)
        origin = (round(self.x), baseline)
        cv2.putText(self.canvas, text, origin, _FONT, self.scale, _INK, self.thickness, cv2.LINE_AA)
        self.x += self.text_width(text)

    def ramp(self, colors: np.ndarray, length: float) -> None:
        self.x += 0.8 * self.text
        top, left = self._middle() - self.key // 2, round(self.x)
        bar = cv2.resize(colors, (round(length), self.key), interpolation=cv2.INTER_LINEAR)
        target = self.canvas[top : top + self.key, left : left + round(length)]
        target[:] = bar[:, : target.shape[1]]
        self.x += length + 0.8 * self.text

    def finish(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.canvas.size == 0:
            return None
        edge = np.full((self.margin // 2, self.width, 3), _BACKGROUND, np.uint8)
        drawn = np.concatenate([edge, self.canvas, edge])
        ink = (drawn != np.array(_BACKGROUND, np.uint8)).any(axis=2).astype(np.float32)
        size = (self.width // _DETAIL, round(drawn.shape[0] / _DETAIL))
        color = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        ink = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
        opacity = (_BACKGROUND_OPACITY + (1 - _BACKGROUND_OPACITY) * ink)[..., None]
        kept = np.repeat(np.rint(255 * (1 - opacity)), 3, axis=2).astype(np.uint8)
        return np.rint(color * opacity).astype(np.uint8), kept

    def _add_line(self) -> None:
        blank = np.full((self.line, self.width, 3), _BACKGROUND, np.uint8)
        self.canvas = np.concatenate([self.canvas, blank])

    def _middle(self) -> int:
        return self.row * self.line + self.line // 2
