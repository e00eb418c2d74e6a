"""A bundle's engines on one GPU: memory allocated once, all stages of a request in one CUDA graph.

Tensors stay on the GPU between stages; only the image goes up and only wanted tensors come down.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anomaly_seg_ros.backends.base import (
    DOWNLOAD,
    UPLOAD,
    Runner,
    RunnerInfo,
    RunResult,
    check_image,
    needed_stages,
    stage_inputs,
)
from anomaly_seg_ros.backends.tensorrt_engine import StageEngine
from anomaly_seg_ros.backends.tensorrt_memory import GpuStream, HostBuffer
from anomaly_seg_ros.bundle import Bundle, TensorSpec
from anomaly_seg_ros.bundle_parts import IMAGE
from anomaly_seg_ros.errors import BackendError

log = logging.getLogger(__name__)

MAX_GRAPHS = 8  # sets of wanted tensors with a graph of their own; a node has a few


@dataclass(frozen=True)
class Request:
    """What one set of wanted tensors needs."""

    wanted: tuple[str, ...]  # each once, sorted
    stages: tuple[str, ...]  # to run, in order


@dataclass(frozen=True)
class Captured:
    """A CUDA graph and the memory it was captured with: of no use when that moves."""

    graph: Any
    addresses: tuple[int, ...]


class TensorRTRunner(Runner):
    """Runs the engines of one bundle. The first run of a request, and of a batch size, runs stage
    by stage and is then captured; further ones are one launch. Where capturing fails, stages go on
    being launched one by one, which the note says.

    With `profiling` no graph is used, and seconds tell each stage by the GPU's own clock.
    """

    can_run_stages: ClassVar[bool] = True

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, StageEngine],
        stream: GpuStream,
        *,
        device: str,
        precision: str,
        version: str,
    ) -> None:
        """engines: by stage, for the GPU of `stream`; both are closed with the runner.

        Raises BackendError when the GPU's memory does not hold the tensors.
        """
        self.bundle = bundle
        self._engines = dict(engines)
        self._stream = stream
        self._info = RunnerInfo("tensorrt", device, precision, version, 0, "")
        self._graph_fault = ""
        self._graphs: dict[tuple[str, ...], Captured] = {}
        self._without_graph: set[tuple[str, ...]] = set()
        self._host: dict[str, HostBuffer] = {}
        self._batch = 0  # that the contexts are set to
        self._open = True
        self.max_batch = min(engine.max_batch for engine in self._engines.values())
        self._specs: dict[str, TensorSpec] = {IMAGE: bundle.input.image, **bundle.outputs()}
        self._device = {
            name: stream.device_buffer(self._size(name, self.max_batch)) for name in self._specs
        }
        self._host_buffer(IMAGE)
        for stage, engine in self._engines.items():
            for name in self._tensors_of(stage):
                engine.place(name, self._device[name])
        self._events = [stream.event() for _ in range(len(self._engines) + 3)]

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        self._check_open()
        check_image(image, self.bundle.input)
        stages = tuple(stage.name for stage, _ in needed_stages(self.bundle, wanted))
        request = Request(tuple(sorted(set(wanted))), stages)
        start = time.perf_counter()
        self._stream.use()
        count = len(image)
        arrays = {name: self._result(name, count) for name in dict.fromkeys(wanted)}
        seconds = dict.fromkeys((UPLOAD, *stages, DOWNLOAD), 0.0) if self.profiling else {}
        if stages:
            for first in range(0, count, self.max_batch):
                part = image[first : first + self.max_batch]
                self._run_part(part, request, seconds)
                for name, array in arrays.items():
                    array[first : first + len(part)] = self._on_host(name, len(part))
        seconds["total"] = time.perf_counter() - start
        return RunResult(arrays, seconds)

    def run_stage(self, name: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._check_open()
        stage, inputs = stage_inputs(self.bundle, name, tensors)
        self._stream.use()
        self._set_batch(1)
        for tensor, array in inputs.items():
            self._on_host(tensor, 1)[:] = array
            self._upload(tensor, 1)
        self._engines[name].queue(self._stream.handle)
        made = [spec.name for spec in stage.outputs]
        self._download(made, 1)
        self._stream.wait()
        return {tensor: self._on_host(tensor, 1).copy() for tensor in made}

    def warmup(self, runs: int = 2) -> float:
        spec = self.bundle.input
        black = np.zeros((1, spec.height, spec.width, 3), np.uint8)
        seconds = 0.0
        for _ in range(max(1, runs)):
            seconds = self.run(black, tuple(self.bundle.outputs())).seconds["total"]
        return seconds

    def describe(self) -> RunnerInfo:
        info = self._info
        note = "; ".join(text for text in (self.note, self._graph_fault) if text)
        return RunnerInfo(info.backend, info.device, info.precision, info.version, 0, note)

    def close(self) -> None:
        if self._open:
            self._open = False
            for engine in self._engines.values():
                engine.close()
            self._host.clear()
            self._stream.close()

    def _run_part(self, part: np.ndarray, request: Request, seconds: dict[str, float]) -> None:
        """Up to max_batch images through the stages; the wanted tensors are on the host then."""
        batch = len(part)
        self._set_batch(batch)
        self._on_host(IMAGE, batch)[:] = part
        for name in request.wanted:
            self._host_buffer(name)  # before a capture, which allows no allocation
        if self.profiling:
            self._run_profiled(request, batch, seconds)
            return
        captured = self._graphs.get(request.wanted)
        if captured is not None and captured.addresses == self._addresses(request):
            self._stream.launch(captured.graph)
            self._stream.wait()
            return
        self._queue(request, batch)
        self._stream.wait()
        self._capture(request, batch)

    def _queue(self, request: Request, batch: int) -> None:
        self._upload(IMAGE, batch)
        for stage in request.stages:
            self._engines[stage].queue(self._stream.handle)
        self._download(request.wanted, batch)

    def _run_profiled(self, request: Request, batch: int, seconds: dict[str, float]) -> None:
        stream, events = self._stream, iter(self._events)
        steps = [next(events)]
        stream.record(steps[-1])
        self._upload(IMAGE, batch)
        for stage in request.stages:
            steps.append(next(events))
            stream.record(steps[-1])
            self._engines[stage].queue(stream.handle)
        steps.append(next(events))
        stream.record(steps[-1])
        self._download(request.wanted, batch)
        steps.append(next(events))
        stream.record(steps[-1])
        stream.wait()
        names = (UPLOAD, *request.stages, DOWNLOAD)
        for name, first, second in zip(names, steps[:-1], steps[1:], strict=True):
            seconds[name] += stream.seconds_between(first, second)

    def _capture(self, request: Request, batch: int) -> None:
        """Keep what has just run as a graph. TensorRT wants a run of these shapes before."""
        if request.wanted in self._without_graph:
            return
        if request.wanted in self._graphs:
            self._stream.drop(self._graphs.pop(request.wanted).graph)
        elif len(self._graphs) >= MAX_GRAPHS:
            self._stream.drop(self._graphs.pop(next(iter(self._graphs))).graph)
        try:
            graph = self._stream.capture(lambda: self._queue(request, batch))
        except BackendError as error:
            self._without_graph.add(request.wanted)
            if not self._graph_fault:
                reason = str(error).partition("\n")[0]
                self._graph_fault = f"no CUDA graph, stages are launched one by one: {reason}"
                log.warning("%s", self._graph_fault)
        else:
            addresses = self._addresses(request)
            self._graphs[request.wanted] = Captured(graph, addresses)

    def _set_batch(self, batch: int) -> None:
        """Set the contexts to a batch size; graphs of another one are of no use any more."""
        if batch == self._batch:
            return
        for captured in self._graphs.values():
            self._stream.drop(captured.graph)
        self._graphs.clear()
        self._without_graph.clear()
        self._batch = 0  # in between, if one of them refuses
        for engine in self._engines.values():
            engine.set_batch(batch)
        self._batch = batch

    def _addresses(self, request: Request) -> tuple[int, ...]:
        """Of all memory that a request touches."""
        names = dict.fromkeys(name for stage in request.stages for name in self._tensors_of(stage))
        host = [self._host[name].address for name in (IMAGE, *request.wanted)]
        return (*(self._device[name] for name in names), *host)

    def _tensors_of(self, stage: str) -> list[str]:
        spec = self._engines[stage].stage
        return [*spec.inputs, *(output.name for output in spec.outputs)]

    def _upload(self, name: str, batch: int) -> None:
        source = self._host_buffer(name)
        self._stream.upload(source, self._device[name], self._size(name, batch))

    def _download(self, names: Sequence[str], batch: int) -> None:
        for name in names:
            target = self._host_buffer(name)
            self._stream.download(self._device[name], target, self._size(name, batch))

    def _host_buffer(self, name: str) -> HostBuffer:
        if name not in self._host:
            self._host[name] = self._stream.host_buffer(self._size(name, self.max_batch))
        return self._host[name]

    def _on_host(self, name: str, batch: int) -> np.ndarray:
        """The page-locked copy of a tensor, [batch, ...]; the next run writes into it."""
        spec = self._specs[name]
        memory = self._host_buffer(name).bytes[: self._size(name, batch)]
        return memory.view(spec.dtype).reshape(batch, *spec.shape[1:])

    def _result(self, name: str, count: int) -> np.ndarray:
        spec = self._specs[name]
        return np.empty((count, *spec.shape[1:]), spec.dtype)

    def _size(self, name: str, batch: int) -> int:
        """Bytes of a tensor for that many images."""
        spec = self._specs[name]
        return batch * math.prod(spec.shape[1:]) * np.dtype(spec.dtype).itemsize

    def _check_open(self) -> None:
        if not self._open:
            raise BackendError("this runner is closed: load the bundle again")
