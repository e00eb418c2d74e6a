"""Score distribution, precision over recall and ROC in one SVG, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.metrics import ScoreHistogram

BINS = 64  # of the score distribution, over the bundle's display range
POINTS = 300  # of a curve
PANEL, GAP, MARGIN = 260, 90, 60  # pixels
KNOWN_COLOR, ANOMALY_COLOR, CURVE_COLOR = "#0072b2", "#d55e00", "#222222"  # Okabe and Ito


class ScoreSpread:
    """How many known and anomalous pixels have which score; beyond the range, its ends count."""

    def __init__(self, display: tuple[float, float]) -> None:
        self.low, self.high = display
        self.known = np.zeros(BINS, np.int64)
        self.anomalous = np.zeros(BINS, np.int64)

    def add(self, known: np.ndarray, anomalous: np.ndarray) -> None:
        """Count float32 scores [n] of known and [m] of anomalous pixels."""
        self.known += self._counts(known)
        self.anomalous += self._counts(anomalous)

    def _counts(self, scores: np.ndarray) -> np.ndarray:
        places = (scores - self.low) * (BINS / (self.high - self.low))
        return np.bincount(np.clip(places, 0, BINS - 1).astype(np.intp), minlength=BINS)


@dataclass(frozen=True)
class Curves:
    """Points from the highest threshold down: float64 [n] each, fractions."""

    recall: np.ndarray
    precision: np.ndarray
    false_positive_rate: np.ndarray

    @classmethod
    def of(cls, histogram: ScoreHistogram) -> Curves:
        """Read from a histogram that holds known and anomalous pixels."""
        used = np.flatnonzero(histogram.known + histogram.anomalous)[::-1]
        found = np.cumsum(histogram.anomalous[used])
        false = np.cumsum(histogram.known[used])
        recall, rate = found / found[-1], false / false[-1]
        # Points evenly spread along both axes draw flat and steep parts alike.
        way = np.maximum.accumulate(recall + rate)
        chosen = np.unique(np.searchsorted(way, np.linspace(0, way[-1], POINTS)))
        chosen = np.minimum(chosen, len(used) - 1)
        precision = found / (found + false)
        return cls(recall[chosen], precision[chosen], rate[chosen])


def draw_plots(spread: ScoreSpread, curves: Curves | None) -> str:
    """The SVG text; without curves only the score distribution."""
    panels = [_distribution(spread)]
    if curves is not None:
        recall, rate = curves.recall, curves.false_positive_rate
        panels.append(_curve("recall", "precision", recall, curves.precision))
        panels.append(_curve("false positive rate", "true positive rate", rate, recall))
    return svg_of(panels)


def svg_of(panels: Sequence[str]) -> str:
    """An SVG picture of panels side by side, each PANEL pixels wide and high."""
    width = 2 * MARGIN + len(panels) * PANEL + (len(panels) - 1) * GAP
    height = 2 * MARGIN + PANEL
    placed = (
        f'<g transform="translate({MARGIN + number * (PANEL + GAP)} {MARGIN})">{panel}</g>'
        for number, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>{"".join(placed)}</svg>\n'
    )


def _distribution(spread: ScoreSpread) -> str:
    """Share of pixels by score on a logarithmic scale of five decades."""
    parts = []
    for counts, color in ((spread.known, KNOWN_COLOR), (spread.anomalous, ANOMALY_COLOR)):
        if not counts.any():
            continue
        share = counts / counts.sum()
        levels = np.clip(1 + np.log10(np.maximum(share, 1e-9)) / 5, 0, 1)
        x = np.repeat(np.arange(BINS + 1) / BINS, 2)[1:-1]
        line = points(x, np.repeat(levels, 2))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
    ticks = [f"{spread.low + part * (spread.high - spread.low):.3g}" for part in (0, 0.5, 1)]
    legend = (
        f'<text x="{PANEL}" y="-8" text-anchor="end"><tspan fill="{KNOWN_COLOR}">known</tspan> '
        f'<tspan fill="{ANOMALY_COLOR}">anomaly</tspan></text>'
    )
    frame = axes("score", "share of pixels", ticks, ["1e-5", "", "1"])
    return frame + "".join(parts) + legend


def _curve(x_name: str, y_name: str, x: np.ndarray, y: np.ndarray) -> str:
    ticks = ["0", "0.5", "1"]
    line = f'<polyline points="{points(x, y)}" fill="none" stroke="{CURVE_COLOR}"'
    return axes(x_name, y_name, ticks, ticks) + line + ' stroke-width="2"/>'


def points(x: np.ndarray, y: np.ndarray) -> str:
    """Points of a polyline in a panel: x and y [n] in 0..1, y upwards."""
    return " ".join(f"{a * PANEL:.1f},{(1 - b) * PANEL:.1f}" for a, b in zip(x, y, strict=True))


def axes(x_name: str, y_name: str, x_ticks: Sequence[str], y_ticks: Sequence[str]) -> str:
    """The frame of a panel with the texts at 0, 0.5 and 1 of both axes."""
    parts = [f'<rect width="{PANEL}" height="{PANEL}" fill="none" stroke="#999"/>']
    for part, x_text, y_text in zip((0.0, 0.5, 1.0), x_ticks, y_ticks, strict=True):
        at, level = part * PANEL, (1 - part) * PANEL
        parts.append(f'<text x="{at}" y="{PANEL + 16}" text-anchor="middle">{x_text}</text>')
        parts.append(f'<text x="-6" y="{level + 4}" text-anchor="end">{y_text}</text>')
    parts.append(f'<text x="{PANEL / 2}" y="{PANEL + 36}" text-anchor="middle">{x_name}</text>')
    turn = f'transform="translate(-38 {PANEL / 2}) rotate(-90)"'
    parts.append(f'<text {turn} text-anchor="middle">{y_name}</text>')
    return "".join(parts)
