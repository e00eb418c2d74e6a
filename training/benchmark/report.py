"""What a benchmark leaves behind: report.html, and results as json, md and csv."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from anomaly_seg_ros.replay.writers import write_atomically
from training.benchmark.markdown_tables import markdown_tables
from training.benchmark.plots import style
from training.benchmark.report_view import findings, interval_charts, sections, setting_text
from training.benchmark.results import BenchmarkResults
from training.benchmark.results_json import read_results, results_json
from training.benchmark.tables import frames_csv, headline, main_tables, results_csv

__all__ = ["markdown_tables", "read_results", "report_html", "write_report"]

TEMPLATES = Path(__file__).with_name("templates")
ADDRESS = re.compile(r"https?://[^\s<>\"'()]*[^\s<>\"'().,;:]")


def write_report(results: BenchmarkResults, out: Path) -> Path:
    """Write all result files into the folder `out` and return the path of report.html.

    Pictures that the results name lie below `out` already. Raises BenchmarkError for figures that
    are not finite, ReplayError where the folder cannot be written.
    """
    page = out / "report.html"
    texts = {
        out / "results.json": results_json(results),
        out / "results.md": markdown_tables(results),
        out / "results.csv": results_csv(results),
        out / "frames.csv": frames_csv(results),
        page: report_html(results, out),
    }
    for path, text in texts.items():
        # Frame names are file names, which need not be UTF-8.
        write_atomically(path, text.encode(errors="backslashreplace"))
    return page


def report_html(results: BenchmarkResults, folder: Path) -> str:
    """The page, complete in itself; pictures are read from below `folder`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(linked=linked, setting_text=setting_text)
    places = {name: place for place, name in enumerate(results.contenders)}
    template = environment.get_template("report.html.jinja")
    return template.render(
        results=results,
        headline=headline(results),
        has_headline=bool(main_tables(results)),
        findings=findings(results),
        interval_charts=interval_charts(results),
        sections=sections(results, folder),
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        chip=lambda name: style(places[name], "f") if name in places else "",
    )


def linked(text: str) -> Markup:
    """Escaped text whose web addresses are links."""
    parts, end = [], 0
    for match in ADDRESS.finditer(text):
        parts.append(escape(text[end : match.start()]))
        shown = match[0].removeprefix("https://").removeprefix("http://")
        parts.append(Markup('<a href="{}">{}</a>').format(match[0], shown))
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])
