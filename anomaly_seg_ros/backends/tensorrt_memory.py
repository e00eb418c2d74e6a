"""GPU memory, one stream and CUDA graphs by cuda-python: all that the backend needs of CUDA.

Every call's result is checked. Nothing here knows of TensorRT, and nothing but this file of CUDA.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly_seg_ros.errors import BackendError

OUT_OF_MEMORY, NO_DRIVER = 2, (35, 100)  # cudaError_t: MemoryAllocation; driver too old, no device


@dataclass(frozen=True)
class Gpu:
    """What an engine depends on of the GPU it was built for."""

    index: int
    name: str
    capability: str  # 8.7
    multiprocessors: int
    driver: int  # major version of CUDA that the driver brings


class HostBuffer:
    """Page-locked memory of the host: `bytes` is uint8 [size]."""

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.bytes = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def load_cuda() -> Any:
    """The module cuda.bindings.runtime. Raises BackendError with the mend."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError, RuntimeError) as error:  # it looks for libraries on import
        raise BackendError(
            f"cuda-python cannot be loaded ({error}): pip install 'cuda-python>=12.6.1' of the "
            "CUDA version that the driver has"
        ) from error


def find_gpu(index: int) -> Gpu:
    """The GPU of that number. Raises BackendError when there is none or no driver for it."""
    cudart = load_cuda()
    code, *values = cudart.cudaGetDeviceCount()
    if int(code) in NO_DRIVER or (int(code) == 0 and values[0] == 0):
        raise BackendError(
            "no NVIDIA GPU can be used here (the driver is missing or too old for this "
            "cuda-python): install the driver or use another backend"
        )
    (count,) = _checked(cudart, (code, *values), "counting GPUs")
    if index >= count:
        raise BackendError(f"device cuda:{index} is not there; there are {count}: cuda:0 onwards")

    def attribute(kind: Any) -> int:
        return int(_checked(cudart, cudart.cudaDeviceGetAttribute(kind, index), "asking a GPU")[0])

    (properties,) = _checked(cudart, cudart.cudaGetDeviceProperties(index), "asking a GPU")
    (driver,) = _checked(cudart, cudart.cudaDriverGetVersion(), "asking the driver")
    kinds = cudart.cudaDeviceAttr
    major = attribute(kinds.cudaDevAttrComputeCapabilityMajor)
    minor = attribute(kinds.cudaDevAttrComputeCapabilityMinor)
    return Gpu(
        index,
        properties.name.decode(errors="replace").rstrip("\0"),
        f"{major}.{minor}",
        attribute(kinds.cudaDevAttrMultiProcessorCount),
        int(driver) // 1000,
    )


class GpuStream:
    """One stream of one GPU, and the memory that belongs to it.

    Belongs to one thread at a time, which calls `use` before anything else. Copies and launches
    only queue work; `wait` waits for all of it, sleeping. `close` frees everything.
    """

    def __init__(self, index: int) -> None:
        self._cudart = load_cuda()
        self._index = index
        self._device: list[int] = []
        self._host: list[HostBuffer] = []
        self._events: list[Any] = []
        self._graphs: list[Any] = []
        self.use()
        flags = self._cudart.cudaStreamNonBlocking
        (self._stream,) = self._do(self._cudart.cudaStreamCreateWithFlags, flags)
        try:
            self._done = self.event(self._cudart.cudaEventBlockingSync)
        except BackendError:
            self.close()
            raise

    @property
    def handle(self) -> int:
        """The stream's address, as TensorRT takes it."""
        return int(self._stream)

    def use(self) -> None:
        """Make this GPU the calling thread's."""
        self._do(self._cudart.cudaSetDevice, self._index)

    def device_buffer(self, size: int) -> int:
        """The address of new memory on the GPU."""
        (address,) = self._do(self._cudart.cudaMalloc, max(1, size))
        self._device.append(int(address))
        return int(address)

    def host_buffer(self, size: int) -> HostBuffer:
        """New page-locked memory of the host."""
        flags = self._cudart.cudaHostAllocDefault
        (address,) = self._do(self._cudart.cudaHostAlloc, max(1, size), flags)
        self._host.append(HostBuffer(int(address), max(1, size)))
        return self._host[-1]

    def upload(self, source: HostBuffer, target: int, size: int) -> None:
        """Queue a copy of the first `size` bytes to the GPU."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do(self._cudart.cudaMemcpyAsync, target, source.address, size, kind, self._stream)

    def download(self, source: int, target: HostBuffer, size: int) -> None:
        """Queue a copy of `size` bytes from the GPU."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do(self._cudart.cudaMemcpyAsync, target.address, source, size, kind, self._stream)

    def wait(self) -> None:
        """Wait for all that is queued."""
        self.record(self._done)
        self._do(self._cudart.cudaEventSynchronize, self._done)

    def event(self, flags: int | None = None) -> Any:
        """A new event, with times unless flags say otherwise."""
        given = self._cudart.cudaEventDefault if flags is None else flags
        (event,) = self._do(self._cudart.cudaEventCreateWithFlags, given)
        self._events.append(event)
        return event

    def record(self, event: Any) -> None:
        """Queue that the event happens."""
        self._do(self._cudart.cudaEventRecord, event, self._stream)

    def seconds_between(self, first: Any, second: Any) -> float:
        """Of two events that have happened."""
        (milliseconds,) = self._do(self._cudart.cudaEventElapsedTime, first, second)
        return float(milliseconds) / 1e3

    def capture(self, queue: Callable[[], None]) -> Any:
        """What `queue` queues, not run now, as a graph to `launch` later.

        Raises BackendError when it cannot be captured; the stream is as before then.
        """
        cudart = self._cudart
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._do(self._cudart.cudaStreamBeginCapture, self._stream, mode)
        try:
            queue()
        except BaseException:
            cudart.cudaStreamEndCapture(self._stream)  # only to leave the mode
            cudart.cudaGetLastError()  # or the next call would report this one's failure
            raise
        try:
            (graph,) = self._do(self._cudart.cudaStreamEndCapture, self._stream)
            try:
                (executable,) = self._do(self._cudart.cudaGraphInstantiate, graph, 0)
            finally:
                self._do(self._cudart.cudaGraphDestroy, graph)
        except BackendError:
            cudart.cudaGetLastError()
            raise
        self._graphs.append(executable)
        return executable

    def launch(self, graph: Any) -> None:
        """Queue a captured graph."""
        self._do(self._cudart.cudaGraphLaunch, graph, self._stream)

    def drop(self, graph: Any) -> None:
        """Free a captured graph that is not running."""
        self._graphs.remove(graph)
        self._do(self._cudart.cudaGraphExecDestroy, graph)

    def close(self) -> None:
        """Free memory, events, graphs and the stream; what is queued ends first.

        Results are not checked: a GPU that has failed says so again at every call.
        """
        cudart = self._cudart
        cudart.cudaSetDevice(self._index)
        cudart.cudaStreamSynchronize(self._stream)
        for graph in self._graphs:
            cudart.cudaGraphExecDestroy(graph)
        for event in self._events:
            cudart.cudaEventDestroy(event)
        for address in self._device:
            cudart.cudaFree(address)
        for buffer in self._host:
            cudart.cudaFreeHost(buffer.address)
        cudart.cudaStreamDestroy(self._stream)
        for owned in (self._graphs, self._events, self._device, self._host):
            owned.clear()

    def _do(self, call: Callable[..., tuple[Any, ...]], *arguments: Any) -> tuple[Any, ...]:
        return _checked(self._cudart, call(*arguments), call.__name__)


def _checked(cudart: Any, result: tuple[Any, ...], call: str) -> tuple[Any, ...]:
    """The values of a (code, *values) result. Raises BackendError for any code but success."""
    code, *values = result
    if int(code) == 0:
        return tuple(values)
    name = getattr(code, "name", str(code))
    text = cudart.cudaGetErrorString(code)[1]
    said = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    if int(code) == OUT_OF_MEMORY:
        mend = "the GPU's memory is full: end what else uses it or take a smaller bundle"
    else:
        mend = "load the bundle again, and look at the driver (nvidia-smi) if that does not help"
    raise BackendError(f"CUDA failed in {call}: {name} ({said}): {mend}")
