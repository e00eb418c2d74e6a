"""ONNX Runtime: the CPU by default, NVIDIA GPUs where the installed build has the CUDA provider."""

from __future__ import annotations

import importlib.util
import re
import time
import warnings
from collections.abc import Mapping, Sequence
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
from anomaly_seg_ros.bundle import Bundle, StageSpec
from anomaly_seg_ros.bundle_check import compare_ends
from anomaly_seg_ros.bundle_parts import IMAGE
from anomaly_seg_ros.errors import BackendError
from anomaly_seg_ros.onnx_file import GraphEnd

if TYPE_CHECKING:
    import onnxruntime as ort

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
DEVICE = re.compile(r"cpu|cuda(?::(\d+))?")
ELEMENT_NAMES = {"float": "float32", "double": "float64"}  # the others are spelt alike


class OnnxRuntimeBackend(Backend):
    """Runs each stage as one ONNX Runtime session, one graph of static shape."""

    name: ClassVar[str] = "onnxruntime"

    def unavailable_reason(self) -> str | None:
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed: pip install 'anomaly_seg_ros[onnx]'"
        return None

    def cuda_unavailable_reason(self) -> str | None:
        """Why the GPU cannot be used; None when this build has the CUDA provider."""
        import onnxruntime as ort

        there = ort.get_available_providers()
        if CUDA not in there:
            return f"this onnxruntime {ort.__version__} has only {', '.join(there)}, no {CUDA}"
        return None

    def load(
        self,
        bundle: Bundle,
        device: str | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> Runner:
        """Load every stage on `device`: cpu (default), cuda or cuda:N.

        Raises BackendError when the device or precision is not there, or when a graph differs
        from its bundle.
        """
        reason = self.unavailable_reason()
        if reason is not None:
            raise BackendError(f"backend {self.name} cannot run: {reason}")
        match = DEVICE.fullmatch(device or "cpu")
        if match is None:
            raise BackendError(
                f"device {device!r} is unknown to backend {self.name}; expected cpu, cuda or cuda:N"
            )
        if match[0] == "cpu":
            return OnnxRuntimeRunner(bundle, None, precision, thread_count(threads))
        reason = self.cuda_unavailable_reason()
        if reason is not None:
            raise BackendError(
                f"backend {self.name} cannot use device {device}: {reason}; install "
                "onnxruntime-gpu in its place or ask for device cpu"
            )
        return OnnxRuntimeRunner(bundle, int(match[1] or 0), precision, thread_count(threads))


class OnnxRuntimeRunner(Runner):
    """The sessions of one bundle. On CUDA, tensors between stages stay on the device."""

    can_run_stages: ClassVar[bool] = True

    def __init__(self, bundle: Bundle, cuda: int | None, precision: str, threads: int) -> None:
        self.bundle = bundle
        self.cuda = cuda
        self.precision = precision
        self.threads = threads
        self.sessions: dict[str, ort.InferenceSession] = {}
        try:
            faults = [fault for stage in bundle.stages for fault in self._load(stage)]
        except BackendError:
            self.close()
            raise
        if faults:
            self.close()
            lines = "\n".join(f"  - {fault}" for fault in faults)
            raise BackendError(f"graphs of bundle {bundle.name} differ from its yaml:\n{lines}")

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        self._check_open()
        check_image(image, self.bundle.input)
        plan = needed_stages(self.bundle, wanted)
        seconds = {stage.name: 0.0 for stage, _ in plan}
        if self.cuda is not None:
            seconds = {UPLOAD: 0.0, **seconds, DOWNLOAD: 0.0}
        start = time.perf_counter()
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
        placed = {tensor: self._on_device(array) for tensor, array in inputs.items()}
        made = self._run_session(stage, [spec.name for spec in stage.outputs], placed)
        return {tensor: value.numpy() for tensor, value in made.items()}

    def warmup(self, runs: int = 2) -> float:
        spec = self.bundle.input
        black = np.zeros((1, spec.height, spec.width, 3), np.uint8)
        seconds = 0.0
        for _ in range(max(1, runs)):
            seconds = self.run(black, tuple(self.bundle.outputs())).seconds["total"]
        return seconds

    def describe(self) -> RunnerInfo:
        import onnxruntime as ort

        device = "cpu" if self.cuda is None else f"cuda:{self.cuda}"
        return RunnerInfo(
            OnnxRuntimeBackend.name,
            device,
            self.precision,
            ort.__version__,
            self.threads,
            self.note,
        )

    def close(self) -> None:
        self.sessions.clear()

    def _load(self, stage: StageSpec) -> list[str]:
        """Open the stage's session; faults where its graph differs from the yaml."""
        import onnxruntime as ort

        target = "onnxruntime-cpu" if self.cuda is None else "onnxruntime-cuda"
        file = choose_file(stage, self.precision, target)
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3  # errors; we say ourselves what matters
        # A spinning pool eats the cores that the camera driver and the planner need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers: list[Any] = [CPU]
        if self.cuda is not None:
            providers.insert(0, (CUDA, {"device_id": self.cuda}))
        try:
            with warnings.catch_warnings():  # what is missing becomes an error below
                warnings.simplefilter("ignore", UserWarning)
                session = ort.InferenceSession(str(file.path), options, providers=providers)
        except Exception as error:  # the runtime raises many classes of its own; none is public
            raise BackendError(
                f"ONNX Runtime {ort.__version__} cannot load stage {stage.name} "
                f"({file.path.name}): {error}"
            ) from error
        if self.cuda is not None and CUDA not in session.get_providers():
            raise BackendError(
                f"ONNX Runtime could not start {CUDA} on device {self.cuda} (driver, CUDA or cuDNN "
                "missing?): mend the installation or ask for device cpu"
            )
        self.sessions[stage.name] = session
        return self._compare(stage, file.path.name, session)

    def _compare(self, stage: StageSpec, file: str, session: ort.InferenceSession) -> list[str]:
        tensors = {IMAGE: self.bundle.input.image, **self.bundle.outputs()}
        expected = [tensors[name] for name in stage.inputs]
        what = f"stage {stage.name} ({file})"
        inputs = [_graph_end(node) for node in session.get_inputs()]
        outputs = [_graph_end(node) for node in session.get_outputs()]
        return compare_ends(what, "inputs", expected, inputs) + compare_ends(
            what, "outputs", stage.outputs, outputs
        )

    def _run_one(
        self,
        image: np.ndarray,
        plan: Sequence[tuple[StageSpec, list[str]]],
        wanted: Sequence[str],
        seconds: dict[str, float],
    ) -> dict[str, np.ndarray]:
        """One image [1, H, W, 3] through the stages; tensors stay on the device in between."""
        start = time.perf_counter()
        tensors = {IMAGE: self._on_device(image)}
        if UPLOAD in seconds:
            seconds[UPLOAD] += time.perf_counter() - start
        for stage, outputs in plan:
            start = time.perf_counter()
            tensors.update(self._run_session(stage, outputs, tensors))
            seconds[stage.name] += time.perf_counter() - start
        start = time.perf_counter()
        arrays = {name: tensors[name].numpy() for name in wanted}
        if DOWNLOAD in seconds:
            seconds[DOWNLOAD] += time.perf_counter() - start
        return arrays

    def _on_device(self, array: np.ndarray) -> ort.OrtValue:
        import onnxruntime as ort

        return ort.OrtValue.ortvalue_from_numpy(array, *self._device())

    def _device(self) -> tuple[str, int]:
        return ("cpu", 0) if self.cuda is None else ("cuda", self.cuda)

    def _run_session(
        self, stage: StageSpec, outputs: Sequence[str], tensors: Mapping[str, ort.OrtValue]
    ) -> dict[str, ort.OrtValue]:
        """One stage on tensors of the device; those of its `outputs`, which stay there."""
        session = self.sessions[stage.name]
        binding = session.io_binding()
        for name in stage.inputs:
            binding.bind_ortvalue_input(name, tensors[name])
        for name in outputs:
            binding.bind_output(name, *self._device())
        try:
            session.run_with_iobinding(binding)
        except Exception as error:  # see _load
            raise BackendError(f"stage {stage.name} failed in ONNX Runtime: {error}") from error
        return dict(zip(outputs, binding.get_outputs(), strict=True))

    def _check_open(self) -> None:
        if not self.sessions:
            raise BackendError("this runner is closed: load the bundle again")


def _graph_end(node: ort.NodeArg) -> GraphEnd:
    """A session's input or output: type "tensor(float)", unknown dimensions a name or None."""
    inner = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple("?" if dim is None else dim for dim in node.shape)
    return GraphEnd(node.name, ELEMENT_NAMES.get(inner, inner), shape)
