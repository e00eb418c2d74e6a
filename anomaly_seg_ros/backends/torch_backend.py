"""torch: for GPUs without TensorRT, and to compare with. The one file that imports it, when asked.

Each stage is a program that `python -m training torch-program` exported on this machine and put
into the engine cache. Programs never travel with a bundle: opening one can run code, so it is
opened only out of the cache, with the hash that was noted there when it was made.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anomaly_seg_ros.backends.base import (
    DOWNLOAD,
    UPLOAD,
    Backend,
    Runner,
    RunnerInfo,
    RunResult,
    check_image,
    choose_file,
    needed_stages,
    stage_inputs,
    thread_count,
)
from anomaly_seg_ros.backends.engine_cache import EngineCache, default_cache
from anomaly_seg_ros.bundle import Bundle, StageFile, StageSpec
from anomaly_seg_ros.bundle_parts import IMAGE
from anomaly_seg_ros.errors import BackendError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

SCHEMA = 1  # of the key; a change of how programs are made or called changes it
SUFFIX = ".pt2"
DEVICE = re.compile(r"cpu|cuda(?::(\d+))?")
PRECISIONS = ("fp32", "fp16")
WARMUP = 3  # runs of a stage before its CUDA graph is captured, as torch's manual asks for

Program = Callable[..., Any]  # tensors in the order of the stage's inputs -> tuple of its outputs


def program_key(file: StageFile, device_type: str) -> dict[str, Any]:
    """The cache key of a stage's program: everything that it depends on.

    file: the graph that the program computes. device_type: cpu or cuda.
    """
    import torch

    return {
        "kind": "torch program",
        "schema": SCHEMA,
        "graph": [file.sha256, *(side.sha256 for side in file.external)],
        "precision": file.precision,
        "device": device_type,
        "torch": str(torch.__version__),
    }


class TorchBackend(Backend):
    """Runs each stage as one exported torch program, on CUDA as one CUDA graph each.

    precision: fp32 (convolutions may use TF32, the default of torch) or fp16 where the bundle has
    such graphs.
    """

    name: ClassVar[str] = "torch"

    def __init__(
        self, cache: Callable[[], EngineCache] = default_cache, *, graphs: bool = True
    ) -> None:
        """cache: called at each use, so that the environment may change. graphs: use CUDA graphs;
        without them a stage is a series of launches."""
        self._cache = cache
        self.graphs = graphs

    def unavailable_reason(self) -> str | None:
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed: pip install 'anomaly_seg_ros[torch]'"
        return None

    def cuda_unavailable_reason(self, index: int = 0) -> str | None:
        """Why the GPU cannot be used; None when this torch can use it."""
        import torch

        if torch.version.cuda is None:
            return f"this torch {torch.__version__} is built without CUDA: install a CUDA build"
        count = torch.cuda.device_count()
        if count == 0:
            return (
                f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU: see what "
                "nvidia-smi says of driver and device"
            )
        if index >= count:
            return f"there are {count} GPUs, cuda:0 to cuda:{count - 1}: name one of these"
        return None

    def load(
        self,
        bundle: Bundle,
        device: str | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> Runner:
        """Load every stage's program on `device`: cuda (default), cuda:N or cpu.

        On the CPU `threads`, and on a GPU that cuDNN tries its algorithms out, hold for all of
        torch in this process. Raises BackendError when torch, the device, the precision or a
        program is not there, and when a program is not its stage.
        """
        target = self.device(device)
        if precision not in PRECISIONS:
            raise BackendError(
                f"backend {self.name} has no precision {precision!r}; expected "
                f"{' or '.join(PRECISIONS)}"
            )
        import torch

        count = thread_count(threads)
        programs = self._programs(bundle, target, precision)
        if target.type == "cpu":
            torch.set_num_threads(count)
        else:
            torch.backends.cudnn.benchmark = True  # shapes never change
        return TorchRunner(
            bundle,
            programs,
            target,
            precision=precision,
            threads=count if target.type == "cpu" else 0,
            graphs=self.graphs and target.type == "cuda",
        )

    def device(self, name: str | None) -> torch.device:
        """The device of that name, cuda by default. Raises BackendError where it is not here."""
        reason = self.unavailable_reason()
        if reason is not None:
            raise BackendError(f"backend {self.name} cannot run: {reason}")
        import torch

        match = DEVICE.fullmatch(name or "cuda")
        if match is None:
            raise BackendError(
                f"device {name!r} is unknown to backend {self.name}; expected cpu, cuda or cuda:N"
            )
        if match[0] == "cpu":
            return torch.device("cpu")
        index = int(match[1] or 0)
        reason = self.cuda_unavailable_reason(index)
        if reason is not None:
            raise BackendError(
                f"backend {self.name} cannot use device cuda:{index}: {reason}; or ask for device "
                "cpu, or for backend onnxruntime"
            )
        return torch.device("cuda", index)

    def _programs(self, bundle: Bundle, device: torch.device, precision: str) -> dict[str, Program]:
        """Every stage's program out of the cache. Raises BackendError naming all that miss."""
        import torch

        cache = self._cache()
        found, missing = {}, []
        for stage in bundle.stages:
            key = program_key(choose_file(stage, precision, self.name), device.type)
            found[stage.name] = cache.find(key, suffix=SUFFIX)
            if found[stage.name] is None:
                missing.append(stage.name)
        mend = (
            f"python -m training torch-program {bundle.folder} --precision {precision} "
            f"--device {device.type}"
        )
        if missing:
            raise BackendError(
                f"no {precision} program for {device.type} and torch {torch.__version__} of stage "
                f"{', '.join(missing)} in {cache.folder}; export it once, on this machine and from "
                f"a checkout of the project: {mend}"
            )
        programs = {}
        for name, engine in found.items():
            assert engine is not None  # else it is missing
            try:
                programs[name] = open_program(engine.read(), device)
            except BackendError as error:
                cache.reject(engine, str(error))
                raise BackendError(f"stage {name}: {error}: make it anew: {mend}") from error
        return programs


def open_program(data: bytes, device: torch.device) -> Program:
    """A program as it was exported, to be called with tensors on `device`.

    Can run code of whoever made it: only for bytes whose origin is known. Raises BackendError.
    """
    import torch

    try:
        program = torch.export.load(io.BytesIO(data))
        if device.index:  # it was exported on the first GPU
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, str(device))
        # Images come with channels last; weights laid out alike spare conversions.
        return program.module().to(memory_format=torch.channels_last)
    except Exception as error:  # torch raises many classes of its own; none is public
        raise BackendError(
            f"torch {torch.__version__} cannot open the program ({error})"
        ) from error


class TorchRunner(Runner):
    """The programs of one bundle. Tensors stay on the device between stages.

    With `graphs` each stage is captured as a CUDA graph when the bundle is loaded, and is one
    launch from then on; where that fails stages are launched step by step, which the note says.
    """

    can_run_stages: ClassVar[bool] = True

    def __init__(
        self,
        bundle: Bundle,
        programs: Mapping[str, Program],
        device: torch.device,
        *,
        precision: str,
        threads: int,
        graphs: bool,
    ) -> None:
        """Raises BackendError where a program gives other tensors than its stage declares."""
        import torch

        self._torch = torch
        self.bundle = bundle
        self.device = device
        self._programs = dict(programs)
        self._told = (precision, str(torch.__version__), threads)
        self._graph_fault = ""
        self._graphs: dict[str, torch.cuda.CUDAGraph] = {}
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._host: dict[str, torch.Tensor] = {}
        self._tensors: dict[str, torch.Tensor] = {}
        with self._working():
            shape = bundle.input.image.shape
            self._tensors[IMAGE] = torch.zeros(shape, dtype=torch.uint8, device=device)
            for stage in bundle.stages:
                self._check(stage, self._call(stage))
                if graphs and not self._graph_fault:
                    self._capture(stage)

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        self._check_open()
        check_image(image, self.bundle.input)
        plan = [stage for stage, _ in needed_stages(self.bundle, wanted)]
        start = time.perf_counter()
        seconds = {stage.name: 0.0 for stage in plan}
        with self._working():
            results = [
                self._run_one(image[i : i + 1], plan, wanted, seconds) for i in range(len(image))
            ]
        if len(results) == 1:
            arrays = results[0]
        else:
            arrays = {name: np.concatenate([r[name] for r in results]) for name in wanted}
        seconds["total"] = time.perf_counter() - start
        return RunResult(arrays, seconds)

    def run_stage(self, name: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._check_open()
        stage, inputs = stage_inputs(self.bundle, name, tensors)
        with self._working():
            for tensor, array in inputs.items():
                self._upload(tensor, array)
            self._advance(stage)
            return self._download([spec.name for spec in stage.outputs])

    def warmup(self, runs: int = 2) -> float:
        spec = self.bundle.input
        black = np.zeros((1, spec.height, spec.width, 3), np.uint8)
        seconds = 0.0
        for _ in range(max(1, runs)):
            seconds = self.run(black, tuple(self.bundle.outputs())).seconds["total"]
        return seconds

    def describe(self) -> RunnerInfo:
        precision, version, threads = self._told
        note = "; ".join(text for text in (self.note, self._graph_fault) if text)
        return RunnerInfo(TorchBackend.name, str(self.device), precision, version, threads, note)

    def close(self) -> None:
        for held in (self._graphs, self._programs, self._tensors, self._host):
            held.clear()

    def _run_one(
        self,
        image: np.ndarray,
        plan: Sequence[StageSpec],
        wanted: Sequence[str],
        seconds: dict[str, float],
    ) -> dict[str, np.ndarray]:
        """One image [1, H, W, 3] through the stages of the plan."""
        marks = [self._mark()]
        self._upload(IMAGE, image)
        marks.append(self._mark())
        for stage in plan:
            self._advance(stage)
            marks.append(self._mark())
        arrays = self._download(wanted)
        marks.append(self._mark())
        steps = [UPLOAD, *(stage.name for stage in plan), DOWNLOAD]
        if self._stream is None:  # nothing moves on the CPU
            steps, marks = steps[1:-1], marks[1:-1]
        else:
            self._stream.synchronize()
        for name, first, second in zip(steps, marks[:-1], marks[1:], strict=True):
            seconds[name] = seconds.get(name, 0.0) + self._between(first, second)
        return arrays

    def _advance(self, stage: StageSpec) -> None:
        """Run a stage on the tensors that are there; its outputs are there afterwards."""
        if stage.name in self._graphs:
            self._graphs[stage.name].replay()
        else:
            self._keep(stage, self._call(stage))

    def _call(self, stage: StageSpec) -> Sequence[torch.Tensor]:
        return self._programs[stage.name](*(self._tensors[name] for name in stage.inputs))

    def _keep(self, stage: StageSpec, made: Sequence[torch.Tensor]) -> None:
        self._tensors.update(zip((spec.name for spec in stage.outputs), made, strict=True))

    def _check(self, stage: StageSpec, made: Sequence[torch.Tensor]) -> None:
        """Keep the outputs if they are as declared."""
        found = [(str(made_.dtype).removeprefix("torch."), tuple(made_.shape)) for made_ in made]
        if found != [(spec.dtype, spec.shape) for spec in stage.outputs]:
            listed = ", ".join(f"{dtype} {list(shape)}" for dtype, shape in found)
            raise BackendError(
                f"the program of stage {stage.name} gives {listed}; expected "
                f"{', '.join(map(str, stage.outputs))}: clear the engine cache and export it anew"
            )
        self._keep(stage, made)

    def _capture(self, stage: StageSpec) -> None:
        """Make a CUDA graph of a stage over the tensors of those before it, which stay in place.

        Each graph has memory of its own: stages are left out and repeated as is asked for, which
        memory shared between graphs does not allow.
        """
        assert self._stream is not None  # graphs are asked for on CUDA alone
        try:
            for _ in range(WARMUP):
                self._call(stage)
            self._stream.synchronize()
            graph = self._torch.cuda.CUDAGraph()
            with self._torch.cuda.graph(graph, stream=self._stream):
                made = self._call(stage)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            self._graph_fault = f"no CUDA graphs, stages are launched step by step: {reason}"
            log.warning("%s", self._graph_fault)
            self._graphs.clear()
        else:
            self._keep(stage, made)
            self._graphs[stage.name] = graph
            graph.replay()  # a capture computes nothing

    def _upload(self, name: str, array: np.ndarray) -> None:
        """Put an array [1, ...] where the stages read it."""
        if self._stream is None:
            self._tensors[name] = self._torch.from_numpy(array)
            return
        pinned = self._pinned(name)
        pinned.copy_(self._torch.from_numpy(array))
        self._tensors[name].copy_(pinned, non_blocking=True)

    def _download(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Tensors as arrays of the caller's own."""
        if self._stream is None:
            return {name: np.array(self._tensors[name].numpy(), order="C") for name in names}
        for name in names:
            self._pinned(name).copy_(self._tensors[name], non_blocking=True)
        self._stream.synchronize()
        return {name: self._pinned(name).numpy().copy() for name in names}

    def _pinned(self, name: str) -> torch.Tensor:
        """Page-locked memory for a tensor; the next run writes into it."""
        if name not in self._host:
            like = self._tensors[name]
            pin = self.device.type == "cuda"
            self._host[name] = self._torch.empty(like.shape, dtype=like.dtype, pin_memory=pin)
        return self._host[name]

    @contextmanager
    def _working(self) -> Iterator[None]:
        """No gradients; on CUDA, this runner's device and stream."""
        with self._torch.inference_mode():
            if self._stream is None:
                yield
                return
            try:
                with self._torch.cuda.device(self.device), self._torch.cuda.stream(self._stream):
                    yield
            except self._torch.cuda.OutOfMemoryError as error:
                raise BackendError(f"{self.device} has too little memory: {error}") from error

    def _mark(self) -> Any:
        """A moment: of the host's clock, or of the stream's."""
        if self._stream is None:
            return time.perf_counter()
        event = self._torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def _between(self, first: Any, second: Any) -> float:
        return second - first if self._stream is None else first.elapsed_time(second) / 1e3

    def _check_open(self) -> None:
        if not self._programs:
            raise BackendError("this runner is closed: load the bundle again")
