"""Runs one fault after another against a node of its own and says what became of the node.

The cases themselves are in soak_cases.py and soak_corpus.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.nodes.soak.results import Check, FaultNumbers, Footprint, Part
from anomaly_seg_ros.nodes.soak.rig import MASK, Rig, Setup

WARM_ANSWERS = 30  # images before the first look at memory
MEMORY_GROWTH_LIMIT = 0.05
REPORTS_KEPT = 8


@dataclass(frozen=True)
class Effort:
    """How long a case tries."""

    repeats: int  # of a fault that is over in seconds
    cycles: int  # of activation
    seconds: float  # of a storm
    every: int = 1  # which images of a corpus: all, every second one, ...


FULL = Effort(repeats=3, cycles=200, seconds=10.0)
QUICK = Effort(repeats=1, cycles=5, seconds=1.0)
WARM = Effort(repeats=1, cycles=2, seconds=0.3, every=7)


@dataclass
class Trial:
    """One run of a case against the rig's node: its checks, and what it measured besides."""

    rig: Rig
    effort: Effort
    measured: dict[str, float] = field(default_factory=dict)
    _checks: dict[str, Check] = field(default_factory=dict)

    def check(self, what: str, holds: bool, found: str, timing: bool = False) -> None:
        """Note one check; of several of the same name the first that does not hold stays."""
        if what not in self._checks or self._checks[what].holds:
            self._checks[what] = Check(what, bool(holds), found, timing)

    @property
    def checks(self) -> list[Check]:
        return list(self._checks.values())


@dataclass(frozen=True)
class FaultCase:
    """A fault. `act` brings it about and heals it; `parameters` are the node's, which may use files
    in the folder of the case.

    needs: a parameter that the node must have, else the case is not offered.
    service: likewise a service, as (kind, name).
    """

    name: str
    title: str
    act: Callable[[Trial], None]
    parameters: Callable[[Setup, Path], Mapping[str, object]] = lambda setup, folder: {}
    outputs: tuple[str, ...] = (MASK,)
    compressed: bool = False
    needs: str = ""
    service: tuple[type, str] | None = None


def run_case(setup: Setup, case: FaultCase) -> Part:
    """The case twice: a leak grows each time, what is allocated once does not.

    A case that cannot go on is a check that does not hold.
    """
    start = time.perf_counter()
    trials: list[Trial] = []
    numbers, missing = None, ""
    failure: list[Check] = []
    try:
        numbers, missing = _run(setup, case, trials)
    except AnomalySegError as error:
        failure = [Check("the case ran to its end", False, str(error))]
    first = [c for trial in trials[:-1] for c in trial.checks if not c.holds and not c.timing]
    last = trials[-1].checks if trials else []
    seconds = time.perf_counter() - start
    return Part(case.name, case.title, seconds, (*first, *last, *failure), numbers, missing)


def _run(setup: Setup, case: FaultCase, trials: list[Trial]) -> tuple[FaultNumbers | None, str]:
    """The numbers, or why the node does not offer this; `trials` grows as the case goes on."""
    folder = setup.scratch / case.name
    folder.mkdir(parents=True, exist_ok=True)
    parameters = case.parameters(setup, folder)
    with Rig(setup, case.name, parameters, case.outputs, case.compressed) as rig:
        rig.wait_until_active()
        if case.needs and not rig.has_parameter(case.needs):
            return None, f"the node has no parameter {case.needs}"
        if case.service and not rig.offers(*case.service):
            return None, f"the node has no service ~/{case.service[1]}"
        for _ in range(WARM_ANSWERS):
            rig.expect_answer()
        trials.append(Trial(rig, WARM))
        case.act(trials[-1])
        before = rig.footprint()
        trials.append(trial := Trial(rig, QUICK if setup.quick else FULL))
        case.act(trial)
        rig.expect_answer()
        trial.check("the process is alive and answers", True, "yes")
        after = rig.settled_footprint(lambda now: not _leaks(before, now))
        trial.check("no leak", not _leaks(before, after), _told(before, after))
        status = rig.process.stop()
        trial.check("SIGINT ends the node", status == 0, f"exit status {status}, expected 0")
        told = [line for line in rig.process.last_lines().splitlines() if "Traceback" in line]
        trial.check("no traceback in the log", not told, "none" if not told else told[0])
        return FaultNumbers(before, after, tuple(rig.reported[-REPORTS_KEPT:]), trial.measured), ""


def _leaks(before: Footprint, after: Footprint) -> bool:
    return (
        after.threads > before.threads
        or after.descriptors > before.descriptors
        or after.resident > (1 + MEMORY_GROWTH_LIMIT) * before.resident
    )


def _told(before: Footprint, after: Footprint) -> str:
    return (
        f"memory {before.resident:.0f} -> {after.resident:.0f} MB (limit "
        f"{MEMORY_GROWTH_LIMIT:+.0%}), threads {before.threads} -> {after.threads}, descriptors "
        f"{before.descriptors} -> {after.descriptors}"
    )
