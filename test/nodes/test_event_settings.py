"""The parameters of recordings: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.events.settings import (
    RECORD_PARAMETERS,
    RecorderSettings,
    recorder_settings,
)


def given_parameters(**changes: Any) -> dict[str, Any]:
    return {item.name: item.default for item in RECORD_PARAMETERS} | changes


def test_the_parameters_default_to_the_settings() -> None:
    assert recorder_settings(given_parameters()) == RecorderSettings()


def test_the_parameters_have_units_of_people(tmp_path: Path) -> None:
    changes = {
        "record.folder": str(tmp_path),
        "record.memory": 2,
        "record.disk": 0.5,
        "record.compression": "zstd",
    }
    settings = recorder_settings(given_parameters(**changes))
    assert (settings.folder, settings.compress) == (tmp_path, True)
    assert (settings.memory, settings.disk) == (2_000_000, 500_000_000)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"record.folder": "events"}, "record.folder is 'events', expected an absolute path"),
        ({"record.after": 70.0}, "record.after is 70 s and record.longest 60 s"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(NodeError, match=text):
        recorder_settings(given_parameters(**changes))
