"""One stage's engine, ready to run: deserialised, checked against the bundle, with its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomaly_seg_ros.backends.tensorrt_api import LogLines
from anomaly_seg_ros.backends.tensorrt_precision import precision_fault, read_layers
from anomaly_seg_ros.bundle import StageSpec, TensorSpec
from anomaly_seg_ros.bundle_check import compare_ends
from anomaly_seg_ros.errors import BackendError
from anomaly_seg_ros.onnx_file import GraphEnd


class EngineRejected(BackendError):
    """An engine that TensorRT does not take or that is not what the bundle needs: build it anew."""


class StageEngine:
    """A stage on the GPU. Tensors go by name and lie where `place` says; one stream at a time."""

    def __init__(
        self, trt: Any, stage: StageSpec, inputs: Sequence[TensorSpec], plan: bytes
    ) -> None:
        """The GPU must be the calling thread's. inputs: the stage's, as the bundle declares them.

        Raises EngineRejected when the plan is of no use here, BackendError when memory is short.
        """
        self.stage = stage
        self._shapes = {spec.name: spec.shape for spec in inputs}
        # TensorRT needs its logger, runtime and engine for as long as the context is in use.
        self._lines = LogLines(trt)
        self._runtime = self._lines.made(
            f"{self._what}: TensorRT made no runtime",
            "look at the driver (nvidia-smi)",
            trt.Runtime,
            self._lines.logger,
        )
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            refusal = self._lines.error(
                f"{self._what}: TensorRT rejects the engine", "build it anew"
            )
            raise EngineRejected(str(refusal))
        self.max_batch = self._checked_ends(trt, inputs)
        self._context = self._lines.made(
            f"{self._what}: TensorRT made no execution context",
            f"it needs {self._engine.device_memory_size_v2 / 1e6:.0f} MB of GPU memory: end what "
            "else uses the GPU",
            self._engine.create_execution_context,
        )

    def check_precision(self, trt: Any, asked: str) -> None:
        """Raise EngineRejected when the layers do not compute in the precision asked for."""
        inspector = self._engine.create_engine_inspector()
        if inspector is None:
            return
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        fault = precision_fault(read_layers(str(text)), asked)
        if fault is not None:
            raise EngineRejected(f"{self._what}: {fault}: build the engine anew")

    def place(self, tensor: str, address: int) -> None:
        """Say where on the GPU an input is read from or an output is written to."""
        if not self._context.set_tensor_address(tensor, address):
            raise self._lines.error(
                f"{self._what}: TensorRT does not take the memory for {tensor}", "load it again"
            )

    def set_batch(self, batch: int) -> None:
        """Say how many images the next runs have, 1..max_batch."""
        for name in self._dynamic:
            if not self._context.set_input_shape(name, (batch, *self._shapes[name][1:])):
                raise self._lines.error(
                    f"{self._what}: TensorRT refuses {name} with a batch of {batch}",
                    f"the engine was built for 1 to {self.max_batch}",
                )

    def queue(self, stream: int) -> None:
        """Queue one run on a stream."""
        if not self._context.execute_async_v3(stream):
            raise self._lines.error(
                f"{self._what}: TensorRT could not run it", "load the bundle again"
            )

    def close(self) -> None:
        """Free it: context, engine, runtime, in this order."""
        self._context = self._engine = self._runtime = None

    @property
    def _what(self) -> str:
        return f"stage {self.stage.name}"

    def _checked_ends(self, trt: Any, inputs: Sequence[TensorSpec]) -> int:
        """Compare names, dtypes and shapes with the bundle; the largest batch of the engine."""
        dtypes = {
            trt.DataType.FLOAT: "float32",
            trt.DataType.HALF: "float16",
            trt.DataType.UINT8: "uint8",
            trt.DataType.INT8: "int8",
            trt.DataType.INT32: "int32",
            trt.DataType.INT64: "int64",
            trt.DataType.BOOL: "bool",
        }
        engine = self._engine
        ends: dict[bool, list[GraphEnd]] = {True: [], False: []}
        dynamic = set()
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            shape = tuple(engine.get_tensor_shape(name))
            if shape and shape[0] == -1:
                dynamic.add(name)
                shape = (1, *shape[1:])
            kind = engine.get_tensor_dtype(name)
            ends[is_input].append(GraphEnd(name, dtypes.get(kind, str(kind)), shape))
        faults = [
            *compare_ends(self._what, "inputs", inputs, ends[True]),
            *compare_ends(self._what, "outputs", self.stage.outputs, ends[False]),
        ]
        if faults:
            lines = "\n".join(f"  - {fault}" for fault in faults)
            raise EngineRejected(f"{self._what}: the engine differs from the bundle:\n{lines}")
        self._dynamic = sorted(dynamic & set(self._shapes))  # inputs: outputs have no profile
        limits = [engine.get_tensor_profile_shape(name, 0)[2][0] for name in self._dynamic]
        return int(min(limits, default=1))
