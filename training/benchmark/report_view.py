"""What the report's page shows, put together from the results: one section per dataset."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from markupsafe import Markup

from training.benchmark import plots
from training.benchmark.results import BenchmarkResults, Breakdown, DatasetInfo, Picture, Run, Table
from training.benchmark.tables import (
    TableView,
    dataset_info,
    head,
    main_tables,
    number,
    table_view,
)

THUMBNAIL_WIDTH = 900  # pixels
THUMBNAIL_QUALITY = 80  # JPEG
EMBEDDED_BYTES = 8_000_000  # pictures beyond that are linked, not embedded
KINDS = {"class": "By class", "size": "By size"}


@dataclass(frozen=True)
class LegendEntry:
    """kind: CSS classes of the swatch."""

    kind: str
    name: str


@dataclass(frozen=True)
class PictureView:
    """src is a data URI or a relative address; both are empty where the file is missing."""

    kind: str
    frame: str
    caption: str
    src: str
    href: str


@dataclass(frozen=True)
class BreakdownView:
    """A chart of the first figure that can be good or bad, and all figures as texts."""

    title: str
    contenders: tuple[str, ...]
    heads: tuple[str, ...]
    chart: Markup
    chart_title: str
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]  # part, contender, figures


@dataclass(frozen=True)
class CostView:
    chart: Markup
    parts: tuple[LegendEntry, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]  # contender, milliseconds by heads
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Everything about one dataset."""

    info: DatasetInfo
    facts: tuple[tuple[str, str], ...]
    tables: tuple[TableView, ...]
    curves: tuple[Markup, ...]
    legend: tuple[LegendEntry, ...]
    spreads: tuple[tuple[str, Markup], ...]
    breakdowns: tuple[BreakdownView, ...]
    cost: CostView | None
    pictures: tuple[tuple[str, tuple[PictureView, ...]], ...]
    excluded: tuple[tuple[str, str, str], ...]  # frame, reason, contenders


@dataclass
class Album:
    """Turns picture files into thumbnails until their bytes are spent."""

    folder: Path
    left: int = field(default=EMBEDDED_BYTES)

    def view(self, picture: Picture) -> PictureView:
        """Embed, link or, for a missing or foreign file, leave out."""
        path = (self.folder / picture.file).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.is_file():
            return PictureView(picture.kind, picture.frame, picture.caption, "", "")
        address = quote(Path(picture.file).as_posix(), errors="surrogateescape")
        href = address if "%3A" not in address.split("/")[0] else f"./{address}"
        return PictureView(
            picture.kind, picture.frame, picture.caption, self._thumbnail(path) or href, href
        )

    def _thumbnail(self, path: Path) -> str:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            return ""
        scale = min(THUMBNAIL_WIDTH / image.shape[1], 1.0)
        size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])
        text = base64.b64encode(data.tobytes()).decode() if done else ""
        if not text or len(text) > self.left:
            return ""
        self.left -= len(text)
        return f"data:image/jpeg;base64,{text}"


def sections(results: BenchmarkResults, folder: Path) -> list[Section]:
    """One section per dataset that has a table or a run, in the order of `datasets`."""
    names = [info.name for info in results.datasets]
    names += [table.dataset for table in results.tables]
    names += [run.dataset for run in results.runs]
    album = Album(folder)
    return [_section(results, name, album) for name in dict.fromkeys(names)]


def interval_charts(results: BenchmarkResults) -> list[tuple[str, str, Markup]]:
    """For the summary: dataset title, figure and a chart of the contenders' intervals."""
    order = list(results.contenders)
    charts = []
    for table in main_tables(results):
        column = table.columns[0]
        figures = {name: row.get(column.key) for name, row in table.rows.items()}
        chart = plots.interval_chart(column, figures, _order(order, figures))
        if chart:
            charts.append((dataset_info(results, table.dataset).label, head(column), chart))
    return charts


def findings(results: BenchmarkResults) -> list[str]:
    """The outcome on each dataset in a sentence or two."""
    return [_finding(results, table) for table in main_tables(results)]


def _finding(results: BenchmarkResults, table: Table) -> str:
    column, title = table.columns[0], dataset_info(results, table.dataset).label
    defined = [
        (name, row[column.key], row[column.key].value or 0.0)
        for name, row in table.rows.items()
        if column.key in row and row[column.key].value is not None
    ]
    if not defined:
        return f"{title}: {column.title} is not defined for any contender."
    ranked = sorted(defined, key=lambda entry: entry[2], reverse=column.better != "low")
    name, figure, value = ranked[0]
    unit = " %" if column.scale == 100 else ""
    if len(ranked) == 1 or not column.better:
        return f"{title}: {name} has {column.title} {number(column, value)}{unit}."
    second, rival, behind = ranked[1]
    lead = number(column, abs(value - behind))
    text = (
        f"{title}: {name} leads with {column.title} {number(column, value)}{unit}, {lead}"
        f"{' points' if column.scale == 100 else ''} ahead of {second}."
    )
    ends = (figure.low, figure.high, rival.low, rival.high)
    if all(end is not None for end in ends):
        apart = ends[0] > ends[3] or ends[2] > ends[1]  # type: ignore[operator]
        text += (
            " Their 95 % intervals do not overlap."
            if apart
            else " Their 95 % intervals overlap: other frames might turn the order around."
        )
    return text


def setting_text(value: Any) -> str:
    """A setting as one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _section(results: BenchmarkResults, name: str, album: Album) -> Section:
    info, order = dataset_info(results, name), list(results.contenders)
    runs = [run for run in results.runs if run.dataset == name]
    order = _order(order, [run.contender for run in runs])
    curves = {run.contender: run.curves for run in runs if run.curves is not None}
    drawn: tuple[Markup, ...] = ()
    if curves:
        counted = info.pixels.get("known", 0) + info.pixels.get("anomaly", 0)
        share = info.pixels.get("anomaly", 0) / counted if counted else 0.0
        drawn = (
            plots.precision_recall(curves, order, share),
            plots.roc(curves, order),
            plots.roc(curves, order, log=True),
        )
    return Section(
        info=info,
        facts=_facts(info),
        tables=tuple(table_view(results, t) for t in results.tables if t.dataset == name),
        curves=drawn,
        legend=tuple(LegendEntry(plots.style(order.index(c)), c) for c in order if c in curves),
        spreads=tuple(
            (run.contender, plots.score_spread(run.spread))
            for run in runs
            if run.spread is not None
        ),
        breakdowns=_breakdowns(runs, order),
        cost=_cost(runs),
        pictures=tuple(
            (run.contender, tuple(album.view(picture) for picture in run.pictures))
            for run in runs
            if run.pictures
        ),
        excluded=_excluded(runs),
    )


def _order(known: list[str], used: Any) -> list[str]:
    """The contenders in the order of their colours."""
    return list(dict.fromkeys([*known, *used]))


def _facts(info: DatasetInfo) -> tuple[tuple[str, str], ...]:
    facts = [("frames", f"{info.frames:,}")]
    total = sum(info.pixels.values())
    for kind, count in info.pixels.items():
        share = f" ({100 * count / total:.2f} %)" if total else ""
        facts.append((f"{kind} pixels", f"{count:,}{share}"))
    return tuple((name, text.replace(",", " ")) for name, text in facts)


def _breakdowns(runs: list[Run], order: list[str]) -> tuple[BreakdownView, ...]:
    by_kind: dict[str, dict[str, Breakdown]] = {}
    for run in runs:
        for breakdown in run.breakdowns:
            by_kind.setdefault(breakdown.kind, {})[run.contender] = breakdown
    return tuple(_breakdown(kind, found, order) for kind, found in by_kind.items())


def _breakdown(kind: str, found: dict[str, Breakdown], order: list[str]) -> BreakdownView:
    columns = next(iter(found.values())).columns
    parts = dict.fromkeys(str(row["part"]) for b in found.values() for row in b.rows)
    values = {
        (str(row["part"]), contender): row
        for contender, breakdown in found.items()
        for row in breakdown.rows
    }
    rows = tuple(
        (part, contender, tuple(number(c, values[part, contender].get(c.key)) for c in columns))
        for part in parts
        for contender in found
        if (part, contender) in values
    )
    chart = Markup("")
    main = next((column for column in columns if column.better), None)
    if main is not None:
        chart = plots.bar_chart(
            main,
            {
                part: {
                    contender: values[part, contender].get(main.key)
                    for contender in found
                    if (part, contender) in values
                }
                for part in parts
            },
            order,
        )
    return BreakdownView(
        KINDS.get(kind, f"By {kind}"),
        tuple(found),
        tuple(head(column) for column in columns),
        chart,
        head(main) if main is not None else "",
        rows,
    )


def _cost(runs: list[Run]) -> CostView | None:
    costs = {run.contender: dict(run.cost) for run in runs if run.cost}
    if not costs:
        return None
    parts = list(
        dict.fromkeys(k for cost in costs.values() for k in cost if k not in ("median", "p95"))
    )
    for cost in costs.values():
        rest = cost.get("median", 0.0) - sum(cost.get(part, 0.0) for part in parts)
        if rest > 0.01 * cost.get("median", 0.0):
            cost["other"] = rest
    if any("other" in cost for cost in costs.values()) and "other" not in parts:
        parts.append("other")
    keys = ["median", "p95", *parts]
    return CostView(
        plots.cost_chart(costs, parts),
        tuple(LegendEntry(f"p{place % plots.COLORS}", part) for place, part in enumerate(parts)),
        tuple(
            (name, tuple(plots.milliseconds(cost.get(key)) for key in keys))
            for name, cost in costs.items()
        ),
        tuple(keys),
    )


def _excluded(runs: list[Run]) -> tuple[tuple[str, str, str], ...]:
    """Frame, reason, and for whom: "all" where no contender was scored on it."""
    found: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for frame, reason in run.excluded:
            found.setdefault((frame, reason), []).append(run.contender)
    return tuple(
        (frame, reason, "all" if len(names) == len(runs) else ", ".join(names))
        for (frame, reason), names in found.items()
    )
