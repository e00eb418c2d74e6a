"""A fake `tensorrt` that computes with ONNX Runtime and fails in every way the real one documents.

It has only names that the real 10.13 and 11.4 both have (a test compares them). `install` puts it,
and a fake of cuda-python, in the place of the real modules. For tests with several processes:
FAKE_TENSORRT_LOG names a file that gets a line for every build begun and ended,
FAKE_TENSORRT_SECONDS says how long a build takes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from fake_cuda import FakeCuda
from fake_engine import (
    FROM_ONNX,
    MAGIC,
    DataType,
    EngineInspector,
    ICudaEngine,
    IExecutionContext,
    LayerInformationFormat,
    Runtime,
    Severity,
    TensorIOMode,
)
from google.protobuf.message import DecodeError

OLD, NEW = "10.13.3.9", "11.4.0.106"
LOG_VARIABLE, SECONDS_VARIABLE = "FAKE_TENSORRT_LOG", "FAKE_TENSORRT_SECONDS"
STEPS = 10  # of a build

BuilderFlag = IntEnum("BuilderFlag", "TF32", start=7)
MemoryPoolType = IntEnum("MemoryPoolType", "WORKSPACE", start=0)
ProfilingVerbosity = IntEnum("ProfilingVerbosity", "LAYER_NAMES_ONLY DETAILED", start=0)
NetworkDefinitionCreationFlag = IntEnum("NetworkDefinitionCreationFlag", "STRONGLY_TYPED", start=1)


class ILogger:
    Severity = Severity

    def __init__(self) -> None: ...

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self) -> None: ...


class IHostMemory(bytearray):
    """Bytes with a buffer interface, as the real one."""


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._data)


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self._flags = flags
        self._model: onnx.ModelProto | None = None
        self._types: dict[str, DataType] = {}  # of every tensor between layers

    @property
    def num_layers(self) -> int:
        assert self._model is not None
        return len(self._model.graph.node)

    def get_layer(self, index: int) -> ILayer:
        assert self._model is not None
        return ILayer(self._model.graph.node[index], self._types)


class ILayer:
    def __init__(self, node: onnx.NodeProto, types: dict[str, DataType]) -> None:
        self._node, self._types = node, types

    @property
    def num_outputs(self) -> int:
        return len(self._node.output)

    def get_output(self, index: int) -> ITensor:
        return ITensor(self._types.get(self._node.output[index], DataType.FLOAT))


class ITensor:
    def __init__(self, dtype: DataType) -> None:
        self._dtype = dtype

    @property
    def dtype(self) -> DataType:
        return self._dtype


class ParserError:
    def __init__(self, operator: str, text: str) -> None:
        self._operator, self._text = operator, text

    def desc(self) -> str:
        return self._text

    def node_operator(self) -> str:
        return self._operator


class OnnxParser:
    def __init__(self, trt: FakeTensorRT, network: INetworkDefinition, logger: ILogger) -> None:
        self._trt, self._network, self._logger = trt, network, logger
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        if self._trt._fails("parse", self._logger, "While parsing node number 3 [MaxUnpool]"):
            self._errors.append(
                ParserError("MaxUnpool", "No importer registered for op: MaxUnpool")
            )
            return False
        try:
            proto = onnx.load_from_string(model)
        except DecodeError as error:
            self._errors.append(ParserError("", f"Failed to parse ONNX model: {error}"))
            return False
        if path is not None:
            onnx.load_external_data_for_model(proto, str(Path(path).parent))
        self._network._model = proto
        graph = onnx.shape_inference.infer_shapes(proto).graph
        self._network._types = {
            info.name: FROM_ONNX[info.type.tensor_type.elem_type]
            for info in (*graph.input, *graph.value_info, *graph.output)
        }
        return True


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]


class IBuilderConfig:
    __slots__ = (
        "_flags",
        "_profiles",
        "_trt",
        "_workspace",
        "builder_optimization_level",
        "profiling_verbosity",
        "progress_monitor",
    )

    def __init__(self, trt: FakeTensorRT) -> None:
        self._trt = trt
        self.builder_optimization_level = 3
        self._flags: set[int] = {BuilderFlag.TF32}  # on by default, as in the real one
        self._profiles: list[IOptimizationProfile] = []
        self._workspace = 0
        self.progress_monitor: Any = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    def set_memory_pool_limit(self, pool: int, pool_size: int) -> None:
        self._workspace = pool_size

    def set_flag(self, flag: int) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: int) -> None:
        self._flags.discard(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if "profile" in self._trt._faults:
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        return None if "timing" in self._trt._faults else ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._data and not cache._data.startswith(b"timings"):
            return False
        cache._data += b"timings"
        return True


class Builder:
    def __init__(self, trt: FakeTensorRT, logger: ILogger) -> None:
        if "builder" in trt._faults:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._trt, self._logger = trt, logger

    def create_network(self, flags: int = 0) -> INetworkDefinition | None:
        if self._trt._fails("network", self._logger, "CUDA initialization failure with error 35"):
            return None
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._trt)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        trt = self._trt
        _note("begin")
        if trt._fails("build", self._logger, "Error Code 10: Could not find any implementation"):
            return None
        if trt._fails("build_memory", self._logger, "Error Code 2: OutOfMemory: requested 8 GB"):
            return None
        if not self._take_time(config.progress_monitor):
            self._logger.log(Severity.WARNING, "The build was cancelled by the progress monitor")
            return None
        assert network._model is not None
        typed = network._flags >> int(NetworkDefinitionCreationFlag.STRONGLY_TYPED) & 1
        as_asked = typed and "precision" not in trt._faults
        header = {
            "version": trt.__version__,
            "capability": trt._cuda.gpus[trt._cuda.current][1],
            "strongly_typed": bool(typed),
            "tf32": BuilderFlag.TF32 in config._flags,
            "workspace": config._workspace,
            "level": config.builder_optimization_level,
            "detailed": config.profiling_verbosity == ProfilingVerbosity.DETAILED,
            "profiles": [profile._shapes for profile in config._profiles],
            "types": {
                name: kind.name if as_asked or kind.name == "UINT8" else "FLOAT"
                for name, kind in network._types.items()
            },
        }
        trt._builds.append(header)
        _note("end")
        text = json.dumps(header).encode()
        model = network._model.SerializeToString()
        return IHostMemory(MAGIC + len(text).to_bytes(8, "little") + text + model)

    def _take_time(self, monitor: Any) -> bool:
        seconds = float(os.environ.get(SECONDS_VARIABLE, "0"))
        if monitor is None:
            return True
        monitor.phase_start("Building Engine", None, STEPS)
        for step in range(STEPS):
            monitor.phase_start("Timing tactics", "Building Engine", 2)
            for inner in range(2):
                time.sleep(seconds / STEPS / 2)
                if not monitor.step_complete("Timing tactics", inner):
                    return False
            monitor.phase_finish("Timing tactics")
            if not monitor.step_complete("Building Engine", step):
                return False
        monitor.phase_finish("Building Engine")
        return True


def _note(what: str) -> None:
    """One line in the file of FAKE_TENSORRT_LOG: who builds."""
    path = os.environ.get(LOG_VARIABLE)
    if path:
        with Path(path).open("a") as stream:
            stream.write(f"{what} {os.getpid()}\n")


CLASSES: tuple[type, ...] = (
    ILogger,
    IProgressMonitor,
    ITimingCache,
    INetworkDefinition,
    ILayer,
    ITensor,
    ParserError,
    OnnxParser,
    IOptimizationProfile,
    IBuilderConfig,
    Builder,
    Runtime,
    EngineInspector,
    ICudaEngine,
    IExecutionContext,
)  # named as the real ones, to be compared with the tables of names


class FakeTensorRT:
    """The module. What shall fail, beside the faults of FakeCuda:

    builder, network, parse, build, build_memory, deserialize, context, address, execute,
    execute_captured: gives None or False with a line in the log, as the real one does;
    precision: builds fp32 whatever the graph says; opaque: the inspector gives layer names alone;
    timing: takes no timing cache; shape, profile: refuses the shapes of an input.
    """

    def __init__(self, cuda: FakeCuda, version: str, faults: set[str]) -> None:
        self._cuda = cuda
        self._faults = faults
        self._builds: list[dict[str, Any]] = []  # headers of the plans that were built
        self.__version__ = version
        self.BuilderFlag = BuilderFlag
        self.DataType = DataType
        self.ILogger = ILogger
        self.IProgressMonitor = IProgressMonitor
        self.LayerInformationFormat = LayerInformationFormat
        self.MemoryPoolType = MemoryPoolType
        self.NetworkDefinitionCreationFlag = NetworkDefinitionCreationFlag
        self.ProfilingVerbosity = ProfilingVerbosity
        self.TensorIOMode = TensorIOMode
        self.Builder = partial(Builder, self)
        self.OnnxParser = partial(OnnxParser, self)
        self.Runtime = partial(Runtime, self)

    def _fails(self, fault: str, logger: ILogger, text: str) -> bool:
        if fault in self._faults:
            logger.log(Severity.ERROR, text)
        return fault in self._faults


def install(
    monkeypatch: Any = None, version: str = OLD, faults: set[str] | None = None
) -> FakeTensorRT:
    """Put the fakes into sys.modules. faults: see FakeTensorRT; may be changed while in use."""
    shared = set() if faults is None else faults
    trt = FakeTensorRT(FakeCuda(shared), version, shared)
    modules: dict[str, Any] = {"tensorrt": trt, "cuda.bindings.runtime": trt._cuda}
    for name, module in modules.items():
        if monkeypatch is None:
            sys.modules[name] = module
        else:
            monkeypatch.setitem(sys.modules, name, module)
    return trt
