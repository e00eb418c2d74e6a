"""What a probe found, with a mark."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
OFF = "off"  # not there, and only some uses need it
WARN = "warn"  # works, but not as it should
FAIL = "fail"  # what everybody needs does not work


@dataclass(frozen=True)
class Finding:
    """One line of the page."""

    what: str
    mark: str  # OK, OFF, WARN or FAIL
    found: str
    mend: str = ""
