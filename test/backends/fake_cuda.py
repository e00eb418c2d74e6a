"""A fake of cuda.bindings.runtime: host memory, and streams that do nothing until waited for.

What a real GPU would not forgive fails here too: reading results before waiting, copies past the
end of an allocation, freed memory, another device than the thread's, allocation during a capture.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np


class Code(IntEnum):
    """cudaError_t, as far as it is needed."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


OK = Code.cudaSuccess


@dataclass
class Stream:
    """Queued work, and what is being captured instead of queued."""

    handle: int
    device: int
    queue: list[Callable[[], None]] = field(default_factory=list)
    captured: list[Callable[[], None]] | None = None

    def __int__(self) -> int:
        return self.handle

    def put(self, work: Callable[[], None]) -> None:
        (self.queue if self.captured is None else self.captured).append(work)


@dataclass(eq=False)
class Event:
    moment: float | None = None
    stream: Stream | None = None


class FakeCuda:
    """The module. `faults` holds names of what shall fail: memory, capture, instantiate, driver,
    no_gpu. `counts` says how often what was done; live objects are in `memory`, `streams`, ...
    """

    cudaStreamNonBlocking = 1
    cudaEventDefault, cudaEventBlockingSync = 0, 1
    cudaHostAllocDefault = 0
    cudaMemcpyKind = IntEnum(
        "cudaMemcpyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2}
    )
    cudaStreamCaptureMode = IntEnum(
        "cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1}
    )
    cudaDeviceAttr = IntEnum(
        "cudaDeviceAttr",
        {
            "cudaDevAttrMultiProcessorCount": 16,
            "cudaDevAttrComputeCapabilityMajor": 75,
            "cudaDevAttrComputeCapabilityMinor": 76,
        },
    )

    def __init__(self, faults: set[str]) -> None:
        self.faults = faults
        self.counts: dict[str, int] = {}
        self.gpus = [("Fake RTX", (8, 9)), ("Fake Orin", (8, 7))]
        self.memory: dict[int, tuple[np.ndarray, str]] = {}  # address -> bytes, device or host
        self.streams: dict[int, Stream] = {}
        self.events: set[Event] = set()
        self.graphs: list[list[Callable[[], None]]] = []
        self._current = threading.local()

    # -- devices -----------------------------------------------------------------------------------

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        if "driver" in self.faults:
            return Code.cudaErrorInsufficientDriver, None
        if "no_gpu" in self.faults:
            return Code.cudaErrorNoDevice, None
        return OK, len(self.gpus)

    def cudaGetDeviceProperties(self, index: int) -> tuple[Any, ...]:
        return OK, SimpleNamespace(name=self.gpus[index][0].encode() + b"\0\0")

    def cudaDeviceGetAttribute(self, kind: int, index: int) -> tuple[Any, ...]:
        major, minor = self.gpus[index][1]
        return OK, {16: 24, 75: major, 76: minor}[int(kind)]

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return OK, 13000

    def cudaSetDevice(self, index: int) -> tuple[Any, ...]:
        self._current.index = index
        return (OK,)

    def cudaGetErrorString(self, code: int) -> tuple[Any, ...]:
        return OK, f"fake text of {int(code)}".encode()

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return (OK,)

    @property
    def current(self) -> int:
        """The calling thread's device."""
        return getattr(self._current, "index", 0)

    # -- memory ------------------------------------------------------------------------------------

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._allocate(size, "device")

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return self._allocate(size, "host")

    def _allocate(self, size: int, place: str) -> tuple[Any, ...]:
        if "memory" in self.faults:
            return Code.cudaErrorMemoryAllocation, None
        if any(stream.captured is not None for stream in self.streams.values()):
            return Code.cudaErrorStreamCaptureUnsupported, None
        self._count(f"allocate {place}")
        data = np.full(size, 0xCD, np.uint8)  # so that nothing that was not written looks right
        self.memory[data.ctypes.data] = (data, place)
        return OK, data.ctypes.data

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        _, place = self.memory.pop(address, (None, ""))
        return (OK if place == "device" else Code.cudaErrorInvalidValue,)

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        _, place = self.memory.pop(address, (None, ""))
        return (OK if place == "host" else Code.cudaErrorInvalidValue,)

    def cudaMemcpyAsync(
        self, target: int, source: int, size: int, kind: int, stream: Stream
    ) -> tuple[Any, ...]:
        up = int(kind) == 1
        if not (
            self.holds(source, size, "host" if up else "device")
            and self.holds(target, size, "device" if up else "host")
        ):
            return (Code.cudaErrorInvalidValue,)
        if stream.device != self.current:
            return (Code.cudaErrorInvalidResourceHandle,)

        def copy() -> None:
            self._count("bytes up" if up else "bytes down", size)
            ctypes.memmove(target, source, size)

        stream.put(copy)
        return (OK,)

    def holds(self, address: int, size: int, place: str) -> bool:
        """Whether these bytes lie in one allocation of that place."""
        return any(
            start <= address and address + size <= start + data.nbytes and where == place
            for start, (data, where) in self.memory.items()
        )

    # -- streams and events ------------------------------------------------------------------------

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        stream = Stream(1000 + len(self.streams) + self.counts.get("streams", 0), self.current)
        self._count("streams")
        self.streams[stream.handle] = stream
        return OK, stream

    def cudaStreamDestroy(self, stream: Stream) -> tuple[Any, ...]:
        self.streams.pop(stream.handle)
        return (OK,)

    def cudaStreamSynchronize(self, stream: Stream) -> tuple[Any, ...]:
        while stream.queue:
            stream.queue.pop(0)()
        return (OK,)

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        event = Event()
        self.events.add(event)
        return OK, event

    def cudaEventDestroy(self, event: Event) -> tuple[Any, ...]:
        self.events.remove(event)
        return (OK,)

    def cudaEventRecord(self, event: Event, stream: Stream) -> tuple[Any, ...]:
        event.moment, event.stream = None, stream

        def happen() -> None:
            event.moment = time.perf_counter()

        stream.put(happen)
        return (OK,)

    def cudaEventSynchronize(self, event: Event) -> tuple[Any, ...]:
        while event.stream is not None and event.moment is None and event.stream.queue:
            event.stream.queue.pop(0)()
        return (OK,)

    def cudaEventElapsedTime(self, first: Event, second: Event) -> tuple[Any, ...]:
        if first.moment is None or second.moment is None:
            return Code.cudaErrorInvalidValue, None
        return OK, (second.moment - first.moment) * 1e3

    # -- graphs ------------------------------------------------------------------------------------

    def cudaStreamBeginCapture(self, stream: Stream, mode: int) -> tuple[Any, ...]:
        if stream.captured is not None or stream.queue:
            return (Code.cudaErrorInvalidValue,)
        stream.captured = []
        return (OK,)

    def cudaStreamEndCapture(self, stream: Stream) -> tuple[Any, ...]:
        work, stream.captured = stream.captured, None
        if "capture" in self.faults:
            return Code.cudaErrorStreamCaptureInvalidated, None
        return OK, work

    def cudaGraphInstantiate(self, graph: list[Callable[[], None]], flags: int) -> tuple[Any, ...]:
        if "instantiate" in self.faults:
            return Code.cudaErrorInvalidValue, None
        self._count("captures")
        self.graphs.append(list(graph))
        return OK, self.graphs[-1]

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:
        return (OK,)

    def cudaGraphExecDestroy(self, graph: list[Callable[[], None]]) -> tuple[Any, ...]:
        self.graphs = [kept for kept in self.graphs if kept is not graph]
        return (OK,)

    def cudaGraphLaunch(self, graph: list[Callable[[], None]], stream: Stream) -> tuple[Any, ...]:
        if not any(kept is graph for kept in self.graphs) or stream.device != self.current:
            return (Code.cudaErrorInvalidResourceHandle,)
        self._count("launches")
        stream.queue.extend(graph)
        return (OK,)

    def _count(self, what: str, by: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + by

    def live(self) -> dict[str, int]:
        """Objects that were made and not freed: all 0 after a runner is closed."""
        return {
            "memory": len(self.memory),
            "streams": len(self.streams),
            "events": len(self.events),
            "graphs": len(self.graphs),
        }
