"""What others reported on the datasets of the benchmark, for the published block of its tables."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from training.benchmark.results import PublishedRow

PUBLISHED = Path(__file__).with_name("published.yaml")


def published_rows(dataset: str, protocol: str) -> tuple[PublishedRow, ...]:
    """Rows that may stand beside ours, best first; empty where nothing confirmed is known.

    dataset: catalogue name, e.g. `road_anomaly21`. protocol: name of the protocol whose figures
    are shown. Figures are fractions; a figure that the source does not give is left out.
    """
    rows = [
        PublishedRow(
            method=method,
            figures={
                key: round(percent / 100, 6)
                for key, percent in zip(group["columns"], percents, strict=True)
                if percent is not None
            },
            source=group["source"],
            data=group["data"],
            note=note,
        )
        for group in _groups()
        if group["dataset"] == dataset and protocol in group["protocols"]
        for method, note, *percents in group["rows"]
    ]
    return tuple(sorted(rows, key=lambda row: -row.figures.get("ap", 0.0)))


@lru_cache(maxsize=1)
def _groups() -> list[dict[str, Any]]:
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
