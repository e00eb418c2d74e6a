"""A detector process with everything around it that a soak needs: reader, services, footprint."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.engine_bench import Percentiles
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.camera_stand_in import (
    CAMERA_TOPIC,
    DETECTOR,
    CameraStandIn,
    Stamp,
    stamp_of,
)
from anomaly_seg_ros.nodes.diagnostics import TASK, status_values
from anomaly_seg_ros.nodes.node_process import NodeProcess, detector_process
from anomaly_seg_ros.nodes.soak.results import Footprint
from anomaly_seg_ros.nodes.soak.source import SourceOrder, number_in, start_source
from anomaly_seg_ros.nodes.statistics import DROP_CAUSES, SKIP_CAUSES

MASK = "anomaly_mask"
PATIENCE = 60.0  # seconds for an answer of the node; it is told when none comes
CONFIGURE_PATIENCE = 120.0
RESEND_SECONDS = 0.5
OFFER_PATIENCE = 5.0  # for a service that the node may not have
EASY = 0.6
BUSIEST = 50.0  # images per second, however fast the bundle is
SETTLE_PATIENCE = 40.0  # DDS forgets a killed process after 20 s


@dataclass(frozen=True)
class Setup:
    """What all parts share. images: .npy of pictures by size (height, width), see SourceOrder."""

    bundle: Bundle
    scratch: Path
    threads: int
    size: tuple[int, int]
    images: Mapping[tuple[int, int], Path]
    bare: Mapping[tuple[int, int], Percentiles]  # milliseconds of Detector.detect
    quick: bool

    @property
    def bare_rate(self) -> float:
        """Images per second that Detector.detect alone can serve."""
        return 1e3 / self.bare[self.size].p50

    @property
    def full_rate(self) -> float:
        """Images per second that keep the node busy."""
        return min(self.bare_rate, BUSIEST)

    @property
    def easy_rate(self) -> float:
        """Images per second that leave the node some time."""
        return EASY * self.full_rate


@dataclass(frozen=True)
class Arrival:
    """A mask of a numbered image at the reader. age: seconds since its stamp."""

    number: int
    age: float
    moment: float  # perf_counter


@dataclass
class Reader:
    """Takes what the detector publishes: numbered images by run and topic, others by stamp."""

    masks: dict[tuple[str, str], list[Arrival]] = field(default_factory=dict)
    others: dict[Stamp, dict[str, Any]] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)  # number of an image, by run

    def arrived(self, topic: str, message: Any, moment: float) -> None:
        """The callback of CameraStandIn."""
        stamp = stamp_of(message)
        found = number_in(message.header.frame_id)
        if found is None:
            self.others.setdefault(stamp, {})[topic] = message
            return
        run, number = found
        self.newest[run] = number
        age = time.time() - (stamp[0] + stamp[1] * 1e-9)
        self.masks.setdefault((run, topic), []).append(Arrival(number, age, moment))

    def of(self, run: str, topic: str = MASK) -> list[Arrival]:
        """What came of one run."""
        return self.masks.get((run, topic), [])


class Rig:
    """The process, its reader and clients for its services. A context manager."""

    def __init__(
        self,
        setup: Setup,
        name: str,
        parameters: Mapping[str, object] | None = None,
        outputs: Sequence[str] = (MASK,),
        compressed: bool = False,
    ) -> None:
        """parameters: of the node, beside bundle, threads and transport. Raises NodeError."""
        self.setup = setup
        self.reader = Reader()
        self.status: DiagnosticStatus | None = None
        self.values: dict[str, str] = {}  # the last of every key, of all statuses of the node
        self.reported: list[str] = []  # the sentences of /diagnostics, each once in a row
        self._outputs = outputs
        self._compressed = compressed
        self._runs = 0
        self._clients: dict[str, Any] = {}
        given = {
            "bundle": str(setup.bundle.folder),
            "threads": setup.threads,
            "image_transport": "compressed" if compressed else "raw",
            **(parameters or {}),
        }
        self.folder = setup.scratch / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = detector_process(given, {}, self.folder / "detector.log")
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.process.stop)
            self.camera = CameraStandIn(
                outputs, self.process.check, compressed=compressed, on_output=self.reader.arrived
            )
            on_failure.callback(self.camera.close)
            node = self.camera.node
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
            first = np.load(setup.images[setup.size], mmap_mode="r")[0]
            self.picture = self.camera.message(np.ascontiguousarray(first))
            topic = CAMERA_TOPIC + ("/compressed" if compressed else "")
            qos = QoSProfile(depth=1000, reliability=QoSReliabilityPolicy.RELIABLE)
            self._publisher = node.create_publisher(type(self.picture), topic, qos)
            on_failure.pop_all()

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *exception: object) -> None:
        self.camera.close()
        self.process.stop()

    # -- waiting ----------------------------------------------------------------------------------

    def spin(self, seconds: float) -> None:
        """Handle messages for a while."""
        self.camera.spin_until(lambda: False, time.perf_counter() + seconds)

    def wait(self, done: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
        """Handle messages until `done`. Raises NodeError naming `what` when it does not come."""
        if not self.camera.spin_until(lambda: bool(done()), time.perf_counter() + patience):
            said = self.status.message if self.status else "nothing"
            raise NodeError(
                f"waited {patience:.0f} s in vain for {what}; /diagnostics says: {said}"
            )

    def wait_until_active(self) -> None:
        """The node has its engine and listens."""
        self.wait(lambda: self.state == "active", "the active state", CONFIGURE_PATIENCE)

    # -- images -----------------------------------------------------------------------------------

    def publish(self, message: Any) -> None:
        """Send a camera message as it is."""
        self._publisher.publish(message)

    def expect_answer(self, stamp: Stamp | None = None) -> None:
        """Send the picture, stamped with `stamp` or now, until its outputs come. Raises NodeError.

        With `stamp` the outputs must carry exactly that stamp.
        """
        sent: set[Stamp] = set()
        self.reader.others.clear()

        def answered() -> bool:
            others = self.reader.others
            return any(len(others.get(key, ())) == len(self._outputs) for key in sent)

        deadline = time.perf_counter() + PATIENCE
        while not answered():
            if time.perf_counter() > deadline:
                self.wait(answered, "the mask of an image", 0.0)
            header = self.picture.header.stamp
            if stamp is None:
                self.picture.header.stamp = self.camera.node.get_clock().now().to_msg()
            else:
                header.sec, header.nanosec = stamp
            sent.add(stamp_of(self.picture))
            self.publish(self.picture)
            self.camera.spin_until(answered, time.perf_counter() + RESEND_SECONDS)
        self.reader.others.clear()

    @contextlib.contextmanager
    def source(self, rate: float, count: int = 0) -> Iterator[tuple[str, NodeProcess]]:
        """A camera in a process of its own; gives the name of its run. Ends it at last."""
        order = self.order(rate, count)
        with start_source(order, self.folder) as process:
            yield order.run, process

    def order(
        self,
        rate: float,
        count: int,
        size: tuple[int, int] | None = None,
        topics: tuple[str, ...] = (CAMERA_TOPIC,),
    ) -> SourceOrder:
        """What a source shall send, under a run of its own."""
        self._runs += 1
        run = f"{self.folder.name}_{self._runs}"
        return SourceOrder(
            run=run,
            images=str(self.setup.images[size or self.setup.size]),
            topics=topics,
            compressed=self._compressed,
            rate=rate,
            count=count,
            report=str(self.folder / f"{run}_sent.json"),
        )

    def expect_stream(self, run: str, count: int = 3) -> None:
        """Wait for `count` more masks of a source's images. Raises NodeError."""
        before = len(self.reader.of(run))
        self.wait(lambda: len(self.reader.of(run)) >= before + count, f"masks of source {run}")

    # -- services ---------------------------------------------------------------------------------

    def offers(self, kind: type, service: str, patience: float = OFFER_PATIENCE) -> bool:
        """Whether the node has such a service."""
        client = self._client(kind, service)
        return self.camera.spin_until(client.service_is_ready, time.perf_counter() + patience)

    def call(self, kind: Any, service: str, request: Any, patience: float = PATIENCE) -> Any:
        """Call a service of the node and return its answer. Raises NodeError."""
        client = self._client(kind, service)
        self.wait(client.service_is_ready, f"service {service}")
        future = client.call_async(request)
        self.wait(future.done, f"the answer of {service}", patience)
        return future.result()

    def change_state(self, transition: int) -> bool:
        """Ask for a lifecycle transition; whether it was made."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, "change_state", request, CONFIGURE_PATIENCE).success)

    def tear_down(self) -> bool:
        """Deactivate and clean up."""
        deactivated = self.change_state(Transition.TRANSITION_DEACTIVATE)
        return deactivated and self.change_state(Transition.TRANSITION_CLEANUP)

    def bring_up(self) -> bool:
        """Configure and activate."""
        configured = self.change_state(Transition.TRANSITION_CONFIGURE)
        return configured and self.change_state(Transition.TRANSITION_ACTIVATE)

    def set_parameters(self, values: Mapping[str, bool | float | str]) -> str:
        """Set parameters by name; why that was refused, or nothing."""
        messages = [Parameter(name, value=v).to_parameter_msg() for name, v in values.items()]
        request = SetParameters.Request(parameters=messages)
        results = self.call(SetParameters, "set_parameters", request).results
        return "; ".join(result.reason or "refused" for result in results if not result.successful)

    def has_parameter(self, name: str) -> bool:
        """Whether the node has declared it."""
        request = GetParameters.Request(names=[name])
        values = self.call(GetParameters, "get_parameters", request).values
        return bool(values) and values[0].type != ParameterType.PARAMETER_NOT_SET

    def _client(self, kind: type, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.camera.node.create_client(kind, f"{DETECTOR}/{service}")
        return self._clients[service]

    # -- what the node tells ----------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The lifecycle state that the last diagnostics tell."""
        return self.camera.diagnostics.get("state", "")

    def fresh_status(self) -> DiagnosticStatus:
        """A status that was written after this call. Raises NodeError."""
        for _ in range(2):
            self.status = None
            self.wait(lambda: self.status is not None, "diagnostics")
        assert self.status is not None
        return self.status

    def counts(self) -> dict[str, int]:
        """received, finished and each cause, when all received frames are accounted for.

        Without that after a while: as they are.
        """
        values: dict[str, int] = {}

        def balanced() -> bool:
            values.update(read_counts(self.camera.diagnostics))
            return is_balanced(values)

        self.camera.fresh_diagnostics(PATIENCE)
        self.camera.fresh_diagnostics(PATIENCE)
        self.camera.spin_until(balanced, time.perf_counter() + 10.0)
        return values

    def logged(self, text: str) -> bool:
        """Whether the node's log has this text."""
        return text in self.process.log.read_text(errors="replace")

    def footprint(self) -> Footprint:
        """What the process holds now. Raises NodeError when it has ended."""
        self.process.check()
        return footprint(self.process.pid)

    def settled_footprint(self, accept: Callable[[Footprint], bool]) -> Footprint:
        """The footprint once it is acceptable, or after a patience."""
        self.camera.spin_until(
            lambda: accept(footprint(self.process.pid)), time.perf_counter() + SETTLE_PATIENCE
        )
        return self.footprint()

    def kill(self, process: NodeProcess) -> None:
        """End a process as nobody should."""
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{DETECTOR}: "):
                self.values |= status_values(status)
            if status.name == f"{DETECTOR}: {TASK}":
                self.status = status
                text = f"{LEVELS.get(status.level, '?')}: {status.message}"
                if not self.reported or self.reported[-1] != text:
                    self.reported.append(text)


LEVELS = {
    DiagnosticStatus.OK: "OK",
    DiagnosticStatus.WARN: "WARN",
    DiagnosticStatus.ERROR: "ERROR",
    DiagnosticStatus.STALE: "STALE",
}


def read_counts(values: Mapping[str, str]) -> dict[str, int]:
    """The counters of the diagnostics: received, finished, and every cause by its name."""
    return {
        "received": int(values["images received"]),
        "finished": int(values["masks published"]),
        **{cause: int(values[f"dropped: {cause}"]) for cause in DROP_CAUSES},
        **{cause: int(values[f"skipped: {cause}"]) for cause in SKIP_CAUSES},
    }


def is_balanced(counts: Mapping[str, int]) -> bool:
    """Whether every received frame was finished, dropped or skipped."""
    return counts["received"] == sum(counts.values()) - counts["received"]


def footprint(pid: int) -> Footprint:
    """Memory, threads and descriptors of a process, from /proc. Raises NodeError."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError as error:
        raise NodeError(
            f"cannot look at process {pid}: {error}. The soak needs the /proc of Linux"
        ) from error
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return Footprint(
        resident=int(values["VmRSS"].split()[0]) * 1024 / 1e6,
        private=int(values["RssAnon"].split()[0]) * 1024 / 1e6,
        threads=int(values["Threads"]),
        descriptors=descriptors,
    )
