"""The faults of a soak, one function each: cameras, clocks, files, parameters and transitions."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from anomaly_seg_ros.nodes.soak.corpus import malformed_compressed, malformed_raw, odd_stamps
from anomaly_seg_ros.nodes.soak.faults import FaultCase, Trial
from anomaly_seg_ros.nodes.soak.rig import CONFIGURE_PATIENCE, MASK, Rig, Setup
from anomaly_seg_ros.nodes.statistics import STALE

HOUR = 3600
SILENCE = 0.5  # seconds, the node's silence_warning
STORM_MEDIAN_LIMIT = 20.0  # milliseconds for set_parameters while frames flow
OLDEST = 5.0  # seconds, the node's max_age
OLD_IMAGES = 3
TICKS = 3  # of /clock before and after a jump
TOLD_PATIENCE = 5.0  # seconds until /diagnostics tell what just happened
SHORT = 0.2  # seconds, in which one image is done
DAMAGED_BUNDLE = "bundle"
ROOM = 200_000  # bytes of one file on the full disk: some lines of log, no second of images
RECORD_SECONDS = 0.5


def source_killed(trial: Trial) -> None:
    """The camera dies, is missed by name, and comes back as a new process."""
    rig = trial.rig
    for _ in range(trial.effort.repeats):
        with rig.source(rig.setup.easy_rate) as (run, source):
            rig.expect_stream(run)
            rig.kill(source)
            rig.wait(lambda: _says(rig, DiagnosticStatus.WARN, "no image"), "a silence warning")
        with rig.source(rig.setup.easy_rate) as (run, _):
            rig.expect_stream(run)
            rig.wait(lambda: _says(rig, DiagnosticStatus.OK, "images/s in"), "diagnostics at OK")
    trial.check("silence is reported, and its end", True, "WARN, then OK, on /diagnostics")


def stamps_jump_back(trial: Trial) -> None:
    """The camera's clock goes back by an hour: masks keep its stamps; max_age drops and counts."""
    rig = trial.rig
    for _ in range(trial.effort.repeats):
        now = int(time.time())
        for second in (now, now - HOUR, now - HOUR + 1, now, now + HOUR, now):
            rig.expect_answer(stamp=(second, 5))
        trial.check("stamps pass through unchanged", True, "an hour back, ahead, and back again")
        refused = rig.set_parameters({"max_age": OLDEST})
        trial.check("max_age is taken", not refused, refused or "yes")
        rig.spin(SHORT)
        rig.camera.reset_statistics()
        rig.picture.header.stamp.sec = now - HOUR
        for _ in range(OLD_IMAGES):
            rig.publish(rig.picture)
            rig.spin(SHORT)
        counts = rig.counts()
        trial.check(
            "old images are counted as stale",
            0 < counts[STALE] == counts["received"],
            f"{counts[STALE]} stale of {counts['received']} received",
        )
        rig.expect_answer()
        rig.set_parameters({"max_age": 0.0})


def sim_clock_jumps_back(trial: Trial) -> None:
    """/clock goes back by an hour under use_sim_time, as when a bag begins again."""
    rig = trial.rig
    publisher = rig.camera.node.create_publisher(Clock, "/clock", 10)
    try:
        start = int(time.time())
        for _ in range(trial.effort.repeats):
            for second in (start, start - HOUR):
                for tick in range(TICKS):
                    message = Clock()
                    message.clock.sec = second + tick
                    publisher.publish(message)
                    rig.spin(SHORT)
                    rig.expect_answer(stamp=(second + tick, 0))
            status = rig.fresh_status()
            trial.check("diagnostics go on", status.level == DiagnosticStatus.OK, status.message)
        trial.check("stamps pass through unchanged", True, "before the jump and after it")
        age = float(rig.camera.diagnostics.get("input age p50 ms", 0.0))
        trial.check("no age is negative or an hour", 0 <= age < 1e3 * HOUR / 2, f"{age:.0f} ms")
    finally:
        rig.camera.node.destroy_publisher(publisher)


def bundle_damaged(trial: Trial) -> None:
    """A file of the bundle is damaged: what runs goes on, configure fails with the reason."""
    rig = trial.rig
    for damage in (cut_in_half, one_byte_wrong):
        with damaged(rig.folder / DAMAGED_BUNDLE, damage) as file:
            rig.expect_answer()
            torn_down = rig.tear_down()
            trial.check("deactivate and clean up", torn_down, "made" if torn_down else "refused")
            rig.status = None
            configured = rig.change_state(Transition.TRANSITION_CONFIGURE)
            trial.check(
                "configure refuses the file", not configured, f"{file.name} {damage.__name__}"
            )
            told = _tells(rig, DiagnosticStatus.ERROR, file.name)
            trial.check("/diagnostics names it", told, rig.reported[-1].replace("\n", " "))
            trial.check("the log names it", rig.logged(file.name), file.name)
        trial.check("it works after the mend", rig.bring_up(), "configured and active again")
        rig.expect_answer()


def bundle_damaged_reload(trial: Trial) -> None:
    """The same through ~/reload: the old bundle serves until a good one can take its place."""
    rig = trial.rig
    for damage in (cut_in_half, one_byte_wrong):
        with damaged(rig.folder / DAMAGED_BUNDLE, damage) as file:
            answer = rig.call(Trigger, "reload", Trigger.Request(), CONFIGURE_PATIENCE)
            trial.check(
                "reload refuses the file and names it",
                not answer.success and file.name in answer.message,
                f"success {answer.success}: {answer.message}",
            )
            rig.expect_answer()
            rig.camera.fresh_diagnostics()
            trial.check("the old bundle serves on", rig.state == "active", f"state {rig.state}")
        answer = rig.call(Trigger, "reload", Trigger.Request(), CONFIGURE_PATIENCE)
        trial.check(
            "reload takes the mended file",
            answer.success,
            f"success {answer.success}: {answer.message}",
        )
        rig.expect_answer()


def parameter_storm(trial: Trial) -> None:
    """Parameters are set as fast as the node answers while images flow."""
    rig = trial.rig
    points = list(rig.setup.bundle.operating_points)
    changes: Iterator[Mapping[str, bool | float | str]] = cycle(
        [
            {"threshold": 0.3},
            {"operating_point": points[-1]},
            {"overlay.class_opacity": 0.1},
            {"threshold": 0.7, "overlay.legend": False},
            {"operating_point": points[0], "overlay.legend": True},
        ]
    )
    seconds: list[float] = []
    refusals: list[str] = []
    with rig.source(rig.setup.full_rate) as (run, _):
        rig.expect_stream(run)
        masks = len(rig.reader.of(run))
        end = time.perf_counter() + trial.effort.seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            refused = rig.set_parameters(next(changes))
            seconds.append(time.perf_counter() - start)
            refusals += [refused] if refused else []
        masks = len(rig.reader.of(run)) - masks
        rig.expect_stream(run)
    refused = rig.set_parameters({"threshold": float("nan"), "operating_point": points[0]})
    median, p99 = (1e3 * float(np.percentile(seconds, q)) for q in (50, 99))
    trial.measured.update(calls=len(seconds), median_ms=median, p99_ms=p99, masks=masks)
    trial.check(
        "every change is taken",
        not refusals and not refused,
        f"{len(seconds)} calls" + (f", refused: {refusals[0]}" if refusals else ""),
    )
    trial.check("images flow meanwhile", masks > 0, f"{masks} masks in the storm")
    trial.check(
        "set_parameters answers in time",
        median <= STORM_MEDIAN_LIMIT,
        f"median {median:.1f} ms, p99 {p99:.1f} ms; limit of the median {STORM_MEDIAN_LIMIT:.0f}",
        timing=True,
    )


def activation_cycles(trial: Trial) -> None:
    """deactivate and activate, over and over, while images flow."""
    rig = trial.rig
    refused = 0
    with rig.source(rig.setup.easy_rate) as (run, _):
        rig.expect_stream(run)
        for _ in range(trial.effort.cycles):
            refused += not rig.change_state(Transition.TRANSITION_DEACTIVATE)
            refused += not rig.change_state(Transition.TRANSITION_ACTIVATE)
        rig.expect_stream(run)
    cycles = trial.effort.cycles
    trial.measured.update(cycles=cycles)
    trial.check("every transition is made", refused == 0, f"{cycles} cycles, {refused} refused")
    counts = rig.counts()
    inside = sum(counts.values()) - counts["received"]
    trial.check(
        "every image is accounted for",
        counts["received"] == inside,
        f"received {counts['received']}, processed, dropped and skipped {inside}",
    )


def disk_full(trial: Trial) -> None:
    """The disk runs full while the node records: recording suffers, detection does not."""
    rig = trial.rig
    with rig.source(rig.setup.easy_rate) as (run, _):
        for _ in range(trial.effort.repeats):
            rig.expect_stream(run)
            _fill_disk(trial, run)
            rig.expect_stream(run)
        trial.check("images flow meanwhile", True, "masks of the source all the time")


def _fill_disk(trial: Trial, run: str) -> None:
    """One recording on a full disk, and one when there is room again."""
    rig = trial.rig
    written = _count(rig, "recordings written")
    cut_off = _count(rig, "recordings cut off")
    with no_file_above(rig.process.pid, ROOM):
        answer = rig.call(Trigger, "record", Trigger.Request())
        trial.check("recording is asked for", answer.success, answer.message)
        rig.wait(lambda: _count(rig, "recordings cut off") > cut_off, "a recording cut off")
        rig.expect_stream(run)
    fault = rig.values.get("last recording fault", "")
    trial.check("the fault is reported", str(rig.folder) in fault, fault)
    answer = rig.call(Trigger, "record", Trigger.Request())
    trial.check("recording is asked for after the mend", answer.success, answer.message)
    rig.wait(lambda: _count(rig, "recordings written") > written, "a whole recording again")


def _count(rig: Rig, key: str) -> int:
    return int(rig.values.get(key, 0))


def recording(setup: Setup, folder: Path) -> Mapping[str, object]:
    """Parameters of a node that records on demand, some seconds each time."""
    return {
        "record.folder": str(folder / "recordings"),
        "record.before": RECORD_SECONDS,
        "record.after": RECORD_SECONDS,
        "record.pause": 0.0,
        "record.min_fraction": 0.0,
    }


@contextmanager
def no_file_above(pid: int, limit: int) -> Iterator[None]:
    """Let a process write no file larger than `limit` bytes: what a full disk is to it."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


# -- damage to files ------------------------------------------------------------------------------


def own_bundle(setup: Setup, folder: Path) -> Mapping[str, object]:
    """Parameters of a node that runs a copy of the bundle, to be damaged."""
    copy = folder / DAMAGED_BUNDLE
    shutil.copytree(setup.bundle.folder, copy, dirs_exist_ok=True)
    return {"bundle": str(copy)}


def cut_in_half(file: Path) -> None:
    """What a copy leaves that was stopped."""
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)


def one_byte_wrong(file: Path) -> None:
    """What a worn flash memory leaves."""
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([byte[0] ^ 0xFF]))


@contextmanager
def damaged(bundle: Path, damage: Callable[[Path], None]) -> Iterator[Path]:
    """The bundle with one of its graphs damaged, in place; mended afterwards."""
    file = sorted(bundle.glob("*.onnx"))[0]
    whole = file.read_bytes()
    damage(file)
    try:
        yield file
    finally:
        file.write_bytes(whole)


def _tells(rig: Rig, level: bytes, text: str) -> bool:
    """Whether /diagnostics say so soon."""
    deadline = time.perf_counter() + TOLD_PATIENCE
    return rig.camera.spin_until(lambda: _says(rig, level, text), deadline)


def _says(rig: Rig, level: bytes, text: str) -> bool:
    status = rig.status
    return status is not None and status.level == level and text in status.message


EVERY_IMAGE = {"queue_policy": "all", "queue_depth": 100}  # so that each can be counted

CASES: tuple[FaultCase, ...] = (
    FaultCase(
        "source_killed",
        "source killed and restarted",
        source_killed,
        lambda setup, folder: {"silence_warning": SILENCE},
    ),
    FaultCase("stamps_back", "stamps go back by an hour", stamps_jump_back),
    FaultCase(
        "sim_clock_back",
        "/clock goes back by an hour",
        sim_clock_jumps_back,
        lambda setup, folder: {"use_sim_time": True},
    ),
    FaultCase("odd_stamps", "negative and huge stamps", odd_stamps),
    FaultCase("bundle_damaged", "bundle damaged, configured again", bundle_damaged, own_bundle),
    FaultCase(
        "reload_damaged",
        "bundle damaged, ~/reload",
        bundle_damaged_reload,
        own_bundle,
        service=(Trigger, "reload"),
    ),
    FaultCase(
        "disk_full",
        "disk full while recording",
        disk_full,
        recording,
        needs="record.folder",
    ),
    FaultCase(
        "parameter_storm",
        "parameters set as fast as possible",
        parameter_storm,
        outputs=(MASK, "overlay"),
    ),
    FaultCase("activation", "deactivated and activated", activation_cycles),
    FaultCase(
        "malformed_raw",
        "malformed images",
        malformed_raw,
        lambda setup, folder: EVERY_IMAGE,
    ),
    FaultCase(
        "malformed_compressed",
        "malformed compressed images",
        malformed_compressed,
        lambda setup, folder: EVERY_IMAGE,
        compressed=True,
    ),
)
