"""The state of the detector and its cameras as diagnostic_msgs, once a second on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from anomaly_seg_ros.backends.base import RunnerInfo
from anomaly_seg_ros.drift import Drift
from anomaly_seg_ros.nodes.parameters import UNNAMED
from anomaly_seg_ros.nodes.process_cost import Cost, resident_megabytes
from anomaly_seg_ros.nodes.statistics import FAILED, MALFORMED, Snapshot, Spread
from anomaly_seg_ros.nodes.statistics import STALE as STALE_FRAMES

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)

SAME_RANK = 0.02  # nearer to 0.5 the scores are neither higher nor lower


TASK = "anomaly segmentation"  # of the node's own status

Verdict = tuple[bytes, str]  # level and sentence


@dataclass(frozen=True)
class NodeState:
    """What the diagnostics tell about the node itself."""

    lifecycle: str  # unconfigured, inactive, active, ...
    enabled: bool
    fault: str  # why the last transition failed, empty when it did not
    bundle: str
    runner: RunnerInfo | None = None
    cost: Cost | None = None
    building: str = ""  # what is being built, and how far it is
    loading: str = ""  # the bundle that ~/reload is opening
    clock_jumps: int = 0  # of the node's own clock, backwards
    recording: Mapping[str, str] = field(default_factory=dict)  # of the event recorder


@dataclass(frozen=True)
class CameraState:
    """What the diagnostics tell about one camera."""

    name: str  # UNNAMED for the only one
    topic: str
    now: Snapshot
    before: Snapshot | None = None  # that of the last diagnostics
    bad_inputs: Mapping[str, int] = field(default_factory=dict)  # kind of fault -> count
    drift: Drift | None = None  # of the scores; None without an engine


def statuses(
    name: str, node: NodeState, cameras: Sequence[CameraState], silence_limit: float
) -> list[DiagnosticStatus]:
    """One status with everything for the camera without a name; else one of the node and one of
    each camera. name: the node's, fully qualified."""
    verdict = _node_verdict(node)
    hardware = node.runner.device if node.runner else "none"
    if [camera.name for camera in cameras] == [UNNAMED]:
        (camera,) = cameras
        verdict = verdict or _camera_verdict(camera, silence_limit)
        values = _node_values(node) | _camera_values(camera)
        return [_status(f"{name}: {TASK}", verdict, hardware, values)]
    together = verdict or (OK, _rates([camera.now for camera in cameras]))
    return [
        _status(f"{name}: {TASK}", together, hardware, _node_values(node)),
        *(
            _status(
                f"{name}: {camera.name}",
                verdict or _camera_verdict(camera, silence_limit),
                hardware,
                _camera_values(camera),
            )
            for camera in cameras
        ),
    ]


def _status(
    name: str, verdict: Verdict, hardware: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    level, message = verdict
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware)
    status.values = [KeyValue(key=k, value=v) for k, v in values.items()]
    return status


def diagnostic_array(stamp: object, status: Sequence[DiagnosticStatus]) -> DiagnosticArray:
    """The message for /diagnostics."""
    array = DiagnosticArray(status=list(status))
    array.header.stamp = stamp
    return array


def status_values(status: DiagnosticStatus) -> dict[str, str]:
    """The values of a status by key: for those who read diagnostics."""
    return {item.key: item.value for item in status.values}


def _node_verdict(node: NodeState) -> Verdict | None:
    """Why the node takes no images, or None."""
    if node.building:
        return OK, node.building
    if node.fault:
        return ERROR, node.fault
    if node.lifecycle != "active":
        return OK, node.lifecycle
    if not node.enabled:
        return OK, "disabled by ~/enable"
    return None


def _camera_verdict(camera: CameraState, silence_limit: float) -> Verdict:
    now = camera.now
    if silence_limit and now.silence > silence_limit:
        return WARN, f"no image on {camera.topic} for {now.silence:.0f} s"
    if _grew(FAILED, now, camera.before):
        return ERROR, "frames fail in the engine"
    if _grew(MALFORMED, now, camera.before):
        return WARN, "malformed images arrive"
    if _grew(STALE_FRAMES, now, camera.before):
        return WARN, "images arrive older than max_age: a slow transport, or another clock?"
    if now.jumps > (camera.before.jumps if camera.before else 0):
        return WARN, "the stamps of the images went back"
    if camera.drift and camera.drift.drifting:
        return WARN, drift_text(camera.drift)
    return OK, _rates([now])


def _rates(snapshots: Sequence[Snapshot]) -> str:
    into = sum(now.input_rate for now in snapshots)
    out = sum(now.output_rate for now in snapshots)
    return f"{into:.1f} images/s in, {out:.1f} masks/s out"


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


def _node_values(node: NodeState) -> dict[str, str]:
    values = {"state": node.lifecycle, "enabled": str(node.enabled), "bundle": node.bundle}
    if node.runner:
        values |= {
            "backend": node.runner.backend,
            "device": node.runner.device,
            "precision": node.runner.precision,
            "engine version": node.runner.version,
            "threads": str(node.runner.threads),
            "backend note": node.runner.note,
        }
    if node.cost:
        values |= {
            "cpu engine ms/frame": f"{node.cost.engine:.3f}",
            "cpu own ms/frame": f"{node.cost.own:.3f}",
            "cpu transport ms/frame": f"{node.cost.transport:.3f}",
        }
    if node.loading:
        values["reloading"] = node.loading
    values["clock gone back"] = str(node.clock_jumps)
    values |= node.recording
    memory = resident_megabytes()
    if memory is not None:
        values["resident MB"] = f"{memory:.1f}"
    return values


def _camera_values(camera: CameraState) -> dict[str, str]:
    now = camera.now
    values = {
        "input topic": camera.topic,
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
    if now.anomaly_fraction is not None:
        values["anomaly fraction"] = f"{now.anomaly_fraction:.5f}"
    values |= _drift(camera.drift)
    if now.last_stamp is not None:
        values["last stamp"] = f"{now.last_stamp:.6f}"
    values["stamps gone back"] = str(now.jumps)
    values |= {f"bad input: {kind}": str(count) for kind, count in camera.bad_inputs.items()}
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
