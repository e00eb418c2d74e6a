"""Latency over time and its distribution in one SVG."""

from __future__ import annotations

import numpy as np

from anomaly_seg_ros.replay.evaluation_plots import CURVE_COLOR, PANEL, axes, points, svg_of

BINS = 40  # of the distribution
DROP_COLOR = "#d55e00"  # Okabe and Ito


def draw_latency(sent: np.ndarray, latency: np.ndarray) -> str:
    """The SVG text. sent: float64 [n], seconds since the start; latency: float64 [n], milliseconds,
    NaN for frames that got no mask, which are marked on the time axis.
    """
    answered = ~np.isnan(latency)
    length = float(sent.max(initial=0.0)) or 1.0
    top = float(latency[answered].max(initial=0.0)) or 1.0
    return svg_of(
        [
            _over_time(sent / length, latency / top, answered, length, top),
            _distribution(latency[answered], top),
        ]
    )


def _over_time(
    sent: np.ndarray, latency: np.ndarray, answered: np.ndarray, length: float, top: float
) -> str:
    frame = axes("seconds since the start", "latency, ms", _ticks(length), _ticks(top))
    line = points(sent[answered], latency[answered])
    marks = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{PANEL - 8}" y2="{PANEL}" stroke="{DROP_COLOR}"/>'
        for x in sent[~answered] * PANEL
    )
    legend = (
        f'<text x="{PANEL}" y="-8" text-anchor="end">send to mask '
        f'<tspan fill="{DROP_COLOR}">no mask</tspan></text>'
    )
    return f'{frame}<polyline points="{line}" fill="none" stroke="{CURVE_COLOR}"/>{marks}{legend}'


def _distribution(latency: np.ndarray, top: float) -> str:
    counts, _ = np.histogram(latency, BINS, (0.0, top))
    most = max(1, int(counts.max(initial=0)))
    x = np.repeat(np.arange(BINS + 1) / BINS, 2)[1:-1]
    line = points(x, np.repeat(counts / most, 2))
    frame = axes("latency, ms", "frames", _ticks(top), ["0", "", str(most)])
    return f'{frame}<polyline points="{line}" fill="none" stroke="{CURVE_COLOR}"/>'


def _ticks(top: float) -> list[str]:
    return ["0", f"{top / 2:.3g}", f"{top:.3g}"]
