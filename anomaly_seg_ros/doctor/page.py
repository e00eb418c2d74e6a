"""The findings as a page for people and as JSON."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anomaly_seg_ros import __version__
from anomaly_seg_ros.doctor.finding import FAIL, OFF, OK, WARN, Finding

Areas = Mapping[str, Sequence[Finding]]
SHOWN = {OK: "[ ok ]", OFF: "[ -- ]", WARN: "[warn]", FAIL: "[FAIL]"}
COLORS = {OK: "32", OFF: "2", WARN: "33", FAIL: "1;31"}  # ANSI
WIDTH = 100
LINES = 6  # of one finding: a bundle may have many faults


def page_lines(areas: Areas, *, colours: bool = False) -> list[str]:
    """The page: one block for each area, then the verdict."""
    findings = [finding for found in areas.values() for finding in found]
    column = max((len(finding.what) for finding in findings), default=0)
    lines = [f"anomaly_seg_ros {__version__}"]
    for area, found in areas.items():
        lines += ["", area]
        for finding in found:
            lines += _finding_lines(finding, column, colours)
    return [*lines, "", verdict(findings)]


def page_json(areas: Areas) -> dict[str, Any]:
    """The same as data."""
    findings = [finding for found in areas.values() for finding in found]
    return {
        "version": __version__,
        "failed": any(finding.mark == FAIL for finding in findings),
        "verdict": verdict(findings),
        "areas": {
            area: [
                {key: without_home(value) for key, value in asdict(finding).items()}
                for finding in found
            ]
            for area, found in areas.items()
        },
    }


def verdict(findings: Sequence[Finding]) -> str:
    """One sentence."""
    failed = sum(finding.mark == FAIL for finding in findings)
    warned = sum(finding.mark == WARN for finding in findings)
    warnings = f"{warned} warning{'s' if warned != 1 else ''}"
    if failed:
        return f"{failed} failed, {warnings}: mend what is marked [FAIL]"
    return f"nothing failed, {warnings}" if warned else "all is well"


def without_home(text: str) -> str:
    """Paths below the home folder with a ~: the page may be shown to others."""
    home = str(Path.home())
    return text.replace(home + os.sep, "~" + os.sep) if len(home) > 1 else text


def _finding_lines(finding: Finding, column: int, colours: bool) -> list[str]:
    mark = SHOWN[finding.mark]
    if colours:
        mark = f"\x1b[{COLORS[finding.mark]}m{mark}\x1b[0m"
    indent = 2 + len(SHOWN[finding.mark]) + 1 + column + 2
    text = _wrapped(finding.found, indent) or [""]
    lines = [f"  {mark} {finding.what:<{column}}  {text[0]}"]
    lines += [" " * indent + line for line in text[1:]]
    if finding.mend:
        first, *others = _wrapped(finding.mend, indent + 6, whole=True)
        lines.append(" " * indent + f"mend: {first}")
        lines += [" " * (indent + 6) + line for line in others]
    return lines


def _wrapped(text: str, indent: int, *, whole: bool = False) -> list[str]:
    """Lines that fit; a mend is kept `whole`, to be copied into a shell."""
    lines = without_home(text).splitlines()
    if not whole:
        width = max(40, WIDTH - indent)
        wrap = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
        lines = [part for line in lines for part in wrap.wrap(line)]
    if len(lines) > LINES:
        lines = [*lines[:LINES], f"... and {len(lines) - LINES} more lines"]
    return lines
