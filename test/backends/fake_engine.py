"""The half of the fake TensorRT that runs engines: inspector, engine, context; see fake_tensorrt.

A plan of the fake is MAGIC, the size of a JSON header, the header and the ONNX bytes.
"""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

if TYPE_CHECKING:
    from fake_tensorrt import FakeTensorRT, ILogger

MAGIC = b"FAKEPLAN"

Severity = IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE", start=0)
DataType = IntEnum("DataType", "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64", start=0)
TensorIOMode = IntEnum("TensorIOMode", "NONE INPUT OUTPUT", start=0)
LayerInformationFormat = IntEnum("LayerInformationFormat", "ONELINE JSON", start=0)
WORDS = {"FLOAT": ("Float", "FP32"), "HALF": ("Half", "FP16"), "INT8": ("Int8", "Int8")}
FROM_ONNX = {
    onnx.TensorProto.FLOAT: DataType.FLOAT,
    onnx.TensorProto.FLOAT16: DataType.HALF,
    onnx.TensorProto.INT8: DataType.INT8,
    onnx.TensorProto.INT32: DataType.INT32,
    onnx.TensorProto.INT64: DataType.INT64,
    onnx.TensorProto.UINT8: DataType.UINT8,
    onnx.TensorProto.BOOL: DataType.BOOL,
}
TO_NUMPY = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT8: np.int8,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
    DataType.UINT8: np.uint8,
    DataType.BOOL: np.bool_,
}


class Runtime:
    def __init__(self, trt: FakeTensorRT, logger: ILogger) -> None:
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        trt = self._trt
        if trt._fails("deserialize", self._logger, "Error Code 1: Serialization assertion failed"):
            return None
        plan = bytes(serialized_engine)
        if not plan.startswith(MAGIC):
            self._logger.log(Severity.ERROR, "Magic tag does not match")
            return None
        start = len(MAGIC) + 8
        size = int.from_bytes(plan[len(MAGIC) : start], "little")
        header = json.loads(plan[start : start + size])
        if header["version"] != trt.__version__:
            self._logger.log(
                Severity.ERROR,
                "The engine plan file is not compatible with this version of TensorRT, expecting "
                f"library version {header['version']} got {trt.__version__}",
            )
            return None
        if tuple(header["capability"]) != trt._cuda.gpus[trt._cuda.current][1]:
            self._logger.log(
                Severity.ERROR, "The engine was generated for another compute capability"
            )
            return None
        return ICudaEngine(trt, self._logger, header, plan[start + size :])


class EngineInspector:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: int) -> str:
        engine = self._engine
        nodes = engine._model.graph.node
        names = [node.name or node.output[0] for node in nodes]
        if "opaque" in engine._trt._faults or not engine._header["detailed"]:
            return json.dumps({"Layers": names})
        layers = [
            {
                "Name": name,
                "LayerType": node.op_type,
                "Inputs": [self._tensor(tensor) for tensor in node.input],
                "Outputs": [self._tensor(tensor) for tensor in node.output],
            }
            for name, node in zip(names, nodes, strict=True)
        ]
        ends = [end.name for end in (*engine._model.graph.input, *engine._model.graph.output)]
        if engine._trt.__version__.startswith("10."):
            return json.dumps({"Layers": layers, "Bindings": ends})
        return json.dumps({"Layers": layers, "I/O Tensors": [{"Name": name} for name in ends]})

    def _tensor(self, name: str) -> dict[str, Any]:
        kind = self._engine._header["types"].get(name, "FLOAT")
        word, number = WORDS.get(kind, (kind.title(), kind))
        sentence = f"Row major linear {number} format"
        if self._engine._trt.__version__.startswith("10."):
            return {"Name": name, "Format/Datatype": sentence if len(name) % 2 else word}
        return {"Name": name, "Format": f"{sentence} (kLINEAR)", "DataType": word}


class ICudaEngine:
    device_memory_size_v2 = 8_000_000

    def __init__(
        self, trt: FakeTensorRT, logger: ILogger, header: dict[str, Any], model: bytes
    ) -> None:
        self._trt, self._logger, self._header = trt, logger, header
        self._model = onnx.load_from_string(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {end.name for end in self._session.get_inputs()}
        graph = self._model.graph
        self._ends = {end.name: end.type.tensor_type for end in (*graph.input, *graph.output)}

    @property
    def num_io_tensors(self) -> int:
        return len(self._ends)

    def get_tensor_name(self, index: int) -> str:
        return list(self._ends)[index]

    def get_tensor_mode(self, name: str) -> Any:
        mode = self._trt.TensorIOMode
        return mode.INPUT if name in self._inputs else mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return FROM_ONNX[self._ends[name].elem_type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        dims = self._ends[name].shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert name in self._inputs, "the real one crashes for outputs"
        return [tuple(shape) for shape in self._header["profiles"][profile_index][name]]

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)

    def create_execution_context(self) -> IExecutionContext | None:
        if self._trt._fails("context", self._logger, "Error Code 2: OutOfMemory: no context"):
            return None
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._batch: dict[str, int] = {}  # of dynamic inputs, once it is said

    def set_tensor_address(self, name: str, memory: int) -> bool:
        engine = self._engine
        if engine._trt._fails("address", engine._logger, "Error Code 3: invalid address"):
            return False
        if name in engine._ends:
            self._addresses[name] = memory
        return name in engine._ends

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        engine = self._engine
        if engine._trt._fails("shape", engine._logger, "Error Code 3: shape out of the profile"):
            return False
        profiles = engine._header["profiles"]
        if not profiles or shape[0] > profiles[0][name][2][0]:
            return False
        self._batch[name] = shape[0]
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine = self._engine
        cuda = engine._trt._cuda
        stream = cuda.streams.get(stream_handle)
        if engine._trt._fails("execute", engine._logger, "Error Code 1: Cuda Runtime (misaligned)"):
            return False
        if (
            stream is None
            or stream.device != cuda.current
            or set(self._addresses) != set(engine._ends)
        ):
            engine._logger.log(Severity.ERROR, "Error Code 3: address or stream is not set")
            return False
        if stream.captured is not None and engine._trt._fails(
            "execute_captured", engine._logger, "operation not permitted when stream is capturing"
        ):
            return False
        dynamic = {name for name in engine._inputs if -1 in engine.get_tensor_shape(name)}
        if dynamic - set(self._batch) or len(set(self._batch.values())) > 1:
            engine._logger.log(Severity.ERROR, "Error Code 3: input shapes are not all set")
            return False
        batch = max(self._batch.values(), default=1)
        addresses = dict(self._addresses)  # as they are at this moment
        stream.put(lambda: self._compute(addresses, batch))
        return True

    def _compute(self, addresses: dict[str, int], batch: int) -> None:
        engine = self._engine
        arrays = {name: self._array(name, addresses[name], batch) for name in engine._ends}
        feeds = {name: arrays[name].copy() for name in engine._inputs}
        names = [name for name in engine._ends if name not in engine._inputs]
        for name, result in zip(names, engine._session.run(names, feeds), strict=True):
            arrays[name][...] = result
        engine._trt._cuda._count("stages run")

    def _array(self, name: str, address: int, batch: int) -> np.ndarray:
        """Memory of the GPU as an array; that it is allocated is checked."""
        engine = self._engine
        dtype = np.dtype(TO_NUMPY[engine.get_tensor_dtype(name)])
        shape = tuple(batch if dim == -1 else dim for dim in engine.get_tensor_shape(name))
        size = int(np.prod(shape)) * dtype.itemsize
        assert engine._trt._cuda.holds(address, size, "device"), f"{name} is not on the GPU"
        start, (data, _) = next(
            (start, found)
            for start, found in engine._trt._cuda.memory.items()
            if start <= address < start + found[0].nbytes
        )
        return data[address - start : address - start + size].view(dtype).reshape(shape)
