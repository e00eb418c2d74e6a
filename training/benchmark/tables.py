"""Tables of a benchmark as they are read: formatted figures, the best marked, reasons numbered."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from training.benchmark.results import (
    BenchmarkResults,
    Column,
    DatasetInfo,
    Figure,
    FrameRow,
    PublishedRow,
    Table,
)

LEADERS = 3  # published rows that are always shown
ARROWS = {"high": "↑", "low": "↓"}
EN_DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
UNDEFINED = EN_DASH
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Cell:
    """A figure as text. remark: number of the reason below the table, 0 = none."""

    text: str
    interval: str = ""
    error: str = ""
    best: bool = False
    remark: int = 0


@dataclass(frozen=True)
class Line:
    """A row. mark: letter of its source; brief: shown before the whole list is asked for."""

    name: str
    cells: tuple[Cell, ...]
    note: str = ""
    mark: str = ""
    brief: bool = True


@dataclass(frozen=True)
class Block:
    """Published rows about one set of data, best first. sources: letter ("" for one) and text."""

    data: str
    sources: tuple[tuple[str, str], ...]
    comparable: bool
    lines: tuple[Line, ...]

    @property
    def brief(self) -> bool:
        """Whether any row is shown at first."""
        return any(line.brief for line in self.lines)


@dataclass(frozen=True)
class TableView:
    """A table ready to be drawn. heads: column titles with the arrow of what is better."""

    title: str
    scored: str  # in the words of DatasetInfo.scored
    frames: int
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    blocks: tuple[Block, ...]
    remarks: tuple[str, ...]  # reasons, numbered from 1
    notes: tuple[str, ...]

    @property
    def hidden(self) -> int:
        """Published rows that are folded away."""
        return sum(not line.brief for block in self.blocks for line in block.lines)

    @property
    def published(self) -> int:
        """Published rows in all."""
        return sum(len(block.lines) for block in self.blocks)


def table_view(results: BenchmarkResults, table: Table) -> TableView:
    """What the report shows of one table."""
    remarks: list[str] = []
    best = {column.key: best_text(column, _column(table, column)) for column in table.columns}
    lines = []
    for contender, figures in table.rows.items():
        cells = [
            figure_cell(column, figures.get(column.key), best[column.key], remarks)
            for column in table.columns
        ]
        lines.append(Line(contender, tuple(cells)))
    info = dataset_info(results, table.dataset)
    return TableView(
        title=table.title,
        scored=info.scored,
        frames=info.frames,
        heads=tuple(head(column) for column in table.columns),
        lines=tuple(lines),
        blocks=_blocks(results, table, info.scored),
        remarks=tuple(remarks),
        notes=tuple(_notes(results, table)),
    )


def headline(results: BenchmarkResults) -> TableView:
    """The first figure of each dataset's first table: a row per contender, a column per dataset."""
    tables = main_tables(results)
    remarks: list[str] = []
    best = [best_text(table.columns[0], _column(table, table.columns[0])) for table in tables]
    lines = []
    for contender in results.contenders:
        cells = [
            figure_cell(
                table.columns[0],
                table.rows.get(contender, {}).get(table.columns[0].key),
                text,
                remarks,
            )
            for table, text in zip(tables, best, strict=True)
        ]
        lines.append(Line(contender, tuple(cells)))
    heads = tuple(
        f"{dataset_info(results, table.dataset).label}\n{head(table.columns[0])}"
        for table in tables
    )
    return TableView("", "", 0, heads, tuple(lines), (), tuple(remarks), ())


def main_tables(results: BenchmarkResults) -> list[Table]:
    """The first table of each dataset that has one."""
    first: dict[str, Table] = {}
    for table in results.tables:
        if table.columns:
            first.setdefault(table.dataset, table)
    return list(first.values())


def dataset_info(results: BenchmarkResults, name: str) -> DatasetInfo:
    """The dataset of that name; one without a description is known by its name alone."""
    known = {info.name: info for info in results.datasets}
    return known.get(name) or DatasetInfo(name, name, 0, {}, "")


def head(column: Column) -> str:
    """Title with unit and arrow, which do not wrap: "AP % ↑"."""
    unit = "\N{NO-BREAK SPACE}%" if column.scale == 100 and "%" not in column.title else ""
    return f"{column.title}{unit}\N{NO-BREAK SPACE}{ARROWS.get(column.better, '')}".strip()


def number(column: Column, value: float | None, digits: int | None = None) -> str:
    """A value in the column's scale and digits."""
    if value is None:
        return UNDEFINED
    text = f"{value * column.scale:.{column.digits if digits is None else digits}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def figure_cell(
    column: Column, figure: Figure | None, best: str | None, remarks: list[str]
) -> Cell:
    """A figure as a cell; its reason is added to `remarks` unless it stands there already."""
    figure = figure or Figure(None, reason="not measured")
    if figure.value is None:
        reason = figure.reason or "no reason was recorded"
        if reason not in remarks:
            remarks.append(reason)
        return Cell(UNDEFINED, remark=remarks.index(reason) + 1)
    text = number(column, figure.value)
    interval = ""
    if figure.low is not None and figure.high is not None:
        digits = max(column.digits - 1, 0)
        ends = (number(column, figure.low, digits), number(column, figure.high, digits))
        interval = f" {EN_DASH} ".join(ends)
    error = f"± {figure.error * column.scale:.1g}" if _error_shows(column, figure) else ""
    return Cell(text, interval, error, text == best)


def best_text(column: Column, figures: Iterable[Figure | None]) -> str | None:
    """How the best of several figures reads; None where nothing is better or none has a rival."""
    values = [figure.value for figure in figures if figure and figure.value is not None]
    if len(values) < 2 or column.better not in ARROWS:
        return None
    return number(column, max(values) if column.better == "high" else min(values))


def _column(table: Table, column: Column) -> list[Figure | None]:
    return [figures.get(column.key) for figures in table.rows.values()]


def _error_shows(column: Column, figure: Figure) -> bool:
    return figure.error * column.scale >= 0.5 * 10**-column.digits


def _notes(results: BenchmarkResults, table: Table) -> list[str]:
    """The protocol, and what a reader must know to compare the rows."""
    notes = [table.note] if table.note else []
    figures = [figure for row in table.rows.values() for figure in row.values()]
    if any(figure.low is not None for figure in figures):
        notes.append("Small type: 95 % bootstrap interval over frames.")
    columns = {column.key: column for column in table.columns}
    inexact = [
        (columns[key], figure)
        for row in table.rows.values()
        for key, figure in row.items()
        if key in columns and figure.error > 0
    ]
    if any(_error_shows(*entry) for entry in inexact):
        notes.append("± is how far the exact value may be from one read off a histogram.")
    elif inexact:
        notes.append("Read off histograms; the exact values agree to the last digit shown.")
    frames = {run.contender: run.frames for run in results.runs if run.dataset == table.dataset}
    frames = {name: count for name, count in frames.items() if name in table.rows}
    if len(set(frames.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in frames.items())
        notes.append(f"Not all were scored on the same number of frames: {counts}.")
    return notes


def _blocks(results: BenchmarkResults, table: Table, scored: str) -> tuple[Block, ...]:
    """Published rows by what was scored; the same data as ours comes first."""
    blocks = []
    for data in dict.fromkeys(row.data for row in table.published):
        rows = [row for row in table.published if row.data == data]
        brief = {id(row) for row in shortlist(results, table, rows)}
        sources = list(dict.fromkeys(row.source for row in rows))
        marks = dict(zip(sources, LETTERS if len(sources) > 1 else [""], strict=False))
        lines = [
            Line(
                row.method,
                tuple(Cell(number(c, row.figures.get(c.key))) for c in table.columns),
                row.note,
                marks.get(row.source, "*"),
                id(row) in brief,
            )
            for row in rows
        ]
        letters = tuple((mark, source) for source, mark in marks.items())
        blocks.append(Block(data, letters, data == scored, tuple(lines)))
    return tuple(sorted(blocks, key=lambda block: not block.comparable))


def shortlist(
    results: BenchmarkResults, table: Table, published: Sequence[PublishedRow]
) -> list[PublishedRow]:
    """Of many published rows those that place ours: the leaders, our methods, our neighbours."""
    if not table.columns or len(published) <= 2 * LEADERS:
        return list(published)
    main = table.columns[0]
    sign = -1.0 if main.better == "low" else 1.0
    ranked = sorted(
        (row for row in published if main.key in row.figures),
        key=lambda row: -sign * row.figures[main.key],
    )
    chosen = {id(row) for row in ranked[:LEADERS]}
    names = {
        _plain(name)
        for contender in table.rows
        for name in (contender, results.contenders.get(contender, {}).get("method", ""))
    }
    chosen |= {id(row) for row in published if _plain(row.method) in names}
    for figures in table.rows.values():
        figure = figures.get(main.key)
        if figure is not None and figure.value is not None:
            value = sign * figure.value
            place = sum(sign * row.figures[main.key] >= value for row in ranked)
            chosen |= {id(row) for row in ranked[max(place - 1, 0) : place + 1]}
    return [row for row in published if id(row) in chosen]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def results_csv(results: BenchmarkResults) -> str:
    """One row per dataset, protocol, contender and figure; values as fractions, empty = none."""
    rows = (
        (
            table.dataset,
            table.protocol,
            contender,
            key,
            figure.value,
            figure.low,
            figure.high,
            figure.error,
            figure.reason,
        )
        for table in results.tables
        for contender, figures in table.rows.items()
        for key, figure in figures.items()
    )
    names = ("value", "low", "high", "error", "reason")
    return _csv(("dataset", "protocol", "contender", "figure", *names), rows)


def frames_csv(results: BenchmarkResults) -> str:
    """One row per dataset, contender and frame."""
    names = [entry.name for entry in fields(FrameRow)]
    rows = (
        (run.dataset, run.contender, *(getattr(row, name) for name in names))
        for run in results.runs
        for row in run.rows
    )
    return _csv(("dataset", "contender", *names), rows)


def _csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return stream.getvalue()
