"""Plots of a benchmark as inline SVG: colours and fonts come from the page, light or dark.

Shapes carry classes only: `s0`..`s6` stroke and `f0`..`f6` fill in the colours of Okabe and Ito,
`d1`, `d2` dash what comes after seven, `axis`, `grid`, `tick` and `label` are furniture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import numpy as np
from markupsafe import Markup

from training.benchmark.results import Column, Curves, Figure, Spread
from training.benchmark.tables import UNDEFINED, number

COLORS = 7  # of the palette; then the dashes change
WIDTH, HEIGHT = 340, 262
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 44  # margins of a panel
BAR_WIDTH, NAME_WIDTH, VALUE_WIDTH = 860, 210, 90  # of the bar charts
DECADES = 5  # of the score distribution's logarithmic axis
LOWEST_RATE = 1e-4  # left end of the logarithmic ROC
Values: TypeAlias = "Sequence[float] | np.ndarray"


@dataclass(frozen=True)
class Axis:
    """Where values lie between 0 and 1 on an axis, and what is written along it."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def places(self, values: Values) -> np.ndarray:
        """Fractions [n] of the axis's length, values beyond its ends at the ends."""
        data = np.clip(np.asarray(values, np.float64), self.low, self.high)
        if self.log:
            return np.log(data / self.low) / math.log(self.high / self.low)
        return (data - self.low) / (self.high - self.low)


PERCENT = ((0.0, "0"), (0.25, "25"), (0.5, "50"), (0.75, "75"), (1.0, "100"))
LOG_RATE = ((1e-4, "0.01"), (1e-3, "0.1"), (1e-2, "1"), (0.1, "10"), (1.0, "100"))


def style(place: int, kind: str = "s") -> str:
    """Classes of the contender at `place`: kind s strokes, f fills."""
    dash = min(place // COLORS, 2)
    return f"{kind}{place % COLORS}" + (f" d{dash}" if dash and kind == "s" else "")


def precision_recall(curves: Mapping[str, Curves], order: Sequence[str], share: float) -> Markup:
    """Precision over recall, one line per contender. share: of anomalous pixels, a blind guess."""
    x, y = Axis("recall, %", 0, 1, PERCENT), Axis("precision, %", 0, 1, PERCENT)
    guess = _line(x, y, [0, 1], [share, share], "guess", "share of anomalous pixels")
    lines = [
        _line(x, y, curves[name].recall, curves[name].precision, _curve(order, name), name)
        for name in curves
    ]
    return _panel(x, y, [guess, *lines], "Precision over recall")


def roc(curves: Mapping[str, Curves], order: Sequence[str], *, log: bool = False) -> Markup:
    """True over false positive rate with the level of FPR95, false positive rate log or not."""
    title = "false positive rate, %" + (" (log)" if log else "")
    x = Axis(title, LOWEST_RATE, 1, LOG_RATE, log=True) if log else Axis(title, 0, 1, PERCENT)
    y = Axis("true positive rate, %", 0, 1, PERCENT)
    level = _line(x, y, [x.low, 1], [0.95, 0.95], "guess", "95 % true positive rate")
    lines = []
    for name, entry in curves.items():
        rates, found = [0.0, *entry.false_positive_rate], [0.0, *entry.recall]
        # What lies left of the axis enters as one point: the curve starts at the edge.
        start = max(sum(rate <= x.low for rate in rates) - 1, 0)
        lines.append(_line(x, y, rates[start:], found[start:], _curve(order, name), name))
    return _panel(x, y, [level, *lines], "ROC" + (", logarithmic" if log else ""))


def score_spread(spread: Spread) -> Markup:
    """Share of the known and of the anomalous pixels per score bin, logarithmic."""
    low, high = spread.edges[0], spread.edges[-1]
    digits = max(0, 2 - math.floor(math.log10(high - low)))
    ticks = tuple((at, f"{at:.{digits}f}") for at in (low, (low + high) / 2, high))
    x = Axis("score", low, high, ticks)
    powers = range(-DECADES, 1)
    names = {0: "100 %", -1: "10", -2: "1", -3: "0.1", -4: "0.01", -5: "0.001"}
    y = Axis("share of pixels", 10.0**-DECADES, 1, tuple((10.0**p, names[p]) for p in powers), True)
    shapes = []
    for counts, kind in ((spread.known, "known"), (spread.anomalous, "anomalous")):
        total = sum(counts)
        if not total:
            continue
        share, edges = np.asarray(counts) / total, np.asarray(spread.edges)
        for start, stop in _stretches(share > y.low):
            tops = np.repeat(share[start:stop], 2)
            corners = np.repeat(edges[start : stop + 1], 2)
            outline = _points(x, y, corners, [y.low, *tops, y.low])
            shape = (
                '<polygon class="area {0}" points="{1}"/><polyline class="edge {0}" points="{1}"/>'
            )
            shapes.append(Markup(shape).format(kind, outline))
    return _panel(x, y, shapes, "Distribution of scores")


def interval_chart(
    column: Column, figures: Mapping[str, Figure | None], order: Sequence[str]
) -> Markup:
    """A dot with its interval per contender, in the column's scale."""
    step, width = 26, BAR_WIDTH - NAME_WIDTH - VALUE_WIDTH
    ends = [
        value
        for figure in figures.values()
        if figure is not None
        for value in (figure.value, figure.low, figure.high)
        if value is not None
    ]
    if not ends:
        return Markup("")
    low, high, gap = _round_range(min(ends) * column.scale, max(ends) * column.scale)
    shapes = [_value_grid(low, high, gap, width, step * len(figures))]

    def at(value: float) -> float:
        return NAME_WIDTH + (value * column.scale - low) / (high - low) * width

    for row, (name, figure) in enumerate(figures.items()):
        y, place = step * row + step / 2, order.index(name)
        value = None if figure is None else figure.value
        if figure is not None and value is not None:
            if figure.low is not None and figure.high is not None:
                bar = '<line class="whisker {}" x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}"/>'
                shapes.append(
                    Markup(bar).format(style(place), at(figure.low), at(figure.high), y=y)
                )
            dot = '<circle class="{}" cx="{:.1f}" cy="{}" r="4.5"/>'
            shapes.append(Markup(dot).format(style(place, "f"), at(value), y))
        shapes.append(_row_texts(name, number(column, value), y))
    return _chart(shapes, step * len(figures) + 24, column.title)


def bar_chart(
    column: Column, parts: Mapping[str, Mapping[str, float | None]], order: Sequence[str]
) -> Markup:
    """Grouped bars. parts: part -> contender -> value; bars start at 0."""
    bar, gap = 9, 9
    values = [v for row in parts.values() for v in row.values() if v is not None]
    if not values:
        return Markup("")
    low, high, tick = _round_range(0.0, max(values) * column.scale)
    width = BAR_WIDTH - NAME_WIDTH - VALUE_WIDTH
    height = sum(bar * len(row) + gap for row in parts.values())
    shapes = [_value_grid(low, high, tick, width, height)]
    top = gap / 2
    for part, row in parts.items():
        middle = top + bar * len(row) / 2
        shapes.append(
            Markup('<text class="name" x="{}" y="{:.1f}">{}</text>').format(
                NAME_WIDTH - 10, middle + 4, _short(part)
            )
        )
        for index, (name, value) in enumerate(row.items()):
            y, text = top + bar * index, number(column, value, max(column.digits - 1, 0))
            length = 0.0 if value is None else max(value, 0.0) * column.scale / high * width
            shapes.append(
                Markup(
                    '<rect class="{}" x="{}" y="{:.1f}" width="{:.1f}" height="{}">'
                    "<title>{}, {}: {}</title></rect>"
                    '<text class="small" x="{:.1f}" y="{:.1f}">{}</text>'
                ).format(
                    style(order.index(name), "f"),
                    NAME_WIDTH,
                    y,
                    length,
                    bar - 1.5,
                    name,
                    part,
                    text,
                    NAME_WIDTH + length + 5,
                    y + bar - 1.5,
                    text,
                )
            )
        top += bar * len(row) + gap
    return _chart(shapes, height + 24, column.title)


def cost_chart(costs: Mapping[str, Mapping[str, float]], parts: Sequence[str]) -> Markup:
    """Milliseconds per frame: stacked medians of the parts, a tick at the 95th percentile."""
    step, thick, width = 30, 16, BAR_WIDTH - NAME_WIDTH - VALUE_WIDTH - 40
    sums = [sum(row.get(part, 0.0) for part in parts) for row in costs.values()]
    longest = max([*sums, *(row.get("p95", 0.0) for row in costs.values())])
    if longest <= 0:
        return Markup("")
    low, high, gap = _round_range(0.0, 1000 * longest)
    shapes = [_value_grid(low, high, gap, width, step * len(costs), " ms")]
    for row, (name, cost) in enumerate(costs.items()):
        x, y = float(NAME_WIDTH), step * row + (step - thick) / 2
        for index, part in enumerate(parts):
            length = 1000 * cost.get(part, 0.0) / high * width
            bar = (
                '<rect class="p{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}">'
                "<title>{}: {:.1f} ms</title></rect>"
            )
            shapes.append(
                Markup(bar).format(
                    index % COLORS, x, y, length, thick, part, 1000 * cost.get(part, 0.0)
                )
            )
            x += length
        if "p95" in cost:
            at = NAME_WIDTH + 1000 * cost["p95"] / high * width
            mark = '<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
            shapes.append(Markup(mark).format(at, y - 3, y + thick + 3))
        shapes.append(_row_texts(name, f"{milliseconds(cost.get('median'))} ms", y + thick / 2))
    return _chart(shapes, step * len(costs) + 24, "Cost per frame")


def milliseconds(seconds: float | None) -> str:
    """Three digits that matter."""
    if seconds is None:
        return UNDEFINED
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _stretches(used: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last index of each run of True in bool [n]."""
    steps = np.flatnonzero(np.diff(np.concatenate(([0], used.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(steps[::2], steps[1::2], strict=True)]


def _curve(order: Sequence[str], name: str) -> str:
    return f"curve {style(order.index(name))}"


def _points(x: Axis, y: Axis, xs: Values, ys: Values) -> Markup:
    """The points of a polyline; one that falls onto the one before is left out."""
    across = LEFT + x.places(xs) * (WIDTH - LEFT - RIGHT)
    down = TOP + (1 - y.places(ys)) * (HEIGHT - TOP - BOTTOM)
    texts = (f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))
    return Markup(" ".join(text for text, _ in groupby(texts)))


def _line(
    x: Axis,
    y: Axis,
    xs: Sequence[float],
    ys: Sequence[float],
    kind: str,
    name: str,
) -> Markup:
    shape = '<polyline class="{}" points="{}"><title>{}</title></polyline>'
    return Markup(shape).format(kind, _points(x, y, xs, ys), name)


def _panel(x: Axis, y: Axis, shapes: Sequence[Markup], label: str) -> Markup:
    """Axes, grid and what is drawn between them."""
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value, text in x.ticks:
        at = LEFT + float(x.places([value])[0]) * (right - LEFT)
        anchor = "end" if len(text) > 3 and at > right - 1 else "middle"  # stays in the picture
        parts.append(
            Markup(
                '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text class="tick" text-anchor="{5}" x="{0:.1f}" y="{3}">{4}</text>'
            ).format(at, TOP, floor, floor + 16, text, anchor)
        )
    for value, text in y.ticks:
        at = TOP + (1 - float(y.places([value])[0])) * (floor - TOP)
        parts.append(
            Markup(
                '<line class="grid" x1="{1}" x2="{2}" y1="{0:.1f}" y2="{0:.1f}"/>'
                '<text class="tick" text-anchor="end" x="{3}" y="{4:.1f}">{5}</text>'
            ).format(at, LEFT, right, LEFT - 6, at + 3.5, text)
        )
    names = Markup(
        '<text class="label" text-anchor="middle" x="{}" y="{}">{}</text>'
        '<text class="label" text-anchor="middle" transform="translate(11 {}) rotate(-90)">'
        "{}</text>"
    ).format((LEFT + right) / 2, HEIGHT - 8, x.title, (TOP + floor) / 2, y.title)
    frame = Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(LEFT, TOP, floor, right)
    return _svg(WIDTH, HEIGHT, [*parts, frame, *shapes, names], label, "panel")


def _chart(shapes: Sequence[Markup], height: float, label: str) -> Markup:
    return _svg(BAR_WIDTH, height, shapes, label, "chart")


def _svg(width: float, height: float, shapes: Sequence[Markup], label: str, kind: str) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>'
    ).format(kind, width, height, label, Markup("").join(shapes))


def _value_grid(
    low: float, high: float, gap: float, width: float, height: float, unit: str = ""
) -> Markup:
    parts = []
    for step in range(round((high - low) / gap) + 1):
        value = low + step * gap
        at = NAME_WIDTH + (value - low) / (high - low) * width
        parts.append(
            Markup(
                '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1:.0f}"/>'
                '<text class="tick" text-anchor="middle" x="{0:.1f}" y="{2:.0f}">{3:g}{4}</text>'
            ).format(at, height, height + 16, round(value, 6), unit)
        )
    return Markup("").join(parts)


def _row_texts(name: str, value: str, y: float) -> Markup:
    return Markup(
        '<text class="name" x="{}" y="{:.1f}">{}</text>'
        '<text class="value" x="{}" y="{:.1f}">{}</text>'
    ).format(NAME_WIDTH - 10, y + 4, _short(name), BAR_WIDTH - 4, y + 4, value)


def _short(text: str, longest: int = 30) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _round_range(low: float, high: float) -> tuple[float, float, float]:
    """Ends that enclose low and high, and the step between ticks, all round numbers."""
    span = max(high - low, abs(high) * 0.05, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / 4))
    gap = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= span / 5)
    bottom = math.floor(low / gap)
    return bottom * gap, max(math.ceil(high / gap), bottom + 1) * gap, gap
