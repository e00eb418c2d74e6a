"""Files are written whole, or one error says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay.writers import write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "below" / "result.json"
    write_atomically(file, b"old")
    assert write_atomically(file, b"new") == 3
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


def test_a_parent_that_is_a_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(ReplayError, match=r"cannot write .*results/result\.json"):
        write_atomically(tmp_path / "results" / "result.json", b"new")
