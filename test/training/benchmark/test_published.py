"""Published rows: complete, in range, sourced, and equal to what the sources print."""

from __future__ import annotations

import re

import pytest
import yaml

from training.benchmark.published import PUBLISHED, published_rows
from training.benchmark.results import PublishedRow

GROUPS = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
TABLES = sorted({(g["dataset"], protocol) for g in GROUPS for protocol in g["protocols"]})
SMIYC = ("ap", "fpr95", "siou", "ppv", "f1")


def row_of(dataset: str, protocol: str, method: str, note: str = "") -> PublishedRow:
    return next(
        row for row in published_rows(dataset, protocol) if (row.method, row.note) == (method, note)
    )


def test_every_dataset_of_the_benchmarks_has_rows() -> None:
    assert {dataset for dataset, _ in TABLES} == {
        "road_anomaly21",
        "road_obstacle21",
        "lost_and_found_no_known",
        "fishyscapes_lost_and_found",
        "fishyscapes_static",
        "road_anomaly",
        "street_hazards",
    }


@pytest.mark.parametrize(("dataset", "protocol"), TABLES)
def test_rows_are_fractions_with_source_and_data(dataset: str, protocol: str) -> None:
    rows = published_rows(dataset, protocol)

    assert rows
    for row in rows:
        assert row.figures and all(0 <= value <= 1 for value in row.figures.values()), row
        assert row.source and re.search(r"\(\d+ frames\)", row.data), row
    best = [row.figures.get("ap", 0.0) for row in rows]
    assert best == sorted(best, reverse=True)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group['dataset']}-{group['data']}")
def test_each_row_names_a_method_once_and_fills_the_columns(group: dict) -> None:
    names = [(method, note) for method, note, *_ in group["rows"]]

    assert len(names) == len(set(names))
    for method, note, *percents in group["rows"]:
        assert method and isinstance(note, str)
        assert len(percents) == len(group["columns"])
        assert any(percent is not None for percent in percents)


@pytest.mark.parametrize(
    ("dataset", "protocol", "count"),
    [
        ("road_anomaly21", "smiyc_anomaly", 47),
        ("road_obstacle21", "smiyc_obstacle", 45),
        ("lost_and_found_no_known", "smiyc_obstacle", 21),
    ],
)
def test_leaderboards_are_complete(dataset: str, protocol: str, count: int) -> None:
    rows = published_rows(dataset, protocol)

    assert len(rows) == count
    assert all(tuple(row.figures) == SMIYC for row in rows)


@pytest.mark.parametrize(
    ("dataset", "protocol", "method", "note", "exact"),
    [
        (
            "road_anomaly21",
            "smiyc_anomaly",
            "ObsNet",
            "",
            (0.7543940245, 0.266929248, 0.4421723343, 0.5255838907, 0.450771497),
        ),
        (
            "road_anomaly21",
            "smiyc_anomaly",
            "SynBoost",
            "trained with OoD data",
            (0.5644142747, 0.6185654108, 0.3468139795, 0.1781202334, 0.0998712626),
        ),
        (
            "road_obstacle21",
            "smiyc_obstacle",
            "Image Resynthesis",
            "",
            (0.3771244784, 0.0469740788, 0.1660675787, 0.2048472885, 0.0838302006),
        ),
    ],
)
def test_rows_are_the_leaderboards_rounded(
    dataset: str, protocol: str, method: str, note: str, exact: tuple[float, ...]
) -> None:
    row = row_of(dataset, protocol, method, note)

    assert list(row.figures.values()) == pytest.approx(exact, abs=5.1e-5)


def test_validation_and_test_of_fishyscapes_stay_apart() -> None:
    rows = published_rows("fishyscapes_lost_and_found", "pooled")

    data = {row.data for row in rows if row.method == "Mask2Anomaly"}
    assert data == {
        "Fishyscapes Lost & Found test (275 frames)",
        "Fishyscapes Lost & Found validation (100 frames)",
    }
    assert rows == published_rows("fishyscapes_lost_and_found", "fishyscapes")


def test_a_figure_without_source_is_left_out() -> None:
    assert row_of("street_hazards", "caos", "DMLNet").figures == {"ap": 0.147, "fpr95": 0.173}


def test_unknown_tables_are_empty() -> None:
    assert published_rows("road_anomaly21", "caos") == ()
    assert published_rows("nowhere", "pooled") == ()
