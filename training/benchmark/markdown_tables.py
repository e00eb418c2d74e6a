"""The tables of a benchmark in Markdown, for READMEs and model cards."""

from __future__ import annotations

import html
import re

from training.benchmark.results import BenchmarkResults
from training.benchmark.tables import Cell, Line, TableView, headline, table_view


def markdown_tables(results: BenchmarkResults) -> str:
    """The headline table, then every table with notes, reasons and the nearest published rows."""
    parts = [markdown_headline(results)]
    for table in results.tables:
        view = table_view(results, table)
        parts += ["", f"### {_text(view.title)}", "", *_grid(view, "contender")]
        parts += ["", f"Scored on {_text(view.scored)}."]
        parts += [_text(note) for note in view.notes]
        for block in view.blocks:
            same = "the same data" if block.comparable else "other data, not comparable"
            if not block.brief:
                continue
            sources = "; ".join(f"{mark} {text}".strip() for mark, text in block.sources)
            parts += ["", f"Published on {_text(block.data)} ({same}); {_text(sources)}:", ""]
            parts += _rows(view, "method", [line for line in block.lines if line.brief])
    return "\n".join(parts) + "\n"


def markdown_headline(results: BenchmarkResults) -> str:
    """The main figure of each dataset, a row per contender."""
    return "\n".join(_grid(headline(results), "contender"))


def _grid(view: TableView, first: str) -> list[str]:
    lines = _rows(view, first, view.lines)
    remarks = [f"({place}) {_text(text)}" for place, text in enumerate(view.remarks, start=1)]
    return lines + ([""] if remarks else []) + remarks


def _rows(view: TableView, first: str, lines: list[Line] | tuple[Line, ...]) -> list[str]:
    grid = [
        f"| {first} | {' | '.join(_text(name) for name in view.heads)} |",
        f"|---|{'---:|' * len(view.heads)}",
    ]
    for line in lines:
        name = _text(line.name) + (f" ({_text(line.note)})" if line.note else "")
        name += f" [{line.mark}]" if line.mark else ""
        grid.append(f"| {name} | {' | '.join(_cell(cell) for cell in line.cells)} |")
    return grid


def _cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    extra = [f"({cell.interval})"] if cell.interval else []
    extra += [cell.error] if cell.error else []
    extra += [f"({cell.remark})"] if cell.remark else []
    return " ".join([text, *extra])


def _text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", line)
