"""The page can be read, hides the home folder, and no probe can end it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from machines import healthy, probe

from anomaly_seg_ros.doctor import FAIL, OK, WARN, Finding, examine, page_json, page_lines
from anomaly_seg_ros.doctor.surroundings import Surroundings


def test_a_probe_that_fails_is_a_finding_and_the_others_go_on() -> None:
    def broken_probe(around: Surroundings) -> list[Finding]:
        raise RuntimeError("no such luck")

    def sound(around: Surroundings) -> list[Finding]:
        return [Finding("sound", OK, "fine")]

    found = examine(healthy(), [probe(broken_probe), probe(sound)])["somewhere"]
    assert [finding.mark for finding in found] == [FAIL, OK]
    assert found[0].what == "broken probe" and "RuntimeError: no such luck" in found[0].found


def test_findings_stand_below_each_other_with_their_mend() -> None:
    areas = {
        "libraries": [
            Finding("numpy", OK, "2.4"),
            Finding("OpenCV", FAIL, "word " * 40, "pip install --this --that"),
        ]
    }
    lines = page_lines(areas)
    assert "  [ ok ] numpy   2.4" in lines
    assert "                 mend: pip install --this --that" in lines
    assert all(len(line) <= 100 for line in lines)
    assert lines[-1] == "1 failed, 0 warnings: mend what is marked [FAIL]"


def test_a_long_list_of_faults_is_cut_with_a_count() -> None:
    areas = {"bundles": [Finding("b", FAIL, "\n".join(f"fault {n}" for n in range(40)))]}
    shown = "\n".join(page_lines(areas))
    assert "fault 5" in shown and "fault 6" not in shown and "... and 34 more lines" in shown


@pytest.mark.parametrize(
    ("marks", "verdict"),
    [
        ([OK], "all is well"),
        ([OK, WARN], "nothing failed, 1 warning"),
        ([FAIL, WARN, WARN], "1 failed, 2 warnings: mend what is marked [FAIL]"),
    ],
)
def test_the_verdict_counts(marks: list[str], verdict: str) -> None:
    areas = {"a": [Finding("x", mark, "") for mark in marks]}
    assert page_lines(areas)[-1] == verdict == page_json(areas)["verdict"]
    assert page_json(areas)["failed"] is (FAIL in marks)


def test_the_home_folder_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/somebody"))
    areas = {"a": [Finding("cache", WARN, "/home/somebody/.cache/x", "rm -r /home/somebody/y")]}
    for shown in ("\n".join(page_lines(areas)), json.dumps(page_json(areas))):
        assert "somebody" not in shown and "~/.cache/x" in shown and "~/y" in shown


def test_colours_are_for_terminals() -> None:
    areas = {"a": [Finding("x", OK, "")]}
    assert not any("\x1b" in line for line in page_lines(areas))
    assert any("\x1b[32m[ ok ]\x1b[0m" in line for line in page_lines(areas, colours=True))
