"""The state of the detector as diagnostic_msgs, once a second on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from anomaly_seg_ros.backends.base import RunnerInfo
from anomaly_seg_ros.drift import Drift
from anomaly_seg_ros.nodes.process_cost import Cost, resident_megabytes
from anomaly_seg_ros.nodes.statistics import FAILED, MALFORMED, Snapshot, Spread

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)

SAME_RANK = 0.02  # nearer to 0.5 the scores are neither higher nor lower


@dataclass(frozen=True)
class DetectorState:
    """What the diagnostics tell about the node itself."""

    lifecycle: str  # unconfigured, inactive, active, ...
    enabled: bool
    fault: str  # why the last transition failed, empty when it did not
    bundle: str
    topic: str
    runner: RunnerInfo | None = None
    cost: Cost | None = None
    bad_inputs: Mapping[str, int] = field(default_factory=dict)  # kind of fault -> count
    building: str = ""  # what is being built, and how far it is
    drift: Drift | None = None  # of the scores; None without an engine


def detector_status(
    name: str, state: DetectorState, now: Snapshot, before: Snapshot | None, silence_limit: float
) -> DiagnosticStatus:
    """One status with a level, a sentence and every number. `before`: the last snapshot."""
    level, message = _verdict(state, now, before, silence_limit)
    hardware = state.runner.device if state.runner else "none"
    status = DiagnosticStatus(
        level=level, name=f"{name}: anomaly segmentation", message=message, hardware_id=hardware
    )
    status.values = [KeyValue(key=k, value=v) for k, v in _values(state, now).items()]
    return status


def diagnostic_array(stamp: object, status: DiagnosticStatus) -> DiagnosticArray:
    """The message for /diagnostics."""
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def status_values(status: DiagnosticStatus) -> dict[str, str]:
    """The values of a status by key: for those who read diagnostics."""
    return {item.key: item.value for item in status.values}


def _verdict(
    state: DetectorState, now: Snapshot, before: Snapshot | None, silence_limit: float
) -> tuple[bytes, str]:
    if state.building:
        return OK, state.building
    if state.fault:
        return ERROR, state.fault
    if state.lifecycle != "active":
        return OK, state.lifecycle
    if not state.enabled:
        return OK, "disabled by ~/enable"
    if silence_limit and now.silence > silence_limit:
        return WARN, f"no image on {state.topic} for {now.silence:.0f} s"
    if _grew(FAILED, now, before):
        return ERROR, "frames fail in the engine"
    if _grew(MALFORMED, now, before):
        return WARN, "malformed images arrive"
    if state.drift and state.drift.drifting:
        return WARN, drift_text(state.drift)
    return OK, f"{now.input_rate:.1f} images/s in, {now.output_rate:.1f} masks/s out"


def drift_text(drift: Drift) -> str:
    """A drift as a driver understands it."""
    rank = 0.5 if drift.rank is None else drift.rank
    if abs(rank - 0.5) < SAME_RANK:
        change, causes = "scores are spread otherwise than", "another road, weather or camera?"
    elif rank > 0.5:
        change, causes = "scores are higher than", "dusk, rain, a dirty lens?"
    else:
        change, causes = "scores are lower than", "another road, camera or exposure?"
    return f"{change} on the drives this bundle was calibrated on: {causes}"


def _grew(cause: str, now: Snapshot, before: Snapshot | None) -> bool:
    return now.dropped[cause] > (before.dropped[cause] if before else 0)


def _values(state: DetectorState, now: Snapshot) -> dict[str, str]:
    values = {
        "state": state.lifecycle,
        "enabled": str(state.enabled),
        "bundle": state.bundle,
        "input topic": state.topic,
    }
    if state.runner:
        values |= {
            "backend": state.runner.backend,
            "device": state.runner.device,
            "precision": state.runner.precision,
            "engine version": state.runner.version,
            "threads": str(state.runner.threads),
            "backend note": state.runner.note,
        }
    values |= {
        "input rate": f"{now.input_rate:.2f}",
        "output rate": f"{now.output_rate:.2f}",
        "images received": str(now.received),
        "masks published": str(now.finished),
    }
    values |= {f"dropped: {cause}": str(count) for cause, count in now.dropped.items()}
    values |= {f"skipped: {cause}": str(count) for cause, count in now.skipped.items()}
    values |= _spread("latency", now.latency)
    values |= _spread("input age", now.input_age)
    values |= _spread("output age", now.output_age)
    values |= {f"{stage} ms": f"{ms:.3f}" for stage, ms in now.stages.items()}
    if state.cost:
        values |= {
            "cpu engine ms/frame": f"{state.cost.engine:.3f}",
            "cpu own ms/frame": f"{state.cost.own:.3f}",
            "cpu transport ms/frame": f"{state.cost.transport:.3f}",
        }
    memory = resident_megabytes()
    if memory is not None:
        values["resident MB"] = f"{memory:.1f}"
    if now.anomaly_fraction is not None:
        values["anomaly fraction"] = f"{now.anomaly_fraction:.5f}"
    values |= _drift(state.drift)
    if now.last_stamp is not None:
        values["last stamp"] = f"{now.last_stamp:.6f}"
    values |= {f"bad input: {kind}": str(count) for kind, count in state.bad_inputs.items()}
    return values


def _drift(drift: Drift | None) -> dict[str, str]:
    if drift is None:
        return {}
    if drift.psi is None or drift.rank is None:
        return {"score drift": drift.note or f"not yet: {drift.frames} frames seen"}
    return {"score drift": f"{drift.psi:.3f}", "score rank": f"{drift.rank:.3f}"}


def _spread(name: str, value: Spread | None) -> dict[str, str]:
    if value is None:
        return {}
    return {f"{name} p50 ms": f"{value.p50:.3f}", f"{name} p95 ms": f"{value.p95:.3f}"}
