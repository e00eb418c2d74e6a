"""The report of a benchmark: what it writes, marks, escapes and warns of."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from benchmark_example import CONTENDERS, HOSTILE, example_results
from hypothesis import given, settings
from hypothesis import strategies as st

from training.benchmark.plots import Axis, roc
from training.benchmark.report import markdown_tables, read_results, write_report
from training.benchmark.results import BenchmarkError, Column, Curves, Figure, PublishedRow
from training.benchmark.tables import (
    best_text,
    frames_csv,
    headline,
    number,
    results_csv,
    shortlist,
    table_view,
)

VOID_TAGS = {"meta", "img", "input", "br", "link"}
LOADING = {"src", "srcset", "href", "xlink:href", "data", "poster"}
AP = Column("ap", "AP")


class Page(HTMLParser):
    """Checks that tags are balanced and notes attributes, text and the bold words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.bold: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in LOADING:
                self.addresses.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if (name == "href" and (value or "").startswith("#")) or name == "for":
                self.targets.append((value or "").removeprefix("#"))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID_TAGS:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["strong"]:
            self.bold.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmark")
    write_report(example_results(out), out)
    return out


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_results_come_back_from_json_as_they_were(folder: Path) -> None:
    results = example_results(folder)

    assert read_results(folder / "results.json") == results
    assert read_results(folder) == results


def test_a_figure_that_is_not_a_number_is_refused_by_name(tmp_path: Path) -> None:
    results = example_results()
    results.tables[0].rows["obsnet"]["ap"] = Figure(float("nan"))

    with pytest.raises(BenchmarkError, match=r"tables\[0\].rows.obsnet.ap.value is nan"):
        write_report(results, tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"format": 2}', '{"format": 1, "title": "only"}', '{"format": 1, "new": 0}', "{"],
)
def test_a_file_that_holds_no_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)

    with pytest.raises(BenchmarkError, match=r"results\.json"):
        read_results(tmp_path)


def test_csv_holds_every_figure_as_a_fraction(folder: Path) -> None:
    results = example_results()

    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert len(rows) == sum(len(f) for table in results.tables for f in table.rows.values())
    first = {
        "dataset": "road_anomaly21/validation",
        "protocol": "smiyc_anomaly",
        "contender": "obsnet",
        "figure": "ap",
        "value": "0.727",
        "low": "0.6411",
        "high": "0.8032",
        "error": "0.0004",
        "reason": "",
    }
    assert rows[0] == first
    undefined = [row for row in rows if row["value"] == ""]
    assert {row["reason"] for row in undefined} == {
        "no component was predicted at the threshold of best F1"
    }
    assert {row["contender"] for row in undefined} == {HOSTILE}


def test_frames_csv_holds_every_frame() -> None:
    rows = list(csv.DictReader(io.StringIO(frames_csv(example_results()))))

    assert len(rows) == 2 * len(CONTENDERS) * 6
    assert rows[0]["name"] == "frame 000"
    assert rows[0]["fpr95"] == ""
    assert float(rows[1]["fpr95"]) > 0


def test_page_is_well_formed_and_its_links_have_targets(html: str) -> None:
    page = Page(html)

    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.targets) <= set(page.ids)


def test_page_loads_nothing_from_elsewhere(html: str, folder: Path) -> None:
    page = Page(html)

    for tag, name, value in page.addresses:
        if tag == "a":
            assert re.match(r"#|https?://|\./|[^:]+$", value), value
        else:
            assert value.startswith("data:image/jpeg;base64,"), (tag, name, value[:60])
    assert not re.search(r"url\(|@import", html)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base"}
    pictures = [v for t, _, v in page.addresses if t == "a" and v.startswith("pictures/")]
    assert len(pictures) == 12
    assert all((folder / value.replace("%20", " ")).is_file() for value in pictures)


def test_hostile_names_are_text(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;|größer" in html
    assert "a\\udcffb/&lt;b&gt;7&lt;/b&gt;" in html
    assert "temperature &lt; 2" in html


def test_the_best_of_ours_is_bold_and_ties_all_are(html: str) -> None:
    bold = Page(html).bold

    headline_bold, anomaly_track = ["72.70", "33.12"], ["72.70", "40.21", "44.22", "52.56", "45.08"]
    pooled = ["33.12", "96.13", "15.88"]
    assert sorted(bold) == sorted([*headline_bold, *anomaly_track, "40.21", *pooled])


def test_published_figures_are_never_bold_even_when_better() -> None:
    view = table_view(example_results(), example_results().tables[0])

    assert not any(cell.best for block in view.blocks for row in block.lines for cell in row.cells)


def test_a_single_contender_is_not_called_best() -> None:
    assert best_text(AP, [Figure(0.5), Figure(None), None]) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.sampled_from(["high", "low"]))
@settings(deadline=None, max_examples=50)
def test_no_figure_reads_better_than_the_bold_one(values: list[float], better: str) -> None:
    best = best_text(Column("ap", "AP", better), [Figure(value) for value in values])

    assert best is not None
    shown = [float(number(AP, value)) for value in values]
    assert float(best) == (max(shown) if better == "high" else min(shown))


def test_undefined_figures_share_one_numbered_reason() -> None:
    view = table_view(example_results(), example_results().tables[0])

    assert view.remarks == ("no component was predicted at the threshold of best F1",)
    assert [cell.remark for cell in view.lines[2].cells] == [0, 0, 1, 1, 0]


def test_error_bounds_show_only_where_they_reach_the_last_digit() -> None:
    results = example_results()
    view = table_view(results, results.tables[0])
    assert view.lines[0].cells[0].error == "± 0.04"
    assert "± is how far" in " ".join(view.notes)

    for row in results.tables[0].rows.values():
        row.update({key: replace(figure, error=1e-6) for key, figure in row.items()})
    view = table_view(results, results.tables[0])
    assert view.lines[0].cells[0].error == ""
    assert "agree to the last digit" in " ".join(view.notes)


def test_published_rows_of_other_data_are_called_not_comparable(html: str) -> None:
    results = example_results()
    anomaly_track, pooled = (table_view(results, table) for table in results.tables)

    assert [block.comparable for block in anomaly_track.blocks] == [False]
    assert [(block.data, block.comparable) for block in pooled.blocks] == [
        ("Fishyscapes Lost & Found validation (100 frames)", True),
        ("Fishyscapes Lost & Found test (275 frames)", False),
    ]
    assert "not comparable: ours is RoadAnomaly21 validation (10 frames)" in html


def test_a_part_of_the_frames_is_not_the_published_data() -> None:
    results = example_results()
    datasets = [replace(info, frames=25) for info in results.datasets]
    view = table_view(replace(results, datasets=datasets), results.tables[1])

    assert not any(block.comparable for block in view.blocks)


def test_of_many_published_rows_leaders_our_methods_and_neighbours_show_first() -> None:
    results = example_results()
    table = results.tables[0]

    names = [row.method for row in shortlist(results, table, table.published)]

    assert names[:3] == ["UNO", "UNO", "SOTA-UEM"]
    assert "ObsNet" in names
    assert len(names) < 15
    figures = [row.figures["ap"] for row in shortlist(results, table, table.published)]
    for ours in (0.7270, 0.5843, 0.2797):
        above = min(r.figures["ap"] for r in table.published if r.figures["ap"] >= ours)
        below = max(r.figures["ap"] for r in table.published if r.figures["ap"] < ours)
        assert {above, below} <= set(figures)


def test_few_published_rows_all_show() -> None:
    results = example_results()
    rows = tuple(PublishedRow(f"m{n}", {"ap": n / 10}, "paper", "data") for n in range(6))

    assert shortlist(results, results.tables[0], rows) == list(rows)


def test_different_frame_counts_are_pointed_out(html: str) -> None:
    assert "Not all were scored on the same number of frames: obsnet 10, max logit 10" in html


def test_findings_say_when_intervals_overlap(html: str) -> None:
    assert (
        "Lost &amp; Found validation: obsnet leads with AP 33.12 %, 2.10 points ahead of"
        " max logit. Their 95 % intervals overlap" in html
    )


def test_excluded_frames_are_listed_with_reason_and_contender(html: str) -> None:
    text = " ".join(re.sub("<[^>]+>", " ", html).split())

    assert "04_Maurener_Weg_8_000003_000120 damaged PNG all" in text
    assert "the label has 1023 rows, the image 1024 &lt;script&gt;" in text


def test_pictures_outside_the_folder_and_missing_ones_are_left_out(tmp_path: Path) -> None:
    results = example_results()
    out = tmp_path / "out"
    (tmp_path / "secret.jpg").write_bytes(b"x")
    run = results.runs[0]
    pictures = [replace(run.pictures[0], file=f) for f in ("../secret.jpg", "javascript:alert(1)")]
    write_report(replace(results, runs=[replace(run, pictures=pictures)]), out)

    html = (out / "report.html").read_text(encoding="utf-8")

    assert "secret" not in html and "javascript" not in html
    assert html.count("The picture is missing.") == 2


def test_results_without_any_run_or_table_still_make_a_page(tmp_path: Path) -> None:
    empty = replace(
        example_results(), datasets=[], tables=[], runs=[], contenders={}, warnings=[], settings={}
    )

    page = Page(write_report(empty, tmp_path).read_text(encoding="utf-8"))

    assert page.open == []
    assert results_csv(empty).count("\n") == 1


def test_headline_has_a_gap_where_a_contender_was_not_measured() -> None:
    results = example_results()
    del results.tables[1].rows["max logit"]

    view = headline(results)

    assert view.lines[1].cells[1].remark == 1
    assert view.remarks == ("not measured",)


def test_markdown_marks_the_best_and_escapes_what_would_break_the_table() -> None:
    text = markdown_tables(example_results())

    lines = [line for line in text.splitlines() if line.startswith("|")]
    plain = [line.replace("\N{EN DASH}", "to") for line in lines]
    assert "| obsnet | **72.70** (64.1 to 80.3) ± 0.04 | **33.12** (25.1 to 41.4) |" in plain
    assert "<script" not in text
    assert r'&lt;script&gt;alert("x")&lt;/script&gt;\|größer' in text
    assert "RoadAnomaly21 test (100 frames) (other data, not comparable)" in text
    for line in lines:
        cells = re.split(r"(?<!\\)\|", line)
        assert len(cells) in (5, 6, 8), line


def test_logarithmic_roc_starts_at_its_left_edge_without_a_jump() -> None:
    rates = [0.0, 1e-6, 5e-5, 1e-3, 1.0]
    curves = {"a": Curves([0.1, 0.2, 0.4, 0.6, 1.0], [1.0] * 5, rates)}

    points = re.search(r'class="curve s0" points="([^"]+)"', roc(curves, ["a"], log=True))

    assert points is not None
    across = [float(pair.split(",")[0]) for pair in points[1].split()]
    assert across.count(across[0]) == 1
    assert len(across) == 3


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(deadline=None, max_examples=50)
def test_an_axis_places_its_ends_at_zero_and_one(low: float, span: float) -> None:
    axis = Axis("score", low, low + span, ())

    assert list(axis.places([low - 1, low + span + 1])) == [0.0, 1.0]
